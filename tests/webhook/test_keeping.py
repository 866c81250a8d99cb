"""A webhook's secret, and what is refused of it before anything is delivered."""

import sys
from base64 import b64encode
from typing import Any

import pytest
from django.test import Client, override_settings

from datapunk_broker import broker, checks
from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.exceptions import ConfigInvalidError, DeliveryModeInvalidError
from datapunk_broker.models import Subscription
from datapunk_broker.transports.webhook.signing import key_of, new_secret, signatures
from tests.pump.make import owed, publish, states
from tests.webhook.conftest import SECRET, Hook, drain

URL = "https://example.com/hook"


def secret_of(size: int) -> str:
    return f"whsec_{b64encode(b'k' * size).decode()}"


def test_the_signature_is_the_one_that_the_specification_gives() -> None:
    body, identity = b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert signatures([SECRET], identity, 1614265330, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_may_be_without_its_padding() -> None:
    assert key_of(secret_of(25).rstrip("=")) == b"k" * 25
    assert len(key_of(new_secret())) == 32
    assert new_secret() != new_secret()


@pytest.mark.django_db
@pytest.mark.parametrize("secret", ["hunter2", "whsec_", "whsec_ü", "whsec_!!!!", secret_of(23), secret_of(65)])
def test_a_secret_that_signs_nothing_is_refused_and_not_shown(topic: str, secret: str) -> None:
    config = SubscriptionConfig("hook", topic, transport="webhook", endpoint_url=URL, secret=secret)
    with pytest.raises(ConfigInvalidError) as refused:
        broker.create_subscription(config)
    assert refused.value.field == "secret"
    assert secret == "whsec_" or secret not in str(refused.value)


@pytest.mark.django_db
def test_a_secret_is_made_where_none_is_given(topic: str) -> None:
    made = broker.create_subscription(SubscriptionConfig("hook", topic, transport="webhook", endpoint_url=URL))
    assert key_of(made.secret)
    kept = broker.update_subscription("hook", {"timeout": 5})
    assert (kept.secret, kept.previous_secret) == (made.secret, "")
    pulled = broker.update_subscription("hook", {"transport": "pull"})
    assert (pulled.endpoint_url, pulled.secret, pulled.previous_secret) == ("", "", "")
    again = broker.update_subscription("hook", {"transport": "webhook", "endpoint_url": URL})
    assert key_of(again.secret) != key_of(made.secret)


@pytest.mark.django_db
def test_the_secret_that_was_made_is_shown_once_over_http(topic: str, admin_client: Client) -> None:
    where = "/broker/api/v1/subscriptions/"
    given = {"name": "hook", "topic": topic, "transport": "webhook", "endpoint_url": URL}
    made = admin_client.post(where, given, content_type="application/json")
    assert made.status_code == 201
    assert made.json()["secret"] == Subscription.objects.get(name="hook").secret
    assert "secret" not in admin_client.get(f"{where}hook/").json()
    changed = admin_client.patch(f"{where}hook/", {"endpoint_url": "http://10.0.0.1/"}, content_type="application/json")
    assert (changed.status_code, changed.json()["code"]) == (400, "endpoint_refused")


@pytest.mark.django_db
def test_a_declared_webhook_keeps_the_secret_that_was_made(topic: str) -> None:
    declared = SubscriptionConfig("hook", topic, transport="webhook", endpoint_url=URL)
    with override_settings(DATAPUNK_BROKER={"TOPICS": [{"name": topic, "type": "topic"}], "SUBSCRIPTIONS": [declared]}):
        broker.sync()
        first = Subscription.objects.get(name="hook").secret
        broker.sync()
    assert key_of(first)
    assert Subscription.objects.get(name="hook").secret == first


@pytest.mark.django_db
def test_exactly_once_is_refused(hook: Hook) -> None:
    with pytest.raises(DeliveryModeInvalidError, match="webhook-id"):
        hook(delivery_mode="exactly_once")


@pytest.mark.django_db
def test_without_the_extra_a_webhook_is_refused_and_what_waits_for_one_goes_on_waiting(
    hook: Hook, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook()
    publish(1)
    monkeypatch.setitem(sys.modules, "httpcore", None)
    assert drain() == 0
    assert (len(owed("hook")), states("hook")) == (1, ["ready"])
    config = SubscriptionConfig("other", topic, transport="webhook", endpoint_url=URL)
    with pytest.raises(ConfigInvalidError, match=r"pip install 'datapunk-broker\[webhooks\]'"):
        broker.create_subscription(config)
    [found] = problems(URL)
    assert "webhooks]" in found


def problems(url: str, **options: Any) -> list[str]:
    declared = {"name": "hook", "topic": "orders", "transport": "webhook", "endpoint_url": url, **options}
    with override_settings(DATAPUNK_BROKER={"SUBSCRIPTIONS": [declared]}):
        found = checks.check_webhooks()
    assert {message.id for message in found} <= {"datapunk_broker.E009"}
    return [message.msg for message in found]


def test_the_checks_name_a_webhook_that_cannot_be_delivered() -> None:
    assert problems(URL, secret=SECRET) == []
    [url] = problems("http://10.0.0.1/")
    assert url.startswith("The subscription 'hook': http://10.0.0.1/: 10.0.0.1 is not public")
    [secret] = problems(URL, secret="hunter2")
    assert "secret" in secret
    assert "hunter2" not in secret
