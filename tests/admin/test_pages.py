"""Every page: who may see it, how many statements it takes, and that nothing on it is a script of its own."""

import re
from collections.abc import Callable

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from datapunk_broker.models import Subscription, Topic, TopicGrant
from tests.admin.rooms import ROOMS, acted, binding_rows, page, staff, url_of
from tests.engine.make import died, make_subscription, make_topic, published

pytestmark = pytest.mark.django_db

SCRIPT = re.compile(
    r"<script(?![^>]*\ssrc=)(?![^>]*application/json)|\son[a-z]+\s*=\s*[\"']|href=\"javascript:|\sstyle="
)


def fill(rows: int) -> None:
    """So many rows in every room."""
    for number in range(rows):
        topic = make_topic(f"topic-{number}", type="topic")
        subscription = make_subscription(topic, f"subscription-{number}", ["a.*", "#"])
        died(subscription, published(topic, {"n": number}, headers={"n": number}))
        published(topic, 1)
        user = User.objects.create(username=f"user-{number}")
        TopicGrant.objects.create(user=user, topic=topic.name, publish=True)


def pages() -> list[str]:
    """Every page that answers to GET."""
    [letter, message] = [url_of(model, "change", first(model)) for model in ("deadletter", "message")]
    rows = [url_of(model, "change", first(model)) for model in ("topic", "subscription", "topicgrant")]
    adds = [url_of(model, "add") for model in ("topic", "subscription", "topicgrant")]
    deletes = [url_of(model, "delete", first(model)) for model in ("topic", "subscription", "deadletter", "topicgrant")]
    edit = url_of("deadletter", "edit", first("deadletter"))
    histories = [url_of(model, "history", first(model)) for model in ROOMS]
    lists = [url_of(model) for model in ROOMS]
    return ["/admin/", "/admin/datapunk_broker/", *lists, letter, message, *rows, *adds, *deletes, edit, *histories]


def first(model: str) -> object:
    rows = apps.get_model("datapunk_broker", model).objects
    return rows.order_by("pk").values_list("pk", flat=True)[0]


def test_no_page_has_a_script_or_a_style_of_its_own(admin: Client) -> None:
    fill(1)
    for url in pages():
        answer = admin.get(url)
        assert answer.status_code == 200, url
        assert not (found := SCRIPT.search(answer.content.decode())), (url, found)


def test_no_confirmation_has_a_script_of_its_own(admin: Client) -> None:
    fill(1)
    actions = [("topic", "delete_topics"), ("subscription", "delete_subscriptions")]
    for model, action in (*actions, ("deadletter", "redrive_selected"), ("deadletter", "discard_selected")):
        assert not SCRIPT.search(acted(admin, model, action, first(model)))


def test_strangers_see_nothing(client: Client) -> None:
    fill(1)
    addresses = [*pages(), url_of("deadletter", "export"), url_of("message", "payload", first("message"))]
    assert {client.get(url).status_code for url in addresses} == {302}
    client.force_login(User.objects.create(username="customer"))
    assert {client.get(url).status_code for url in addresses} == {302}, "not of the staff"
    posts = [
        url_of("deadletter", "redrive", first("deadletter")),
        url_of("subscription", "pause", first("subscription")),
    ]
    assert {client.post(url).status_code for url in posts} == {302}


def test_staff_without_permissions_enter_no_room(client: Client) -> None:
    fill(1)
    staff(client)
    TopicGrant.objects.create(user=User.objects.get(username="staff"), topic="#", manage=True)
    statuses = {url: client.get(url).status_code for url in pages()[1:]}
    statuses.pop("/admin/datapunk_broker/")
    assert set(statuses.values()) == {403}
    assert "Message broker" not in page(client, "/admin/")


@pytest.mark.parametrize("model", ROOMS)
def test_djangos_permissions_decide(client: Client, model: str) -> None:
    fill(1)
    pk, kept = first(model), model not in ("message", "deadletter")
    allowed = {
        "view": {"changelist", "change", "history"},
        "add": {"add"} if kept else set(),
        "change": {"changelist", "change", "history", *(["posted"] if kept else [])},
        "delete": {"delete"} if model != "message" else set(),
    }
    for word, may in allowed.items():
        staff(client, f"{word}_{model}")
        statuses = {
            "changelist": client.get(url_of(model)).status_code,
            "change": client.get(url_of(model, "change", pk)).status_code,
            "add": client.get(url_of(model, "add")).status_code,
            "delete": client.get(url_of(model, "delete", pk)).status_code,
            "history": client.get(url_of(model, "history", pk)).status_code,
            "posted": client.post(url_of(model, "change", pk), binding_rows(())).status_code,
        }
        assert statuses == {name: 200 if name in may else 403 for name in statuses}, word


def test_who_may_only_view_sees_no_form(client: Client) -> None:
    fill(1)
    staff(client, "view_topic", "view_subscription", "view_topicgrant")
    for model in ("topic", "subscription", "topicgrant"):
        said = page(client, url_of(model, "change", first(model)))
        assert 'name="_save"' not in said
        assert "delete_" not in page(client, url_of(model))


def statements(ask: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as captured:
        ask()
    return len(captured)


def warm_up(client: Client) -> None:
    """Let content types and the like be remembered."""
    ContentType.objects.get_for_models(*apps.get_app_config("datapunk_broker").get_models())
    for model in ROOMS:
        client.get(url_of(model))


def more_rows(count: int) -> None:
    """So many more in every room, without the verbs."""
    topics = Topic.objects.bulk_create(Topic(name=f"more-{n}", type="fanout") for n in range(count))
    Subscription.objects.bulk_create(Subscription(name=f"more-{n}", topic=t) for n, t in enumerate(topics))
    died(make_subscription(make_topic("dead"), "dead"), published("dead", *range(count)))
    grant = {"user": User.objects.create(username="big"), "publish": True}
    TopicGrant.objects.bulk_create(TopicGrant(topic=f"t{n}", **grant) for n in range(count))


def test_a_list_takes_as_many_statements_for_200_rows_as_for_10(admin: Client) -> None:
    fill(10)
    warm_up(admin)
    few = {model: statements(lambda: admin.get(url_of(model))) for model in ROOMS}
    more_rows(180)
    many = {model: statements(lambda: admin.get(url_of(model))) for model in ROOMS}
    whole = {model: statements(lambda: admin.get(url_of(model), {"all": ""})) for model in ROOMS}
    assert many == few
    assert whole == few
    assert max(few.values()) <= 14, few


def test_a_page_takes_as_many_statements_for_many_deliveries_as_for_one(admin: Client) -> None:
    few, many = make_topic("few"), make_topic("many")
    make_subscription(few, "only")
    for number in range(60):
        make_subscription(many, f"s-{number}")
    [one], [other] = published(few, 1), published(many, 1)
    warm_up(admin)
    admin.get(url_of("message", "change", one.pk))
    taken = [statements(lambda: admin.get(url_of("message", "change", m.pk))) for m in (one, other)]
    topics = [statements(lambda: admin.get(url_of("topic", "change", t.pk))) for t in (few, many)]
    assert taken[0] == taken[1]
    assert topics[0] == topics[1]
