"""The stream behind a topic, as the topic changes."""

from typing import Any

import pytest
from django.test import override_settings

from datapunk_broker.engine.append import append
from datapunk_broker.engine.topology import (
    delete_subscription,
    delete_topic,
    pause,
    resume,
    update_subscription,
    update_topic,
)
from datapunk_broker.exceptions import (
    SubscriptionNotFoundError,
)
from datapunk_broker.models import Delivery, StreamHead, Subscription, Topic
from datapunk_broker.states import Transport
from tests.engine.verbs import USING, send, subscribe, topic

pytestmark = pytest.mark.django_db


def stream(name: str = "orders") -> Subscription | None:
    return Subscription.objects.live().filter(name=f"stream:{name}", transport=Transport.STREAM).first()


def keys(name: str = "billing") -> set[str | None]:
    return set(Delivery.objects.filter(subscription__name=name).values_list("ordering_key", flat=True))


def test_topic_has_a_stream_with_its_head() -> None:
    made = topic()
    assert stream() is not None
    assert StreamHead.objects.get().topic_id == made.pk
    assert not Subscription.objects.listed().exists()


@pytest.mark.parametrize("options", [{"stream": False}, {"persistent": False}])
def test_topic_without_stream_or_storage_has_no_stream(options: dict[str, Any]) -> None:
    topic(**options)
    assert stream() is None
    assert not StreamHead.objects.exists()


@pytest.mark.parametrize("change", [{"stream": False}, {"persistent": False}])
def test_switching_the_stream_off_tombstones_it_for_publishers_too(change: dict[str, Any]) -> None:
    topic()
    send()
    update_topic("orders", change, using=USING)
    assert stream() is None
    assert Subscription.objects.get().deleted_at is not None
    send()
    assert Delivery.objects.count() == 1


def test_stream_that_is_switched_on_again_goes_on_at_the_next_position() -> None:
    topic()
    send()
    append(using=USING)
    update_topic("orders", {"stream": False}, using=USING)
    update_topic("orders", {"stream": True}, using=USING)
    send()
    [appended] = append(using=USING)
    assert appended.head == 2


def test_updating_a_topic_follows_a_setting_that_decides_about_its_stream() -> None:
    with override_settings(DATAPUNK_BROKER={"ENABLE_PERSISTENCE": False}):
        topic()
        assert stream() is None
    update_topic("orders", {}, using=USING)
    assert stream() is not None


@pytest.mark.parametrize("name", ["nobody", "stream:orders"])
@pytest.mark.parametrize(
    "verb",
    [delete_subscription, pause, resume, lambda name, using: update_subscription(name, {}, using=using)],
)
def test_stream_is_nobodys_to_change(name: str, verb: Any) -> None:
    topic()
    with pytest.raises(SubscriptionNotFoundError):
        verb(name, using=USING)
    assert stream() is not None


def test_stream_deliveries_keep_no_ordering_key_when_a_subscription_is_ordered() -> None:
    topic()
    subscribe()
    send(ordering_key="a")
    update_subscription("billing", {"ordering": True}, using=USING)
    assert keys("stream:orders") == {None}


def test_what_only_the_stream_is_owed_keeps_no_topic() -> None:
    topic()
    send()
    delete_topic("orders", using=USING)
    assert not Topic.objects.live().exists()
