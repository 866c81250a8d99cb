"""Reading a stream: by position, and what is missed is seen."""

import pytest

from datapunk_broker.engine.append import append
from datapunk_broker.engine.read import read
from datapunk_broker.exceptions import ConfigInvalidError, PayloadInvalidError, TopicNotFoundError
from datapunk_broker.models import Message, StreamEntry, Topic
from tests.engine.make import appended, make_topic, published

pytestmark = pytest.mark.django_db


@pytest.fixture
def orders() -> Topic:
    return make_topic("orders", stream=True)


def streamed(topic: Topic, count: int) -> list[Message]:
    messages = published(topic, *range(count))
    appended(messages)
    return messages


def test_a_page_holds_what_follows_the_position_last_seen(orders: Topic) -> None:
    messages = streamed(orders, 5)

    page = read("orders", after=2, limit=2, using="default")

    assert [(m.position, m.id) for m in page.messages] == [(3, messages[2].pk), (4, messages[3].pk)]
    assert (page.oldest, page.head) == (1, 5)


def test_a_new_stream_begins_behind_its_head(orders: Topic) -> None:
    page = read("orders", after=0, limit=10, using="default")

    assert (page.oldest, page.head, page.messages) == (1, 0, ())


def test_who_has_seen_all_gets_nothing_and_misses_nothing(orders: Topic) -> None:
    streamed(orders, 3)

    page = read("orders", after=3, limit=10, using="default")

    assert (page.oldest, page.head, page.messages) == (1, 3, ())


@pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
def test_who_missed_something_can_tell(orders: Topic, after: int) -> None:
    streamed(orders, 5)
    StreamEntry.objects.filter(position__lte=3).delete()

    page = read("orders", after=after, limit=10, using="default")

    assert page.oldest == 4
    assert (after + 1 < page.oldest) is (after < 3)
    assert [m.position for m in page.messages] == [p for p in (4, 5) if p > after]


def test_a_stream_that_was_pruned_bare_begins_behind_its_head(orders: Topic) -> None:
    streamed(orders, 3)
    StreamEntry.objects.all().delete()

    page = read("orders", after=1, limit=10, using="default")

    assert (page.oldest, page.head, page.messages) == (4, 3, ())


def test_a_message_that_is_not_appended_yet_is_not_read(orders: Topic) -> None:
    published(orders, "new")
    assert read("orders", after=0, limit=10, using="default").messages == ()

    append(using="default")

    assert [m.position for m in read("orders", after=0, limit=10, using="default").messages] == [1]


def test_reading_takes_two_statements_whatever_there_is(
    orders: Topic, django_assert_num_queries: pytest.FixtureRequest
) -> None:
    streamed(orders, 50)

    with django_assert_num_queries(2):  # type: ignore[operator]
        assert len(read("orders", after=0, limit=50, using="default").messages) == 50


@pytest.mark.parametrize(("after", "limit"), [(-1, 10), (2**63, 10), (0, 0), (0, 1001)])
def test_a_position_or_limit_out_of_range_is_refused(orders: Topic, after: int, limit: int) -> None:
    with pytest.raises(PayloadInvalidError):
        read("orders", after=after, limit=limit, using="default")


def test_a_topic_that_is_not_there_or_has_no_stream_is_refused() -> None:
    make_topic("unwatched")

    with pytest.raises(TopicNotFoundError):
        read("ordres", after=0, limit=1, using="default")
    with pytest.raises(ConfigInvalidError):
        read("unwatched", after=0, limit=1, using="default")
