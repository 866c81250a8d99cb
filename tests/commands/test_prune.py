import io
from datetime import timedelta

import pytest
from django.core.management import call_command

from datapunk_broker.models import Message
from tests.engine.make import aged, ended, make_subscription, make_topic, published

pytestmark = pytest.mark.django_db


def test_what_is_past_its_retention_goes_and_is_counted() -> None:
    topic = make_topic("orders", retention_hours=1)
    subscription = make_subscription(topic)
    old, young = published(topic, 1, 2)
    ended(subscription, [old, young])
    aged([old], timedelta(hours=2))
    out = io.StringIO()

    call_command("broker_prune", stdout=out)

    assert [message.pk for message in Message.objects.all()] == [young.pk]
    assert out.getvalue().startswith("Removed 1 messages, 0 dead letters,")


def test_where_nothing_is_old_nothing_goes() -> None:
    out = io.StringIO()

    call_command("broker_prune", stdout=out)

    assert out.getvalue().startswith("Removed 0 messages")
