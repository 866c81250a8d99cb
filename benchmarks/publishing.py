"""Ways to publish: ours, the limit, and what Django offers."""

import msgspec
from django.db import transaction

from benchmarks import raw
from benchmarks.models import Message
from benchmarks.stage import Stage
from benchmarks.work import SIZES, TOPIC, Way, batches_of, clear, payload, seconds, topic
from datapunk_broker import broker


def publish_ours(*, atomic: bool) -> Way:
    def way(_: Stage) -> float:
        given = [payload(number) for number in range(SIZES["one"])]

        def act() -> None:
            for one in given:
                if atomic:
                    with transaction.atomic():
                        broker.publish(TOPIC, one)
                else:
                    broker.publish(TOPIC, one)

        with topic():
            broker.publish(TOPIC, given[0])
            return len(given) / seconds(act)

    return way


def publish_raw(*, atomic: bool) -> Way:
    def way(_: Stage) -> float:
        bodies = [msgspec.json.encode(payload(number)) for number in range(SIZES["one"])]
        with topic() as (made, [subscription]), raw.connect(autocommit=not atomic) as database:
            return len(bodies) / seconds(lambda: raw.publish(database, made, subscription, bodies))

    return way


def create(*, atomic: bool) -> Way:
    def way(_: Stage) -> float:
        given = [payload(number) for number in range(SIZES["one"])]

        def act() -> None:
            for one in given:
                if atomic:
                    with transaction.atomic():
                        Message.objects.create(topic=TOPIC, payload=one)
                else:
                    Message.objects.create(topic=TOPIC, payload=one)

        try:
            return len(given) / seconds(act)
        finally:
            clear()

    return way


def publish_batches(_: Stage) -> float:
    batches = batches_of(SIZES["batches"])

    def act() -> None:
        for batch in batches:
            broker.publish_many(TOPIC, [broker.Outgoing(one) for one in batch])

    with topic():
        return SIZES["batches"] / seconds(act)


def publish_raw_batches(_: Stage) -> float:
    batches = batches_of(SIZES["batches"])
    with topic() as (made, subscriptions), raw.connect() as database:

        def act() -> None:
            for batch in batches:
                raw.publish_batch(database, made, subscriptions, [msgspec.json.encode(one) for one in batch])

        return SIZES["batches"] / seconds(act)


def bulk_create(_: Stage) -> float:
    batches = batches_of(SIZES["batches"])

    def act() -> None:
        for batch in batches:
            Message.objects.bulk_create([Message(topic=TOPIC, payload=one) for one in batch])

    try:
        return SIZES["batches"] / seconds(act)
    finally:
        clear()


def fan_out(subscribers: int) -> Way:
    """Publish one by one to many."""

    def way(_: Stage) -> float:
        given = [payload(number) for number in range(SIZES["fan-out"])]
        with topic(subscribers):
            return len(given) * subscribers / seconds(lambda: [broker.publish(TOPIC, one) for one in given])

    return way


def fan_out_raw(subscribers: int) -> Way:
    def way(_: Stage) -> float:
        given = [msgspec.json.encode(payload(number)) for number in range(SIZES["fan-out"])]
        with topic(subscribers) as (made, ids), raw.connect() as database:

            def act() -> None:
                for one in given:
                    raw.publish_batch(database, made, ids, [one])

            return len(given) * subscribers / seconds(act)

    return way
