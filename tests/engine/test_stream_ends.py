"""Where streams end, where a moment lies in them, and how much of them is read at once."""

from datetime import timedelta

import pytest

from datapunk_broker.engine.read import ends, read
from datapunk_broker.engine.stream_ends import heads, position_at
from datapunk_broker.exceptions import ConfigInvalidError, TopicNotFoundError
from datapunk_broker.models import Message, StreamEntry, Topic
from tests.engine.make import appended, delete_topic, make_topic, published

pytestmark = pytest.mark.django_db


def filled(count: int, *, size: int = 1, topic: str = "orders") -> list[Message]:
    """A stream of messages that were published and appended a minute after each other."""
    messages = published(make_topic(topic, stream=True), *("x" * size for _ in range(count)))
    appended(messages)
    for n, message in enumerate(messages):
        later = message.published_at + timedelta(minutes=n)
        Message.objects.filter(pk=message.pk).update(published_at=later)
        StreamEntry.objects.filter(message=message.pk).update(appended_at=later + timedelta(seconds=1))
    return list(Message.objects.filter(topic=messages[0].topic_id).order_by("id"))


def test_the_heads_are_those_of_the_topics_that_stream() -> None:
    filled(3)
    make_topic("empty", stream=True)
    make_topic("off")
    delete_topic(make_topic("gone", stream=True))
    filled(1, topic="other")

    found = heads(["orders", "empty", "off", "gone", "nowhere"], using="default")

    assert {name: head.position for name, head in found.items()} == {"orders": 3, "empty": 0}
    assert {name: head.stream for name, head in found.items()} == {
        name: Topic.objects.get(name=name).pk for name in ("orders", "empty")
    }


def test_the_ends_are_the_oldest_kept_and_the_last() -> None:
    filled(5)
    StreamEntry.objects.filter(position__lte=2).delete()
    page = ends("orders", using="default")
    assert (page.oldest, page.head, page.messages) == (3, 5, ())

    StreamEntry.objects.all().delete()
    page = ends("orders", using="default")
    assert (page.oldest, page.head) == (6, 5)


def test_a_moment_lies_behind_the_last_that_was_published_before_it() -> None:
    messages = filled(20)

    def at(message: int, seconds: float) -> int:
        moment = messages[message].published_at + timedelta(seconds=seconds)
        return position_at("orders", moment, using="default")

    assert [at(0, -1), at(0, 0), at(0, 1e-6), at(7, 0), at(7, 30), at(19, 0), at(19, 1)] == [0, 0, 1, 7, 8, 19, 20]
    StreamEntry.objects.filter(position__lte=10).delete()
    assert [at(0, 0), at(9, 0), at(15, 0)] == [10, 10, 15]


def test_what_was_appended_late_does_not_hide_what_was_published_then() -> None:
    messages = filled(10)
    long_ago = messages[0].published_at - timedelta(hours=1)
    Message.objects.filter(pk__in=[messages[4].pk, messages[5].pk]).update(published_at=long_ago)

    assert position_at("orders", messages[4].published_at, using="default") == 6
    assert position_at("orders", long_ago, using="default") == 0


def test_a_moment_in_an_empty_stream_is_its_end() -> None:
    messages = filled(2)
    StreamEntry.objects.all().delete()

    assert position_at("orders", messages[0].published_at, using="default") == 2


def test_a_topic_without_a_stream_has_no_ends() -> None:
    messages = filled(1)
    make_topic("off")
    for topic, refused in (("off", ConfigInvalidError), ("nowhere", TopicNotFoundError)):
        with pytest.raises(refused):
            ends(topic, using="default")
        with pytest.raises(refused):
            position_at(topic, messages[0].published_at, using="default")


@pytest.mark.parametrize(("max_bytes", "count"), [(0, 1), (102, 1), (203, 1), (204, 2), (509, 4), (510, 5), (9999, 8)])
def test_no_more_bytes_are_read_than_asked_for_save_of_one_message(max_bytes: int, count: int) -> None:
    filled(8, size=100)

    page = read("orders", after=0, limit=10, max_bytes=max_bytes, using="default")

    assert [message.position for message in page.messages] == [*range(1, count + 1)]
    assert (page.oldest, page.head) == (1, 8)


def test_bytes_are_counted_as_they_were_published_not_as_they_are_stored() -> None:
    topic = make_topic(stream=True, compression_threshold=1)
    Topic.objects.filter(pk=topic.pk).bump_routing()
    appended(published(topic, *["x" * 10_000] * 5))
    assert sum(len(bytes(message.body)) for message in Message.objects.all()) < 1_000

    page = read("orders", after=0, limit=10, max_bytes=20_010, using="default")

    assert len(page.messages) == 3
