"""Who may do what: the table that every door asks."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from datapunk_broker import broker, rights
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from datapunk_broker.exceptions import PermissionDeniedError, TopicNotFoundError
from datapunk_broker.models import Message, Subscription, Topic, TopicGrant
from datapunk_broker.rights import Action, Managing

pytestmark = pytest.mark.django_db

PUBLISH, SUBSCRIBE, MANAGE = Action
EVERYTHING = {PUBLISH, SUBSCRIBE, MANAGE}

PERMISSIONS = [
    ((), set(), False),
    (("view_topic",), set(), True),
    (("add_message",), {PUBLISH}, True),
    (("view_message",), {SUBSCRIBE}, True),
    (("change_topic",), set(), True),
    (tuple(Managing), {MANAGE}, True),
    (("add_message", "change_deadletter"), {PUBLISH}, True),
    (("view_subscription",), set(), True),
    (("view_deadletter",), set(), False),
]

GRANTS = [
    ("orders.eu", True),
    ("orders.*", True),
    ("orders.#", True),
    ("#", True),
    ("*.eu", True),
    ("orders", False),
    ("orders.us", False),
    ("*", False),
    ("orders.eu.#.x", False),
    ("Orders.eu", False),
    ("order*", False),
    ("", False),
]


def ann(*permissions: str, **fields: Any) -> User:
    user = User.objects.create_user("ann", **fields)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="datapunk_broker", codename__in=permissions)
    )
    return User.objects.get(pk=user.pk)


def allowed(user: Any, topic: str = "orders.eu") -> set[Action]:
    return {action for action in Action if rights.may(user, action, topic)}


@pytest.mark.parametrize(("permissions", "may", "sees"), PERMISSIONS)
def test_djangos_permissions_give_the_whole_broker(permissions: tuple[str, ...], may: set[Action], sees: bool) -> None:
    user = ann(*permissions)

    assert (allowed(user), rights.may_see(user, "orders.eu")) == (may, sees)


@pytest.mark.parametrize("one", Managing)
def test_each_of_djangos_permissions_to_manage_gives_what_it_says_and_no_more(one: Managing) -> None:
    user = ann(one)

    assert {other for other in Managing if rights.may(user, other, "orders.eu")} == {one}
    assert allowed(user) == set()


def test_a_grant_to_manage_is_to_manage_in_every_way() -> None:
    user = ann()
    grant = TopicGrant.objects.create(topic="orders.#", user=user, manage=True)
    assert all(rights.may(user, one, "orders.eu") for one in Managing)
    assert not any(rights.may(user, one, "people") for one in Managing)

    TopicGrant.objects.filter(pk=grant.pk).update(manage=False, publish=True, subscribe=True)

    assert not any(rights.may(user, one, "orders.eu") for one in Managing)


@pytest.mark.parametrize(("pattern", "meets"), GRANTS)
@pytest.mark.parametrize("through", ["user", "group"])
def test_a_grant_gives_the_topics_that_its_pattern_meets(pattern: str, meets: bool, through: str) -> None:
    user, group = ann(), Group.objects.create(name="readers")
    user.groups.add(group)
    holder = {"user": user} if through == "user" else {"group": group}
    grant = TopicGrant.objects.create(topic=pattern, **holder)

    for actions in ({PUBLISH}, {SUBSCRIBE}, {MANAGE}, EVERYTHING, set[Action]()):
        grant.publish, grant.subscribe, grant.manage = (action in actions for action in Action)
        grant.save()
        assert allowed(user) == (actions if meets else set())
        assert rights.may_see(user, "orders.eu") == (meets and bool(actions))


def test_grants_and_permissions_add_up() -> None:
    user = ann("add_message")
    TopicGrant.objects.create(topic="orders.*", user=user, manage=True)
    TopicGrant.objects.create(topic="orders.us", user=user, subscribe=True)

    assert allowed(user, "orders.eu") == {PUBLISH, MANAGE}
    assert allowed(user, "orders.us") == EVERYTHING
    assert allowed(user, "people") == {PUBLISH}


def test_the_grants_of_others_are_theirs() -> None:
    TopicGrant.objects.create(topic="#", user=User.objects.create_user("bob"), manage=True)
    TopicGrant.objects.create(topic="#", group=Group.objects.create(name="strangers"), manage=True)

    assert allowed(ann()) == set()


def test_a_superuser_may_everything_and_who_is_not_active_nothing() -> None:
    assert allowed(User(is_superuser=True, is_active=True, pk=1)) == EVERYTHING
    gone = ann(is_superuser=True, is_active=False)
    TopicGrant.objects.create(topic="#", user=gone, publish=True)

    assert allowed(gone) == set()
    assert not rights.may_see(gone, "orders.eu")
    assert allowed(AnonymousUser()) == set()
    assert not rights.may_see(AnonymousUser(), "orders.eu")


def test_what_one_may_not_see_is_not_there_and_what_one_may_not_do_is_denied() -> None:
    user = ann()
    for name in ("orders", "people"):
        broker.create_topic(TopicConfig(name))
    for name in ("orders", "nowhere"):
        TopicGrant.objects.create(topic=name, user=user, publish=True)

    rights.require(user, PUBLISH, "orders")
    with pytest.raises(PermissionDeniedError, match="orders"):
        rights.require(user, MANAGE, "orders")
    for name in ("people", "nowhere"):
        with pytest.raises(TopicNotFoundError):
            rights.require(user, MANAGE, name)
    with pytest.raises(PermissionDeniedError):
        rights.require_to_create(user, "people")


def test_rows_are_narrowed_to_the_topics_that_one_may_see_or_do_something_with() -> None:
    for name in ("orders", "orders.eu", "people", "people.eu"):
        broker.create_topic(TopicConfig(name))
        broker.create_subscription(SubscriptionConfig(f"of-{name}", name, transport="pull"))
        broker.publish(name, 1)
    user = ann()
    TopicGrant.objects.create(topic="orders.*", user=user, subscribe=True)
    TopicGrant.objects.create(topic="people", user=user, publish=True)
    TopicGrant.objects.create(topic="gone", user=user, manage=True)

    def seen(action: Action | None = None) -> list[str]:
        return list(rights.visible_topics(user, Topic.objects.all(), action=action).values_list("name", flat=True))

    assert seen() == ["orders.eu", "people"]
    assert [seen(action) for action in Action] == [["people"], ["orders.eu"], []]
    subscriptions = rights.visible_topics(user, Subscription.objects.listed(), prefix="topic")
    assert {row.name for row in subscriptions} == {"of-orders.eu", "of-people"}
    messages = rights.visible_topics(user, Message.objects.all(), prefix="topic", action=SUBSCRIBE)
    assert [message.topic.name for message in messages] == ["orders.eu"]


@pytest.mark.parametrize("permissions", [("view_topic",), ()])
def test_a_question_costs_the_same_however_many_grants_and_topics_there_are(permissions: tuple[str, ...]) -> None:
    user = ann(*permissions)
    user.has_perm("datapunk_broker.view_topic")

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            list(rights.visible_topics(user, Topic.objects.all()))
            rights.may_see(user, "orders.1")
        return len(queries)

    TopicGrant.objects.create(topic="orders.*", user=user, publish=True)
    broker.create_topic(TopicConfig("orders.eu"))
    before = cost()
    for n in range(20):
        broker.create_topic(TopicConfig(f"orders.{n}"))
        TopicGrant.objects.create(topic=f"orders.{n}", user=user, publish=True)

    assert cost() == before <= 4
