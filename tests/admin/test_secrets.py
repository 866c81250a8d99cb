import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from datapunk_broker.models import Subscription, Topic
from tests.admin.rooms import acted, change_form, page, posted, staff, subscription_form, url_of
from tests.engine.make import died, make_subscription, published

pytestmark = pytest.mark.django_db

SECRET = "whsec_c2VjcmV0LW9mLXRoZS13ZWJob29rISEh"
PREVIOUS = "whsec_cHJldmlvdXMtc2VjcmV0"
NEW = "whsec_bmV3LXNlY3JldC1vZi10aGUtd2ViaG9vaw=="


@pytest.fixture
def hook(topic: Topic) -> Subscription:
    options = {"transport": "webhook", "endpoint_url": "https://example.com/hook"}
    return make_subscription(topic, "hook", secret=SECRET, previous_secret=PREVIOUS, **options)


def test_a_secret_is_on_no_page(admin: Client, topic: Topic, hook: Subscription) -> None:
    [letter] = died(hook, published(topic, 1))
    pages = [
        page(admin, url_of("subscription")),
        page(admin, url_of("subscription", "change", hook.pk)),
        page(admin, url_of("subscription", "delete", hook.pk)),
        page(admin, url_of("topic", "change", topic.pk)),
        page(admin, url_of("deadletter", "change", letter.pk)),
        acted(admin, "subscription", "delete_subscriptions", hook.pk),
        acted(admin, "deadletter", "redrive_selected", letter.pk),
        b"".join(admin.get(url_of("deadletter", "export")).streaming_content).decode(),
    ]
    assert not [said for said in pages if SECRET in said or PREVIOUS in said]
    assert "set; it is not shown" in pages[1]


def test_who_may_only_look_sees_that_there_is_one(client: Client, hook: Subscription) -> None:
    staff(client, "view_subscription")
    said = page(client, url_of("subscription", "change", hook.pk))
    assert SECRET not in said
    assert "set; it is not shown" in said
    assert "New secret" not in said


@pytest.mark.parametrize(
    "lookup", ["secret", "secret__startswith", "previous_secret__startswith", "topic__name", "id__gt"]
)
def test_a_secret_is_not_guessed_through_the_lists_lookups(admin: Client, hook: Subscription, lookup: str) -> None:
    assert admin.get(url_of("subscription"), {lookup: SECRET[:7]}).status_code == 400
    assert admin.get(url_of("deadletter"), {f"subscription__{lookup}": SECRET[:7]}).status_code == 400


def test_a_refused_secret_is_not_sent_back(admin: Client, topic: Topic) -> None:
    said = posted(admin, url_of("subscription", "add"), subscription_form(topic, new_secret=SECRET))
    assert "a webhook's" in said
    assert SECRET not in said


def test_an_empty_secret_keeps_the_one_there_is(admin: Client, hook: Subscription) -> None:
    form = change_form(hook, endpoint_url=hook.endpoint_url, timeout="3", new_secret="")
    said = posted(admin, url_of("subscription", "change", hook.pk), form)
    hook.refresh_from_db()
    assert "was changed successfully" in said
    assert (hook.timeout, hook.secret) == (3.0, SECRET)


def test_a_new_secret_is_kept_and_the_history_only_says_that_it_changed(admin: Client, hook: Subscription) -> None:
    form = change_form(hook, endpoint_url=hook.endpoint_url, new_secret=NEW)
    said = posted(admin, url_of("subscription", "change", hook.pk), form)
    said += page(admin, url_of("subscription", "history", hook.pk)) + page(admin, "/admin/")
    written = [f"{entry.object_repr} {entry.change_message}" for entry in LogEntry.objects.all()]
    assert "was changed successfully" in said
    assert "whsec_" not in said
    assert len(written) == 1
    assert "New secret" in written[0]
    assert "whsec_" not in written[0]
    hook.refresh_from_db()
    assert hook.secret == NEW


@pytest.mark.parametrize("model", ["topic", "subscription", "message", "deadletter", "topicgrant"])
def test_an_address_with_what_no_text_holds_leads_back_to_the_list(admin: Client, model: str) -> None:
    answer = admin.get(url_of(model), {"state__exact": "\0"})
    assert (answer.status_code, answer["Location"]) == (302, f"{url_of(model)}?e=1")


def test_no_address_sorts_by_what_has_no_index(admin: Client) -> None:
    answer = admin.get(url_of("deadletter"), {"o": "4"})
    assert answer.status_code == 200
    assert (
        answer.context["cl"].queryset.query.order_by
        == admin.get(url_of("deadletter")).context["cl"].queryset.query.order_by
    )
