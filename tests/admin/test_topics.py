import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from datapunk_broker.models import Subscription, Topic
from tests.admin.rooms import acted, errors_of, logged, page, posted, staff, topic_form, url_of
from tests.engine.make import make_subscription, make_topic, published

pytestmark = pytest.mark.django_db

ADD = "/admin/datapunk_broker/topic/add/"


def test_a_topic_is_made_by_the_verb_with_the_stream_it_asks_for(admin: Client) -> None:
    said = posted(admin, ADD, topic_form("orders", max_queue_size="50", schema='{"type": "object"}'))
    made = Topic.objects.get()
    assert "was added successfully" in said
    assert (made.name, made.max_queue_size, made.schema) == ("orders", 50, {"type": "object"})
    assert (made.delivery_mode, made.persistent, made.retention_hours) == (None, None, None)
    assert Subscription.objects.get().name == "stream:orders"
    assert LogEntry.objects.get().object_id == str(made.pk)


@pytest.mark.parametrize(
    ("options", "field", "says"),
    [
        ({"name": "a b"}, "name", "letters, digits"),
        ({"name": "taken"}, "name", "the name of another topic"),
        ({"schema": '{"type": 7}'}, "schema", "no JSON Schema"),
        ({"schema": "[1"}, "schema", "not JSON"),
        ({"schema": "[" * 5000}, "schema", "not JSON"),
        ({"schema": '"text"'}, "schema", "Must be a JSON Schema"),
        ({"max_message_size": "0"}, "max_message_size", "from 1"),
        ({"dead_letter_topic": "orders"}, "dead_letter_topic", "the topic itself"),
        ({"persistent": "false", "delivery_mode": "at_least_once"}, "delivery_mode", "at_most_once"),
        ({"retention_hours": "1e999"}, "retention_hours", "number"),
    ],
)
def test_what_the_verb_refuses_stands_beside_the_field(
    admin: Client, options: dict[str, str], field: str, says: str
) -> None:
    make_topic("taken")
    errors = errors_of(admin, ADD, topic_form(**options))
    assert list(errors) == [field]
    assert says in errors[field]
    assert Topic.objects.count() == 1
    assert not LogEntry.objects.exists()


def test_copies_of_dead_letters_go_where_one_may_publish_oneself(client: Client, topic: Topic) -> None:
    make_topic("graveyard")
    url, form = url_of("topic", "change", topic.pk), topic_form(stream="", dead_letter_topic="graveyard")
    staff(client, "add_topic", "change_topic")
    errors = errors_of(client, url, form)
    assert "no right to publish" in errors["dead_letter_topic"]
    assert list(errors_of(client, ADD, topic_form("new", dead_letter_topic="graveyard"))) == ["dead_letter_topic"]
    assert not Topic.objects.exclude(dead_letter_topic=None).exists()
    assert Topic.objects.count() == 2

    staff(client, "add_topic", "change_topic", "add_message")
    posted(client, url, form)
    assert Topic.objects.get(name="orders").dead_letter_topic == "graveyard"

    staff(client, "add_topic", "change_topic")
    posted(client, url, {**form, "max_queue_size": "9"})
    assert Topic.objects.get(name="orders").max_queue_size == 9, "what was there is no news"


def test_what_was_typed_is_still_there_after_a_refusal(admin: Client) -> None:
    said = posted(admin, ADD, topic_form("a b", schema='{"type": oops', max_queue_size="-3"))
    for typed in ("a b", '{"type": oops', "-3"):
        assert typed in said


def test_a_change_goes_through_the_verb_and_leaves_other_options_alone(admin: Client, topic: Topic) -> None:
    version = topic.routing_version
    Topic.objects.update(overflow="drop_oldest")
    form = topic_form(stream="", max_queue_size="9")
    Topic.objects.filter(pk=topic.pk).update(max_subscribers=7)  # by somebody else, since the form was opened
    posted(admin, url_of("topic", "change", topic.pk), {**form, "overflow": "drop_oldest", "max_subscribers": "7"})
    topic.refresh_from_db()
    assert (topic.max_queue_size, topic.overflow, topic.max_subscribers) == (9, "drop_oldest", 7)
    assert topic.routing_version != version
    assert logged() == ["orders: Changed Max queue size."]


def test_a_name_cannot_be_changed(admin: Client, topic: Topic) -> None:
    posted(admin, url_of("topic", "change", topic.pk), topic_form("other", stream=""))
    assert Topic.objects.get().name == "orders"


def test_a_change_that_a_subscription_does_not_bear_names_it(admin: Client) -> None:
    topic = make_topic(type="topic")
    make_subscription(topic, "billing", ["eu.*"])
    errors = errors_of(admin, url_of("topic", "change", topic.pk), topic_form(type="fanout", stream=""))
    assert "billing" in errors["__all__"]
    assert Topic.objects.get().type == "topic"


def test_a_topic_without_messages_is_deleted_by_a_tombstone(admin: Client, topic: Topic) -> None:
    url = url_of("topic", "delete", topic.pk)
    assert "Delete this topic" in page(admin, url)
    posted(admin, url, {"post": "yes"})
    assert Topic.objects.get().deleted_at is not None
    assert page(admin, url_of("topic")).count("0 topics") == 1


def test_a_topic_is_not_deleted_while_messages_wait_unless_by_force(
    admin: Client, topic: Topic, billing: Subscription
) -> None:
    published(topic, 1, 2)
    url = url_of("topic", "delete", topic.pk)
    assert "Delete it by force" in page(admin, url)
    assert "has 2 deliveries that wait" in posted(admin, url, {"post": "yes"})
    assert Topic.objects.live().exists()
    assert not LogEntry.objects.exists()
    posted(admin, url, {"post": "yes", "force": "on"})
    assert not Topic.objects.live().exists()
    assert not Subscription.objects.live().exists()


def test_many_topics_are_deleted_together_or_not_at_all(admin: Client, topic: Topic, billing: Subscription) -> None:
    quiet = make_topic("quiet")
    published(topic, 1)
    pks = (topic.pk, quiet.pk)
    asked = acted(admin, "topic", "delete_topics", *pks)
    assert "Delete these topics" in asked
    assert Topic.objects.live().count() == 2
    refused = acted(admin, "topic", "delete_topics", *pks, post="yes")
    assert "Nothing was deleted" in refused
    assert "Delete it by force" in refused
    assert Topic.objects.live().count() == 2
    assert not LogEntry.objects.exists()
    assert "Deleted: orders, quiet." in acted(admin, "topic", "delete_topics", *pks, post="yes", force="on")
    assert not Topic.objects.live().exists()
    assert LogEntry.objects.count() == 2


def test_a_topics_page_names_its_subscriptions_with_their_backlog(
    admin: Client, topic: Topic, billing: Subscription
) -> None:
    published(topic, 1, 2, 3)
    said = page(admin, url_of("topic", "change", topic.pk))
    assert url_of("subscription", "change", billing.pk) in said
    assert "<td>3</td>" in said


def test_an_empty_option_says_what_the_settings_say(admin: Client) -> None:
    said = page(admin, ADD)
    assert "as in the settings: at least once" in said
    assert "1048576 (settings)" in said
