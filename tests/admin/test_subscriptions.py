import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from datapunk_broker.models import Binding, Subscription, Topic
from tests.admin.rooms import (
    acted,
    change_form,
    errors_of,
    ids_on,
    logged,
    page,
    posted,
    staff,
    subscription_form,
    url_of,
)
from tests.engine.make import make_subscription, make_topic, published

pytestmark = pytest.mark.django_db

ADD = "/admin/datapunk_broker/subscription/add/"


def keys() -> list[str | None]:
    return list(Binding.objects.values_list("routing_key", flat=True))


def test_a_subscription_is_made_with_its_bindings(admin: Client) -> None:
    topic = make_topic(type="topic")
    version = topic.routing_version
    bindings = ({"routing_key": " eu.* "}, {"by": "routing_key", "routing_key": ""})
    posted(admin, ADD, subscription_form(topic, bindings=bindings, max_attempts="5", breaker="false"))
    made = Subscription.objects.get()
    assert (made.name, made.transport, made.max_attempts, made.breaker) == ("billing", "pull", 5, False)
    assert (made.delivery_mode, made.retry_delay, made.batch_size) == (None, None, None)
    assert keys() == [" eu.* ", ""]
    topic.refresh_from_db()
    assert topic.routing_version != version
    assert LogEntry.objects.get().object_id == str(made.pk)


def test_bindings_by_headers_are_typed(admin: Client) -> None:
    topic = make_topic(type="headers")
    posted(admin, ADD, subscription_form(topic, bindings=({"headers": '{"x-match": "any", "tier": 1}'},)))
    assert Binding.objects.get().headers == {"x-match": "any", "tier": 1}


@pytest.mark.parametrize(
    ("kind", "binding", "field", "says"),
    [
        ("fanout", {"routing_key": "a"}, "routing_key", "takes no bindings"),
        ("headers", {"routing_key": "a"}, "routing_key", "does not look at routing keys"),
        ("topic", {"headers": "{}"}, "headers", "does not look at headers"),
        ("headers", {"headers": '{"x-match": "some"}'}, "headers", "x-match"),
        ("headers", {"headers": "[1]"}, "headers", "Give an object"),
        ("headers", {"headers": "{oops"}, "headers", "not JSON"),
        ("headers", {"by": "headers", "routing_key": "a", "headers": "{}"}, "routing_key", "no routing key"),
        ("topic", {"by": "routing_key", "headers": "{}"}, "headers", "has no headers"),
        ("topic", {"routing_key": "ł" * 200}, "routing_key", "255"),
    ],
)
def test_a_binding_that_does_not_fit_is_named_in_its_row(
    admin: Client, kind: str, binding: dict[str, str], field: str, says: str
) -> None:
    topic = make_topic(type=kind)
    response = admin.post(ADD, subscription_form(topic, bindings=(binding,)))
    [formset] = response.context["inline_admin_formsets"]
    assert says in " ".join(formset.formset.forms[0].errors[field])
    assert not Subscription.objects.exists()


@pytest.mark.parametrize(
    ("options", "field", "says"),
    [
        ({"name": "a b"}, "name", "letters, digits"),
        ({"name": "taken"}, "name", "the name of another subscription"),
        ({"transport": "handler", "ack_deadline": "1", "timeout": "9"}, "ack_deadline", "shorter than the timeout"),
        ({"batch_window": "3"}, "batch_window", "Only mode batch"),
        ({"breaker": '{"failures": 0, "open_seconds": 1}'}, "breaker", "from 1"),
        ({"breaker": '{"fails": 3}'}, "breaker", "no option"),
        ({"jitter": "2"}, "jitter", "from 0 to 1"),
        ({"endpoint_url": "https://example.com"}, "endpoint_url", "a webhook's"),
        ({"new_secret": "whsec_c2VjcmV0"}, "new_secret", "a webhook's"),
        ({"topic": "4711"}, "topic", "valid choice"),
        ({"transport": "stream"}, "transport", "valid choice"),
    ],
)
def test_what_the_verb_refuses_stands_beside_the_field(
    admin: Client, topic: Topic, options: dict[str, str], field: str, says: str
) -> None:
    make_subscription(topic, "taken")
    errors = errors_of(admin, ADD, {**subscription_form(topic), **options})
    assert list(errors) == [field]
    assert says in errors[field]
    assert Subscription.objects.count() == 1


def test_a_topic_with_as_many_subscribers_as_it_may_have_takes_no_more(admin: Client) -> None:
    topic = make_topic(max_subscribers=1)
    make_subscription(topic, "first")
    assert "its limit" in errors_of(admin, ADD, subscription_form(topic))["topic"]


def test_a_change_replaces_the_bindings_and_leaves_other_options_alone(admin: Client) -> None:
    row = make_subscription(make_topic(type="topic"), "billing", ["eu.*", "us.*"], max_attempts=9)
    form = change_form(row, ({"routing_key": "asia.*"},), max_attempts="9", timeout="4")
    Subscription.objects.update(batch_size=77)  # by somebody else, since the form was opened
    posted(admin, url_of("subscription", "change", row.pk), {**form, "bindings-0-DELETE": "on", "batch_size": "77"})
    row.refresh_from_db()
    assert (row.max_attempts, row.timeout, row.batch_size) == (9, 4.0, 77)
    assert keys() == ["us.*", "asia.*"]
    assert "Timeout" in logged()[0]


def test_a_name_and_a_topic_cannot_be_changed(admin: Client, billing: Subscription) -> None:
    other = make_topic("other")
    form = change_form(billing, name="renamed", topic=other.pk)
    posted(admin, url_of("subscription", "change", billing.pk), form)
    billing.refresh_from_db()
    assert (billing.name, billing.topic_id == other.pk) == ("billing", False)


def test_a_subscription_that_was_deleted_meanwhile_is_no_500(admin: Client, billing: Subscription) -> None:
    url, form = url_of("subscription", "change", billing.pk), change_form(billing)
    Subscription.objects.all().delete()
    assert "Perhaps it was deleted?" in posted(admin, url, form)


def test_the_streams_own_subscription_is_nowhere(admin: Client) -> None:
    topic = make_topic(stream=True)
    stream = Subscription.objects.get()
    assert ids_on(admin, "subscription") == set()
    assert admin.get(url_of("subscription", "change", stream.pk)).status_code == 302
    assert "Nobody is subscribed" in page(admin, url_of("topic", "change", topic.pk))


def test_a_button_pauses_and_resumes_and_the_history_says_so(admin: Client, billing: Subscription) -> None:
    change = url_of("subscription", "change", billing.pk)
    assert ">Pause</button>" in page(admin, change)
    assert "Paused: billing." in posted(admin, url_of("subscription", "pause", billing.pk), {})
    assert Subscription.objects.get().state == "paused"
    assert ">Resume</button>" in page(admin, change)
    assert "Resumed: billing." in posted(admin, url_of("subscription", "resume", billing.pk), {})
    assert Subscription.objects.get().state == "active"
    assert logged() == ["billing: Resumed.", "billing: Paused."]


def test_actions_pause_and_resume_many(admin: Client, topic: Topic) -> None:
    pks = [make_subscription(topic, name).pk for name in ("a", "b", "c")]
    acted(admin, "subscription", "pause_selected", *pks[:2])
    assert ids_on(admin, "subscription", state__exact="paused") == set(pks[:2])
    acted(admin, "subscription", "resume_selected", *pks)
    assert ids_on(admin, "subscription", state__exact="paused") == set()


def test_only_a_post_by_who_may_change_pauses(client: Client, billing: Subscription) -> None:
    url = url_of("subscription", "pause", billing.pk)
    staff(client, "view_subscription")
    assert client.post(url).status_code == 403
    assert ">Pause</button>" not in page(client, url_of("subscription", "change", billing.pk))
    assert "pause_selected" not in page(client, url_of("subscription"))
    acted(client, "subscription", "pause_selected", billing.pk)
    assert Subscription.objects.get().state == "active"
    staff(client, "change_subscription")
    assert client.get(url).status_code == 405
    assert client.post(url).status_code == 302
    assert Subscription.objects.get().state == "paused"


def test_who_may_change_a_subscription_may_change_its_bindings(client: Client) -> None:
    row = make_subscription(make_topic(type="topic"), "billing", ["eu.*"])
    staff(client, "change_subscription")
    posted(client, url_of("subscription", "change", row.pk), change_form(row, ({"routing_key": "us.*"},)))
    assert keys() == ["eu.*", "us.*"]


def test_subscriptions_are_deleted_with_what_they_are_owed_after_asking(admin: Client, topic: Topic) -> None:
    first, second = make_subscription(topic, "first"), make_subscription(topic, "second")
    published(topic, 1, 2)
    url = url_of("subscription", "delete", first.pk)
    assert "<td>2</td>" in page(admin, url)
    posted(admin, url, {"post": "yes"})
    assert ids_on(admin, "subscription") == {second.pk}
    assert "Delete these" in acted(admin, "subscription", "delete_subscriptions", second.pk)
    assert "Deleted: second." in acted(admin, "subscription", "delete_subscriptions", second.pk, post="yes")
    assert ids_on(admin, "subscription") == set()
    assert Subscription.objects.count() == 2, "they are tombstones"
