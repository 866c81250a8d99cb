"""Hold what subscribers did against what publishers did: nothing here but values."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Said(StrEnum):
    """What a publisher knows of a message: that it is in, that it is not, or neither."""

    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Published:
    """A message that somebody tried to publish; those of one key were published in the order of their numbers."""

    number: int
    said: Said
    key: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the messages of one subscription; all but the first two count what ought not to be.

    published: acknowledged. delivered: of which there is at least one effect. lost: acknowledged, with no effect.
    duplicated: effects beyond a message's first. unexpected: effects of what was never published, or rolled back.
    reordered: messages whose first effect came after that of a later one with the same key.
    """

    published: int
    delivered: int
    lost: int
    duplicated: int
    unexpected: int
    reordered: int


def judge(published: Iterable[Published], effects: Sequence[int], *, spent: Iterable[int] = ()) -> Verdict:
    """Judge the effects, which are numbers of messages in the order in which they happened.

    spent: what ended without an effect as the mode allows: at most once, acked before its worker died.
    """
    messages = {message.number: message for message in published}
    times = Counter(effects)
    acknowledged = {n for n, message in messages.items() if message.said is Said.ACKNOWLEDGED}
    return Verdict(
        published=len(acknowledged),
        delivered=sum(n in messages for n in times),
        lost=len(acknowledged - times.keys() - set(spent)),
        duplicated=sum(count - 1 for count in times.values()),
        unexpected=sum(n not in messages or messages[n].said is Said.FAILED for n in times),
        reordered=sum(1 for _ in _late(messages, effects)),
    )


def _late(messages: dict[int, Published], effects: Sequence[int]) -> Iterator[int]:
    latest: dict[str, int] = {}
    for number in dict.fromkeys(effects):
        if number in messages:
            key = messages[number].key
            if number < latest.get(key, number):
                yield number
            latest[key] = max(number, latest.get(key, number))
