import json
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connections
from django.test import AsyncClient, Client

from datapunk_broker.admin import redriving
from datapunk_broker.models import DeadLetter, Delivery, Subscription, Topic
from tests.admin.rooms import acted, logged, page, staff, url_of
from tests.engine.make import delete_subscription, died, make_subscription, make_topic, published

pytestmark = pytest.mark.django_db


@pytest.fixture
def letters(topic: Topic, billing: Subscription) -> list[DeadLetter]:
    return died(billing, published(topic, 1, 2, 3))


@pytest.fixture
def others(topic: Topic, letters: list[DeadLetter]) -> list[DeadLetter]:
    return died(make_subscription(topic, "shipping", state="paused"), published(topic, 4, 5))


def states() -> list[str]:
    return list(Delivery.objects.order_by("message_id").values_list("state", flat=True))


def hidden(said: str, name: str) -> str:
    return said.split(f'<input type="hidden" name="{name}" value="')[1].split('"', maxsplit=1)[0]


def test_a_bulk_redrive_asks_with_how_many_of_which_subscriptions(
    admin: Client, letters: list[DeadLetter], others: list[DeadLetter]
) -> None:
    Delivery.objects.all().delete()
    said = acted(admin, "deadletter", "redrive_selected", *[row.pk for row in (*letters, *others)])
    assert "Deliver 5 dead letters again" in said
    assert "billing</a></td>" in said
    assert "paused" in said
    assert "<td>3</td>" in said
    assert "<td>2</td>" in said
    assert 'name="rate"' in said
    assert not Delivery.objects.exists()


def test_a_confirmed_bulk_redrive_delivers_again(admin: Client, letters: list[DeadLetter]) -> None:
    said = acted(admin, "deadletter", "redrive_selected", *[row.pk for row in letters[:2]], post="yes", rate="")
    assert "Redriven: 2 dead letters." in said
    assert states() == ["ready", "ready"]
    assert logged() == ["2 dead letters: Redriven."]


def test_a_bulk_redrive_takes_a_rate(admin: Client, letters: list[DeadLetter]) -> None:
    acted(admin, "deadletter", "redrive_selected", *[row.pk for row in letters], post="yes", rate="0.01")
    assert states() == ["ready", "scheduled", "scheduled"]


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "fast", "1e-9"])
def test_a_rate_that_is_none_is_refused_and_nothing_is_redriven(
    admin: Client, letters: list[DeadLetter], rate: str
) -> None:
    said = acted(admin, "deadletter", "redrive_selected", *[row.pk for row in letters], post="yes", rate=rate)
    assert "Please correct what is wrong" in said
    assert 'class="errorlist"' in said
    assert f'value="{rate}"' in said
    assert not Delivery.objects.exists()


def test_all_that_a_list_shows_are_redriven_and_later_ones_do_not_join(
    admin: Client, letters: list[DeadLetter], topic: Topic, billing: Subscription
) -> None:
    chosen = {"select_across": "1", "_selected_action": letters[0].pk}
    asked = acted(admin, "deadletter", "redrive_selected", **chosen)
    assert "Deliver 3 dead letters again" in asked
    [late] = died(billing, published(topic, "late"))
    again = {name: hidden(asked, name) for name in ("select_across", "last")}
    assert "Redriven: 3 dead letters." in acted(
        admin, "deadletter", "redrive_selected", letters[0].pk, **again, post="yes"
    )
    assert DeadLetter.objects.open().get() == late


def test_a_filtered_list_redrives_what_it_shows(
    admin: Client, letters: list[DeadLetter], others: list[DeadLetter]
) -> None:
    url = url_of("deadletter") + f"?subscription={letters[0].subscription_id}"
    data = {"action": "redrive_selected", "select_across": "1", "_selected_action": letters[0].pk, "post": "yes"}
    admin.post(url, data)
    assert set(DeadLetter.objects.open()) == set(others)


def test_one_request_redrives_so_many_at_most(
    admin: Client, letters: list[DeadLetter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redriving, "AT_A_TIME", 2)
    pks = [row.pk for row in letters]
    assert "These are the oldest 2" in acted(admin, "deadletter", "redrive_selected", *pks)
    acted(admin, "deadletter", "redrive_selected", *pks, post="yes")
    assert DeadLetter.objects.open().get() == letters[2]


def test_those_of_deleted_subscriptions_are_skipped(
    admin: Client, letters: list[DeadLetter], others: list[DeadLetter]
) -> None:
    delete_subscription(Subscription.objects.get(name="shipping"))
    said = acted(admin, "deadletter", "redrive_selected", *[row.pk for row in (*letters, *others)], post="yes")
    assert "Redriven: 3 dead letters. 2 were skipped" in said


def test_none_that_is_open_is_a_warning(admin: Client, letters: list[DeadLetter]) -> None:
    pks = [row.pk for row in letters]
    acted(admin, "deadletter", "redrive_selected", *pks, post="yes")
    response = admin.post(
        url_of("deadletter") + "?state=all", {"action": "redrive_selected", "_selected_action": pks}, follow=True
    )
    assert "None of these is open." in response.content.decode()


def test_a_bulk_discard_asks_first(admin: Client, letters: list[DeadLetter]) -> None:
    pks = [row.pk for row in letters[:2]]
    assert "Throw 2 dead letters away?" in acted(admin, "deadletter", "discard_selected", *pks)
    assert DeadLetter.objects.count() == 3
    assert "Discarded: 2." in acted(admin, "deadletter", "discard_selected", *pks, post="yes")
    assert DeadLetter.objects.get() == letters[2]
    assert logged() == ["2 dead letters: Discarded."]


def exported(response: Any) -> list[dict[str, Any]]:
    assert response.status_code == 200
    assert response.streaming
    assert response["Content-Type"] == "application/jsonl"
    return [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]


def test_selected_ones_are_exported_as_json_lines(admin: Client, topic: Topic, billing: Subscription) -> None:
    raw = msgspec.Raw(b'{"n":\n 12345678901234567890}')
    [text] = published(topic, "ł".encode(), content_type="text/plain")
    [binary] = published(topic, b"\xff\x00", content_type="application/octet-stream")
    letters = died(billing, [*published(topic, raw, routing_key="eu", headers={"a": 1}), text, binary])
    data = {"action": "export_selected", "_selected_action": [row.pk for row in letters]}
    first, second, third = exported(admin.post(url_of("deadletter"), data))
    assert first["payload"] == {"n": 12345678901234567890}
    assert (first["topic"], first["subscription"], first["routing_key"]) == ("orders", "billing", "eu")
    assert (first["id"], first["message"]) == (letters[0].pk, str(letters[0].message_id))
    assert (first["reason"], first["error"], first["attempts"]) == ("processing_error", "ValueError", 1)
    assert (second["payload"], third["payload_base64"]) == ("ł", "/wA=")


def test_the_whole_list_is_exported_by_its_filters(
    admin: Client, letters: list[DeadLetter], others: list[DeadLetter]
) -> None:
    url = url_of("deadletter", "export")
    assert f'href="{url}?subscription={others[0].subscription_id}"' in page(
        admin, url_of("deadletter"), {"subscription": others[0].subscription_id}
    )
    assert len(exported(admin.get(url))) == 5
    lines = exported(admin.get(url, {"subscription": others[0].subscription_id}))
    assert [line["id"] for line in lines] == [row.pk for row in others]
    assert admin.get(url, {"p": "x", "oops": "1"}).status_code in {302, 400}


def test_an_export_reads_page_by_page(admin: Client, topic: Topic, billing: Subscription) -> None:
    letters = died(billing, published(topic, *range(205)))
    response = admin.get(url_of("deadletter", "export"))
    pages = list(response.streaming_content)
    assert [part.count(b"\n") for part in pages] == [100, 100, 5]
    assert [json.loads(line)["id"] for line in b"".join(pages).splitlines()] == [row.pk for row in letters]


@pytest.mark.django_db(transaction=True)
async def test_an_export_streams_under_asgi_too(async_client: AsyncClient) -> None:
    def given() -> User:
        topic = make_topic()
        died(make_subscription(topic), published(topic, 1, 2))
        return User.objects.create_superuser("root")

    await async_client.aforce_login(await sync_to_async(given)())
    response: Any = await async_client.get(url_of("deadletter", "export"))
    assert response.is_async
    lines = b"".join([part async for part in response.streaming_content]).splitlines()
    await sync_to_async(connections.close_all)()  # those of asgiref's thread, which outlives the test
    assert [json.loads(line)["payload"] for line in lines] == [1, 2]


def test_who_may_not_see_dead_letters_exports_none(client: Client, letters: list[DeadLetter]) -> None:
    staff(client, "view_topic")
    assert client.get(url_of("deadletter", "export")).status_code == 403
