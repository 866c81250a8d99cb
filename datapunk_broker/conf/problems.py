"""Say everything that is wrong with the settings at once, and what was probably meant."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from datapunk_broker.conf.declarations import SubscriptionConfig, TopicConfig
from datapunk_broker.conf.options import suggestion
from datapunk_broker.conf.rules import check_lease, check_subscription, check_topic
from datapunk_broker.conf.settings import KEYS, BrokerConfig, read_declared, read_setting, settings_dict
from datapunk_broker.exceptions import BrokerError, ConfigInvalidError

T = TypeVar("T")
C = TypeVar("C", TopicConfig, SubscriptionConfig)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: at which key, what, and what may help ("" when nothing is known to)."""

    key: str
    problem: str
    hint: str = ""


def problems(given: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with a ``DATAPUNK_BROKER`` dict: unknown keys, wrong values, contradictions."""
    inspection = _Inspection()
    if inspection.attempt(partial(settings_dict, given)) is None:
        return inspection.found
    inspection.unknown(given)
    config = inspection.config(given)
    topics = inspection.declared("TOPICS", TopicConfig, given)
    subscriptions = inspection.declared("SUBSCRIPTIONS", SubscriptionConfig, given)
    inspection.twice(topics)
    inspection.twice(subscriptions)
    inspection.contradictions(config, topics, subscriptions)
    return inspection.found


class _Inspection:
    """Goes through a dict and collects what it refuses; what is declared is kept by its key."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def attempt(self, read: Callable[[], T], within: str = "") -> T | None:
        """Return what is read, or note why it was refused."""
        try:
            return read()
        except ConfigInvalidError as error:
            self.found.append(Problem(".".join(filter(None, (within, error.field))), error.problem))
        except BrokerError as error:
            self.found.append(Problem(within, str(error)))
        return None

    def unknown(self, given: Mapping[str, Any]) -> None:
        strangers = [key for key in given if key not in KEYS]
        self.found += [Problem(str(key), "is no setting.", suggestion(key, KEYS)) for key in strangers]

    def config(self, given: Mapping[str, Any]) -> BrokerConfig:
        """Return the settings with the defaults in place of what was refused."""
        sound = {}
        for key in KEYS:
            if key in given and key not in ("TOPICS", "SUBSCRIPTIONS"):
                try:
                    sound[key] = read_setting(key, given[key])
                except ConfigInvalidError as error:
                    self.found.append(Problem(error.field, error.problem))
        config = BrokerConfig.from_settings(sound)
        try:
            check_lease(config.ack_deadline, config.timeout)
        except ConfigInvalidError as error:
            self.found.append(Problem("ACK_DEADLINE", error.problem))
        return config

    def declared(self, key: str, kind: type[C], given: Mapping[str, Any]) -> dict[str, C]:
        """Return the sound declarations of a list by their key, as ``TOPICS[2]``."""
        items = given.get(key, ())
        if not isinstance(items, list | tuple):
            self.attempt(partial(read_setting, key, items))
            return {}
        read = {f"{key}[{i}]": partial(read_declared, f"{key}[{i}]", kind, item) for i, item in enumerate(items)}
        return {place: config for place, reading in read.items() if (config := self.attempt(reading)) is not None}

    def twice(self, declared: Mapping[str, C]) -> None:
        first: dict[str, str] = {}
        for place, config in declared.items():
            if first.setdefault(config.name, place) != place:
                self.found.append(Problem(f"{place}.name", f"{config.name!r} is declared at {first[config.name]} too."))

    def contradictions(
        self,
        config: BrokerConfig,
        topics: Mapping[str, TopicConfig],
        subscriptions: Mapping[str, SubscriptionConfig],
    ) -> None:
        by_name = {topic.name: topic for topic in topics.values()}
        for place, topic in topics.items():
            self.attempt(partial(check_topic, topic), within=place)
        for place, subscription in subscriptions.items():
            its_topic = by_name.get(subscription.topic)
            self.attempt(partial(check_subscription, subscription, config, its_topic), within=place)
