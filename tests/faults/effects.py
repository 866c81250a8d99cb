"""The file of effects: a line for each, in the order in which they happened, whichever process left them."""

from collections.abc import Iterable
from pathlib import Path


def leave(effects: Path | str, subscription: str, *numbers: int) -> None:
    """Append the effects of some messages."""
    # One write to a file opened for appending: no line is within another.
    lines = "".join(f"{subscription} {number}\n" for number in numbers)
    with Path(effects).open("ab", buffering=0) as file:
        file.write(lines.encode())


def left(effects: Path) -> Iterable[tuple[str, int]]:
    """Return the subscription and the message's number of each."""
    with effects.open() as lines:
        for line in lines:
            subscription, number = line.split()
            yield subscription, int(number)
