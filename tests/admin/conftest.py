import pytest
from django.contrib.auth.models import User
from django.test import Client

from datapunk_broker.models import Subscription, Topic
from tests.engine.make import make_subscription, make_topic


@pytest.fixture
def admin(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def topic(db: None) -> Topic:
    return make_topic()


@pytest.fixture
def billing(topic: Topic) -> Subscription:
    return make_subscription(topic)
