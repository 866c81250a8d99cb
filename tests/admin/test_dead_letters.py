from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from datapunk_broker.models import DeadLetter, Delivery, Message, SettledDelivery, Subscription, Topic
from datapunk_broker.states import FailureReason, Settled
from tests.admin.rooms import acted, ids_on, logged, page, posted, staff, url_of
from tests.engine.make import delete_subscription, died, make_subscription, make_topic, published

pytestmark = pytest.mark.django_db


@pytest.fixture
def letter(topic: Topic, billing: Subscription) -> DeadLetter:
    [letter] = died(
        billing,
        published(topic, {"amount": "12"}, headers={"tier": "gold"}),
        error_message="<b>boom</b>",
        traceback='File "billing.py", line 7\n<KeyError>',
    )
    return letter


def redrive(client: Client, letter: DeadLetter) -> str:
    return posted(client, url_of("deadletter", "redrive", letter.pk), {})


def test_open_ones_are_listed_unless_others_are_asked_for(admin: Client, topic: Topic, billing: Subscription) -> None:
    [closed] = died(billing, published(topic, 1), redriven_at=Now())
    [still_open] = died(billing, published(topic, 2))
    assert ids_on(admin, "deadletter") == {still_open.pk}
    assert ids_on(admin, "deadletter", state="redriven") == {closed.pk}
    assert ids_on(admin, "deadletter", state="all") == {closed.pk, still_open.pk}


def test_they_are_narrowed_by_reason_subscription_topic_and_time(
    admin: Client, topic: Topic, billing: Subscription
) -> None:
    other = make_topic("other")
    shipping, elsewhere = make_subscription(topic, "shipping"), make_subscription(other, "elsewhere")
    [a, b] = died(billing, published(topic, 1, 2))
    [c] = died(shipping, published(topic, 3), FailureReason.TIMEOUT)
    [d] = died(elsewhere, published(other, 4), dead_at=timezone.now() - timedelta(hours=5))
    hour_ago = timezone.localtime(timezone.now() - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    narrowed: list[tuple[dict[str, Any], set[int]]] = [
        ({"reason__exact": "timeout"}, {c.pk}),
        ({"subscription": billing.pk}, {a.pk, b.pk}),
        ({"topic": topic.pk}, {a.pk, b.pk, c.pk}),
        ({"topic": topic.pk, "reason__exact": "processing_error"}, {a.pk, b.pk}),
        ({"until": hour_ago}, {d.pk}),
        ({"within": "1h"}, {a.pk, b.pk, c.pk}),
        ({"q": str(b.message_id)}, {b.pk}),
        ({"q": "no id"}, set()),
        ({"subscription": "4711"}, set()),
    ]
    assert [ids_on(admin, "deadletter", **params) for params, _ in narrowed] == [ids for _, ids in narrowed]


def test_one_is_looked_into(admin: Client, letter: DeadLetter) -> None:
    source = published("orders", 0)[0]
    Message.objects.filter(pk=letter.message_id).update(redriven_from=source.pk)
    said = page(admin, url_of("deadletter", "change", letter.pk))
    for text in ('"amount": "12"', '"gold"', "<b>boom</b>", "<KeyError>", "billing", "orders", "Failed attempts"):
        assert text in said
    assert url_of("message", "change", letter.message_id) in said
    assert url_of("message", "change", source.pk) in said
    assert "before it died: never; since then: no, it is open" in said
    raw = admin.get(url_of("deadletter", "change", letter.pk)).content.decode()
    assert "<b>boom" not in raw
    assert "<KeyError>" not in raw


def test_one_is_redriven_as_it_was(admin: Client, letter: DeadLetter) -> None:
    said = redrive(admin, letter)
    assert "It is delivered again." in said
    assert ">Redrive</button>" not in said, "it is closed now"
    assert Delivery.objects.get().message_id == letter.message_id
    letter.refresh_from_db()
    assert (letter.redriven_at is not None, letter.redrives) == (True, letter.redrives)
    assert [line.rpartition(": ")[2] for line in logged()] == ["Redriven."]


def test_one_that_was_redriven_meanwhile_is_left_alone(admin: Client, letter: DeadLetter) -> None:
    redrive(admin, letter)
    assert "it was redriven already" in redrive(admin, letter)
    assert Delivery.objects.count() == 1
    assert len(logged()) == 1


def test_one_whose_subscription_is_gone_says_so(admin: Client, letter: DeadLetter) -> None:
    delete_subscription(Subscription.objects.get())
    assert "its subscription or message is gone" in redrive(admin, letter)
    assert DeadLetter.objects.open().exists()


def test_one_whose_rows_were_purged_is_no_500(admin: Client, letter: DeadLetter) -> None:
    Message.objects.all().delete()
    Subscription.objects.all().delete()
    Topic.objects.all().delete()
    said = page(admin, url_of("deadletter", "change", letter.pk))
    assert "The message is gone." in said
    assert f"#{letter.subscription_id} (gone)" in said
    assert ids_on(admin, "deadletter") == {letter.pk}
    assert "gone: will be skipped" in acted(admin, "deadletter", "redrive_selected", letter.pk)
    assert "1 were skipped" in acted(admin, "deadletter", "redrive_selected", letter.pk, post="yes")


def test_one_is_discarded_after_asking(admin: Client, letter: DeadLetter) -> None:
    url = url_of("deadletter", "delete", letter.pk)
    assert "Throw this dead letter away?" in page(admin, url)
    posted(admin, url, {"post": "yes"})
    assert not DeadLetter.objects.exists()
    assert SettledDelivery.objects.get().outcome == Settled.DEAD
    assert len(logged()) == 1


def test_a_form_posted_to_its_page_changes_nothing(admin: Client, letter: DeadLetter) -> None:
    assert admin.post(url_of("deadletter", "change", letter.pk), {"reason": "timeout"}).status_code == 403
    assert DeadLetter.objects.get().reason == "processing_error"


def test_who_may_only_look_redrives_edits_and_discards_nothing(client: Client, letter: DeadLetter) -> None:
    staff(client, "view_deadletter")
    said = page(client, url_of("deadletter", "change", letter.pk))
    assert ">Redrive</button>" not in said
    assert "Discard…" not in said
    listed = page(client, url_of("deadletter"))
    assert "redrive_selected" not in listed
    assert "discard_selected" not in listed
    assert "export_selected" in listed
    assert client.post(url_of("deadletter", "redrive", letter.pk)).status_code == 403
    assert client.get(url_of("deadletter", "edit", letter.pk)).status_code == 403
    assert client.post(url_of("deadletter", "edit", letter.pk), {"payload": "1"}).status_code == 403
    assert client.post(url_of("deadletter", "delete", letter.pk), {"post": "yes"}).status_code == 403
    acted(client, "deadletter", "redrive_selected", letter.pk, post="yes")
    acted(client, "deadletter", "discard_selected", letter.pk, post="yes")
    assert DeadLetter.objects.open().get() == letter


def test_who_may_change_redrives_and_who_may_delete_discards(client: Client, letter: DeadLetter) -> None:
    staff(client, "change_deadletter")
    assert client.post(url_of("deadletter", "delete", letter.pk), {"post": "yes"}).status_code == 403
    assert "It is delivered again." in redrive(client, letter)
    staff(client, "view_deadletter", "delete_deadletter")
    posted(client, url_of("deadletter", "delete", letter.pk), {"post": "yes"})
    assert not DeadLetter.objects.exists()
