"""Who may publish, subscribe, manage and see: one answer for every door."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import chain
from typing import Any, Protocol, TypeVar

from django.db.models import Model, Q, QuerySet

from datapunk_broker.conf import get_config
from datapunk_broker.exceptions import PermissionDeniedError, TopicNotFoundError
from datapunk_broker.matching import Matcher, Rule, compile_rules
from datapunk_broker.models import Topic, TopicGrant
from datapunk_broker.states import TopicType

M = TypeVar("M", bound=Model)


class Action(StrEnum):
    """What a grant gives on a topic.

    SUBSCRIBE is to take messages and to read them, dead letters too; MANAGE is all of ``Managing``.
    """

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    MANAGE = "manage"


class Managing(StrEnum):
    """What managing is made of; each is called as Django's permission that gives it on every topic.

    To change a subscription is to pause, resume and seek, too.
    """

    ADD_TOPIC = "add_topic"
    CHANGE_TOPIC = "change_topic"
    DELETE_TOPIC = "delete_topic"
    ADD_SUBSCRIPTION = "add_subscription"
    CHANGE_SUBSCRIPTION = "change_subscription"
    DELETE_SUBSCRIPTION = "delete_subscription"
    REDRIVE = "change_deadletter"
    DISCARD = "delete_deadletter"


Right = Action | Managing

PERMISSIONS: Mapping[Right, Sequence[str]] = {
    Action.PUBLISH: ["add_message"],
    Action.SUBSCRIBE: ["view_message"],
    Action.MANAGE: list(Managing),
    **{one: [one] for one in Managing},
}
"""Django's permissions that together give a right on every topic."""

SEE = {"view_topic", "view_subscription", *chain.from_iterable(PERMISSIONS.values())}
"""Django's permissions each of which shows every topic."""


class Somebody(Protocol):
    """A user of whatever model, or nobody (AnonymousUser)."""

    @property
    def pk(self) -> Any: ...
    @property
    def is_active(self) -> bool: ...
    @property
    def is_authenticated(self) -> bool: ...
    def has_perm(self, perm: str, /) -> bool: ...


def may(user: Somebody, action: Right, topic: str) -> bool:
    """Return whether somebody may do this with a topic of this name, be it there or not."""
    return judge(user, action)(topic)


def judge(user: Somebody, action: Right) -> Callable[[str], bool]:
    """Return what tells of any topic's name whether somebody may do this with it; the database is asked once."""
    if _everywhere(user, action):
        return lambda _: True
    matcher = _matcher(_patterns(user, action))
    return lambda topic: bool(matcher.match(topic, {}))


def may_see(user: Somebody, topic: str) -> bool:
    """Return whether somebody has any right to a topic of this name."""
    return _everywhere(user, None) or _meets(_patterns(user, None), topic)


def require(user: Somebody, action: Right, topic: str) -> None:
    """Refuse what somebody may not do.

    Raises TopicNotFoundError where there is nothing to see, or nothing that they may, else PermissionDeniedError.
    """
    if may(user, action, topic):
        return
    if not may_see(user, topic) or not _live_topics().filter(name=topic).exists():
        raise TopicNotFoundError(topic)
    problem = f"You may see {topic!r}, but you have no right to {action.replace('_', ' ')} there."
    raise PermissionDeniedError(problem)


def require_to_create(user: Somebody, topic: str) -> None:
    """Refuse who may not make a topic of this name, be one there or not: PermissionDeniedError."""
    if not may(user, Managing.ADD_TOPIC, topic):
        problem = f"You have no right to make a topic called {topic!r}."
        raise PermissionDeniedError(problem)


def visible_topics(
    user: Somebody, queryset: QuerySet[M], *, prefix: str = "", action: Right | None = None
) -> QuerySet[M]:
    """Narrow rows to the topics that somebody may see or, with ``action``, may do this with.

    prefix: the lookup from a row to its topic ("topic" for subscriptions, messages and dead letters); none for
    topics themselves.
    """
    if _everywhere(user, action):
        return queryset
    patterns = _patterns(user, action)
    if "#" in patterns:
        return queryset
    lookup = f"{prefix}__name__in" if prefix else "name__in"
    return queryset.filter(**{lookup: _names(patterns)})


def _everywhere(user: Somebody, action: Right | None) -> bool:
    if not _is_known(user):
        return False
    has = (user.has_perm(f"datapunk_broker.{name}") for name in (SEE if action is None else PERMISSIONS[action]))
    return any(has) if action is None else all(has)


def _is_known(user: Somebody) -> bool:
    return user.is_authenticated and user.is_active


def _patterns(user: Somebody, action: Right | None) -> set[str]:
    """Return the names and patterns of the topics that somebody, or a group of theirs, was granted."""
    if not _is_known(user):
        return set()
    wanted = Action.MANAGE if isinstance(action, Managing) else action
    flags = Q(*((one.value, True) for one in Action if wanted in (None, one)), _connector=Q.OR)
    # They are where the users are, which may be another database than the broker's.
    theirs = TopicGrant.objects.filter(Q(user=user.pk) | Q(group__user=user.pk), flags)
    return set(theirs.values_list("topic", flat=True))


def _names(patterns: Iterable[str]) -> list[str]:
    """Return the names that patterns stand for; only a wildcard has to look at the topics there are."""
    wild = [pattern for pattern in patterns if _is_wild(pattern)]
    names = {pattern for pattern in patterns if not _is_wild(pattern)}
    if wild:
        matcher = _matcher(wild)
        names.update(name for name in _live_topics().values_list("name", flat=True) if matcher.match(name, {}))
    return sorted(names)


def _live_topics() -> QuerySet[Topic]:
    return Topic.objects.using(get_config().database).live()


def _meets(patterns: Iterable[str], topic: str) -> bool:
    return bool(_matcher(patterns).match(topic, {}))


def _is_wild(pattern: str) -> bool:
    return not {"*", "#"}.isdisjoint(pattern.split("."))


def _matcher(patterns: Iterable[str]) -> Matcher:
    return compile_rules(TopicType.TOPIC, [Rule(0, routing_key=pattern) for pattern in patterns])
