import pytest

from datapunk_broker.engine.seek import Sought, seek
from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.models import Delivery, Message, StreamEntry, Subscription, Topic
from tests.engine.make import appended, balanced, ended, make_subscription, make_topic, published

pytestmark = pytest.mark.django_db


@pytest.fixture
def topic() -> Topic:
    return make_topic(stream=True)


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic)


def sought(position: int) -> Sought:
    return seek("billing", to=position, using="default")


def owed(subscription: Subscription, messages: list[Message]) -> list[int]:
    """Which of the messages the subscription is owed, by their index."""
    waiting = set(Delivery.objects.of(subscription.pk).values_list("message_id", flat=True))
    return [index for index, message in enumerate(messages) if message.pk in waiting]


def test_a_position_is_what_was_last_seen(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, *range(5))
    appended(messages)
    ended(billing, messages)
    assert sought(3) == Sought(rearmed=2, recreated=0, settled=0)
    assert owed(billing, messages) == [3, 4]
    assert sought(0) == Sought(3, 0, 0)
    assert balanced()


def test_what_waits_at_or_before_the_position_is_dropped(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, *range(5))
    appended(messages)
    assert sought(2) == Sought(0, 0, 2)
    assert owed(billing, messages) == [2, 3, 4]
    assert sought(99) == Sought(0, 0, 3)
    assert balanced()


def test_positions_count_and_not_the_order_of_publishing(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, *range(4))
    appended([messages[3], messages[0], messages[2], messages[1]])
    ended(billing, messages)
    assert sought(2).rearmed == 2
    assert owed(billing, messages) == [1, 2]


def test_a_message_that_the_stream_does_not_have_yet_is_ahead(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, *range(3))
    appended(messages[1:])
    ended(billing, messages)
    assert sought(2) == Sought(1, 0, 0)
    assert owed(billing, messages) == [0]


def test_a_message_that_the_stream_no_longer_has_is_left_as_it_is(topic: Topic, billing: Subscription) -> None:
    messages = published(topic, *range(4))
    appended(messages)
    ended(billing, messages[1:2])
    StreamEntry.objects.filter(position__lte=2).delete()
    assert sought(3) == Sought(0, 0, 1)
    assert owed(billing, messages) == [0, 3]
    assert balanced()


def test_a_topic_that_never_had_a_stream_knows_no_positions() -> None:
    make_subscription(make_topic())
    with pytest.raises(PayloadInvalidError, match="has no stream; give a time"):
        sought(0)
