"""What an endpoint is asked: the published bytes, signed, with what is known of the message."""

from threading import Barrier

import msgspec
import pytest
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from datapunk_broker import broker
from datapunk_broker.models import Attempt, Subscription
from tests.pump.make import acked, make_due, publish
from tests.webhook.conftest import SECRET, Hook, drain
from tests.webhook.site import Answer, Endpoint

pytestmark = pytest.mark.django_db

ODD = b'{ "total":1.50,\n "big": 123456789012345678901234567890, "pad": "' + b"x" * 5000 + b'"}'


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(msgspec.Raw(ODD), "application/json"), (b"\xff\x00\xfe" * 700, "image/png"), (b"", "text/plain")],
)
def test_the_bytes_arrive_as_they_were_published(
    hook: Hook, endpoint: Endpoint, body: bytes | msgspec.Raw, content_type: str
) -> None:
    hook()
    published = publish(body, content_type=content_type)
    assert drain() == 1
    [asked] = endpoint.asked
    assert asked.body == bytes(body)
    assert asked.headers["content-type"] == content_type
    assert asked.path == "/hook?a=1"
    assert acked("hook") == set(published)


def test_the_signature_stands_before_the_verifier_that_endpoints_use(hook: Hook, endpoint: Endpoint) -> None:
    hook()
    publish({"id": 7})
    drain()
    [asked] = endpoint.asked
    assert Webhook(SECRET).verify(asked.body, dict(asked.headers)) == {"id": 7}


def test_a_message_that_comes_again_has_its_id_again_and_a_time_of_its_own(hook: Hook, endpoint: Endpoint) -> None:
    hook()
    endpoint.answers.append(Answer(500))
    [identity] = publish({"id": 7})
    before = int(timezone.now().timestamp())
    drain()
    make_due("hook")
    drain()
    first, second = endpoint.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == str(identity)
    assert [asked.headers["datapunk-attempt"] for asked in endpoint.asked] == ["1", "2"]
    assert before <= int(first.headers["webhook-timestamp"]) <= int(second.headers["webhook-timestamp"])
    assert Webhook(SECRET).verify(second.body, dict(second.headers)) == {"id": 7}


def test_what_is_known_of_the_message_rides_in_headers(hook: Hook, endpoint: Endpoint) -> None:
    hook()
    headers = {"Tier": "gold", "grüße": "left out", "n": 3, "name": "Ä b%\r\nX-Evil: 1", "host": "evil.example"}
    told = {"routing_key": "eu.straße", "ordering_key": "c 7", "correlation_id": "trace-1"}
    publish(1, headers=headers, **told)
    drain()
    [asked] = endpoint.asked
    assert asked.headers["datapunk-topic"] == "orders"
    assert asked.headers["datapunk-subscription"] == "hook"
    assert asked.headers["datapunk-routing-key"] == "eu.stra%C3%9Fe"
    assert asked.headers["datapunk-ordering-key"] == "c%207"
    assert asked.headers["datapunk-correlation-id"] == "trace-1"
    own = {name: value for name, value in asked.headers.items() if name.startswith("datapunk-header-")}
    assert own == {
        "datapunk-header-tier": "gold",
        "datapunk-header-n": "3",
        "datapunk-header-name": "%C3%84%20b%25%0D%0AX-Evil:%201",
        "datapunk-header-host": "evil.example",
    }
    assert "x-evil" not in asked.headers
    assert asked.headers["host"] == f"127.0.0.1:{endpoint.server_port}"


def test_headers_beyond_what_servers_take_stay_behind(hook: Hook, endpoint: Endpoint) -> None:
    hook()
    publish(1, headers={"long": "x" * 9000} | {f"h{n}": "v" for n in range(90)})
    drain()
    [asked] = endpoint.asked
    own = [name for name in asked.headers if name.startswith("datapunk-header-")]
    assert (len(own), "datapunk-header-long" in own) == (50, False)


def test_requests_share_a_connection_and_are_under_way_at_once(hook: Hook, endpoint: Endpoint) -> None:
    hook(breaker=False)
    for number in range(3):
        publish(number)
        drain()
    assert len({asked.connection for asked in endpoint.asked}) == 1
    endpoint.together = Barrier(3)
    publish(*range(3))
    drain()
    assert len(acked("hook")) == 6


def test_while_a_secret_changes_both_sign(hook: Hook, endpoint: Endpoint) -> None:
    hook()
    new = "whsec_" + "bmV3" * 8
    broker.update_subscription("hook", {"secret": new})
    publish({"id": 7})
    drain()
    [asked] = endpoint.asked
    assert len(asked.headers["webhook-signature"].split()) == 2
    for secret in (new, SECRET):
        assert Webhook(secret).verify(asked.body, dict(asked.headers)) == {"id": 7}


def test_nothing_goes_out_unsigned(hook: Hook, endpoint: Endpoint) -> None:
    row = hook()
    Subscription.objects.filter(pk=row.pk).update(secret="")
    publish(1)
    drain()
    assert endpoint.asked == []
    assert Attempt.objects.get().error_message.startswith("secret: is missing")
