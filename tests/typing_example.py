"""What users write, for mypy to judge: it is checked, never run. An ignore that is not needed is an error too."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypedDict, assert_type

from datapunk_broker import broker


@dataclass
class Order:
    """A payload."""

    id: int


class Invoice(TypedDict):
    """What a handler returns."""

    total: int


@broker.subscriber("orders", name="billing", routing_key="eu.*")
def bill(message: broker.Received[Order]) -> Invoice:
    assert_type(message.payload, Order)
    return {"total": message.payload.id}


@broker.subscriber(
    "orders",
    bindings=[{"routing_key": "eu.*"}, {"headers": {"x-match": "any", "tier": "gold"}}],
    mode="batch",
    batch_size=50,
    delivery_mode="exactly_once",
    retry=broker.RetryPolicy(max_attempts=5),
    breaker=broker.BreakerPolicy(failures=5, open_seconds=30),
    ack_deadline=timedelta(minutes=1),
    timeout=15,
    max_in_flight=3,
    ordering=True,
)
async def bill_many(messages: list[broker.Received[Order]]) -> None:
    raise broker.BatchFailures({message.ack_id: ValueError() for message in messages})


@broker.subscriber("orders", name="wrong", retries=3)  # type: ignore[call-arg] # there is no such option
def wrong(message: broker.Received[Order]) -> None: ...


orders = broker.topic("orders", Order)
assert_type(orders, broker.Topic[Order])
invoices = broker.topic("invoices", Invoice)


@orders.subscriber(name="ships", routing_key="#.paid")
def ship(message: broker.Received[Order]) -> None: ...


@orders.subscriber(name="ships-many", batch_size=10)
async def ship_many(messages: list[broker.Received[Order]]) -> None: ...


@orders.subscriber(name="other")  # type: ignore[arg-type] # its topic has orders
def other(message: broker.Received[Invoice]) -> None: ...


def place(number: int) -> broker.Receipt:
    invoices.publish({"total": 7}, routing_key="eu.paid")
    invoices.publish({"sum": 7})  # type: ignore[typeddict-item] # no invoice
    orders.publish("7")  # type: ignore[arg-type] # no order
    broker.publish("orders", {"id": 7}, priority="high")  # type: ignore[arg-type] # no number
    broker.publish("orders", {"id": 7}, expires=5)  # type: ignore[call-arg] # no option
    orders.publish_many([broker.Outgoing(Order(8), routing_key="eu.paid"), broker.Outgoing(Order(9))])
    return orders.publish(Order(number), ordering_key="k", delay=timedelta(seconds=5), ttl=timedelta(hours=1))


async def place_later(number: int) -> broker.Receipt:
    await broker.apublish("orders", {"id": number}, headers={"tier": "gold"})
    return await orders.apublish(Order(number), idempotency_key=f"o-{number}")


def pull() -> None:
    received = broker.pull("audit", max_messages=100)
    settlement = broker.ack([message.ack_id for message in received])
    assert_type(settlement.lost, tuple[str, ...])
