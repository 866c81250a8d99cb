"""The broker on a real database, spoken to in the model's words: messages are numbers, not ids."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.engine.roster import subscribers
from datapunk_broker.engine.routes import forget_routes
from datapunk_broker.engine.rows import Claimed, Wanted
from datapunk_broker.models import (
    Attempt,
    DeadLetter,
    Delivery,
    Message,
    SettledDelivery,
    StreamEntry,
    Subscription,
    Traffic,
    TrafficMinute,
)
from tests.machine.model import MAX_ATTEMPTS, Pair

TOPIC = "orders"
LONG = 10 * 3600.0
"""Seconds of every wait and lease: no test runs that long, so time passes only where a test moves it."""


class World:
    """numbers: of the messages, by id."""

    LEASE = timedelta(seconds=LONG)

    def __init__(self) -> None:
        self.numbers: dict[UUID, int] = {}
        forget_routes()
        broker.create_topic(TopicConfig(TOPIC, type="topic"))

    def ids(self, numbers: Iterable[int]) -> list[UUID]:
        wanted = set(numbers)
        return [pk for pk, n in self.numbers.items() if n in wanted]

    def subscribe(self, name: str, **options: Any) -> int:
        retry = {"max_attempts": MAX_ATTEMPTS, "retry_strategy": "fixed", "retry_delay": LONG, "jitter": 0}
        config = SubscriptionConfig(name, TOPIC, ack_deadline=LONG, max_retry_delay=LONG, **retry, **options)
        return broker.create_subscription(config).pk

    def stream(self) -> int | None:
        return Subscription.objects.live().filter(transport="stream").values_list("pk", flat=True).first()

    def wanted(self, sub: int, share: int) -> Wanted:
        return Wanted(sub, share, LONG)

    def subscriber(self, sub: int) -> Any:
        return subscribers([sub], "default")[sub]

    def pair(self, row: Claimed) -> Pair:
        return self.number_in(row.body), row.subscription

    def number_in(self, body: bytes) -> int:
        return int(msgspec.json.decode(bytes(body)))

    # -- what is there, as the model would say it

    def live(self) -> dict[int, list[tuple[Any, ...]]]:
        fields = ("state", "priority", "ordering_key", "attempt", "claims", "lapses", "ack_token")
        found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        rows = Delivery.objects.order_by("id").values_list("subscription_id", "message_id", *fields)
        for sub, message, *rest in rows:
            found[sub].append((self.numbers[message], *rest))
        return dict(found)

    def settled(self) -> dict[Pair, tuple[str, int]]:
        rows = SettledDelivery.objects.values_list("message_id", "subscription_id", "outcome", "attempts")
        return {(self.numbers[m], sub): (outcome, attempts) for m, sub, outcome, attempts in rows}

    def letters(self) -> dict[Pair, tuple[int, bool, int]]:
        rows = DeadLetter.objects.order_by("pk")
        return {
            (self.numbers[row.message_id], row.subscription_id): (
                row.attempts,
                row.redriven_at is None,
                row.redrives,
            )
            for row in rows
        }

    def letter_ids(self) -> dict[Pair, int]:
        rows = DeadLetter.objects.order_by("pk")
        return {(self.numbers[row.message_id], row.subscription_id): row.pk for row in rows}

    def failures(self) -> Counter[Pair]:
        pairs = Attempt.objects.values_list("message_id", "subscription_id")
        return Counter((self.numbers[m], sub) for m, sub in pairs)

    def traffic(self) -> Counter[tuple[int, str]]:
        total: Counter[tuple[int, str]] = Counter()
        for model in (Traffic, TrafficMinute):
            for row in model.objects.filter(subscription__isnull=False):
                assert sum(row.buckets) == row.count
                total[row.subscription_id, row.outcome] += row.count
        return total

    def entries(self) -> list[tuple[int, int]]:
        rows = StreamEntry.objects.order_by("position").values_list("position", "message_id")
        return [(position, self.numbers[message]) for position, message in rows]

    def messages(self) -> dict[int, set[int]]:
        return {self.numbers[pk]: set(routed) for pk, routed in Message.objects.values_list("pk", "routed_to")}

    def published_at(self) -> dict[int, Any]:
        return {self.numbers[pk]: at for pk, at in Message.objects.values_list("pk", "published_at")}

    def redriven(self, ids: Sequence[UUID]) -> list[int]:
        return [self.numbers[pk] for pk in ids]
