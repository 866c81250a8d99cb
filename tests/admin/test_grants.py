from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from datapunk_broker.models import TopicGrant
from tests.admin.rooms import errors_of, page, posted, staff, url_of

pytestmark = pytest.mark.django_db

ADD = "/admin/datapunk_broker/topicgrant/add/"


@pytest.fixture
def maria(db: None) -> User:
    return User.objects.create(username="maria")


@pytest.mark.parametrize("topic", ["orders", "orders.*", "#", "eu.#.paid", "a..b", "*"])
def test_a_user_is_granted_a_topic_or_a_pattern(admin: Client, maria: User, topic: str) -> None:
    posted(admin, ADD, {"user": maria.pk, "topic": topic, "publish": "on", "manage": "on"})
    grant = TopicGrant.objects.get()
    assert (grant.user, grant.group, grant.topic) == (maria, None, topic)
    assert (grant.publish, grant.subscribe, grant.manage) == (True, False, True)
    assert "maria" in page(admin, url_of("topicgrant"))


def test_a_group_is_granted_too(admin: Client) -> None:
    group = Group.objects.create(name="billing team")
    posted(admin, ADD, {"group": group.pk, "topic": "orders", "subscribe": "on"})
    assert TopicGrant.objects.get().group == group
    assert "billing team (group)" in page(admin, url_of("topicgrant"))


@pytest.mark.parametrize(
    ("options", "field", "says"),
    [
        ({"user": ""}, "user", "a user or a group"),
        ({"group": "g"}, "user", "and not both"),
        ({"publish": ""}, "__all__", "at least one right"),
        ({"topic": "ord*"}, "topic", "nor a pattern"),
        ({"topic": "a b"}, "topic", "nor a pattern"),
        ({"topic": ""}, "topic", "required"),
        ({"user": "4711"}, "user", "valid choice"),
    ],
)
def test_a_grant_that_means_nothing_is_refused(
    admin: Client, maria: User, options: dict[str, Any], field: str, says: str
) -> None:
    if options.get("group"):
        options = {"group": Group.objects.create(name="g").pk}
    errors = errors_of(admin, ADD, {"user": maria.pk, "topic": "orders", "publish": "on", **options})
    assert list(errors) == [field]
    assert says in errors[field]
    assert not TopicGrant.objects.exists()


def test_users_are_searched_by_who_may_see_them_and_typed_by_others(client: Client, admin: Client) -> None:
    assert "admin-autocomplete" in page(admin, ADD)
    staff(client, "add_topicgrant")
    said = page(client, ADD)
    assert "admin-autocomplete" not in said
    assert '<input type="number" name="user"' in said
