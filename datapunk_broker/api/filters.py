"""Narrow lists of messages and dead letters by what a query string asks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from django.db import connections
from django.db.models import BooleanField, Model, Q, QuerySet
from django.db.models.expressions import RawSQL
from msgspec import UNSET, Meta, Struct, UnsetType

from datapunk_broker.api.door import rows
from datapunk_broker.api.fields import Name, ShortText, Text
from datapunk_broker.api.moments import Moment
from datapunk_broker.api.pagination import Paged
from datapunk_broker.ids import SKEW, first_id_at
from datapunk_broker.models import DeadLetter, Message, Subscription, Topic
from datapunk_broker.states import FailureReason

M = TypeVar("M", bound=Model)

JSON_TYPES = {str: ("text", "text"), bool: ("true", "false"), int: ("integer", "real"), float: ("integer", "real")}
"""What SQLite calls the types of JSON."""

HEADER = "name:value, or a name alone for any value; given more than once, all must hold."


class MessageFilters(Paged, kw_only=True):
    """The parameters of a list of messages: published from ``since`` on and before ``until``."""

    routing_key: ShortText | UnsetType = UNSET
    header: Annotated[list[Text], Meta(description=HEADER, max_length=10)] = []
    since: Moment | UnsetType = UNSET
    until: Moment | UnsetType = UNSET


class DeadLetterFilters(Paged, kw_only=True):
    """The parameters of a list of dead letters: dead from ``since`` on and before ``until``."""

    topic: Name | UnsetType = UNSET
    subscription: Name | UnsetType = UNSET
    reason: FailureReason | UnsetType = UNSET
    since: Moment | UnsetType = UNSET
    until: Moment | UnsetType = UNSET


class Which(Struct, kw_only=True, forbid_unknown_fields=True):
    """Dead letters, by what must all hold of them; none of it means every one."""

    topic: Name | UnsetType = UNSET
    subscription: Name | UnsetType = UNSET
    reason: FailureReason | UnsetType = UNSET
    since: Moment | UnsetType = UNSET
    until: Moment | UnsetType = UNSET


def filtered_messages(messages: QuerySet[Message], asked: MessageFilters) -> QuerySet[Message]:
    """Return those of the messages that are asked for."""
    if asked.routing_key is not UNSET:
        messages = messages.filter(routing_key=asked.routing_key)
    for header in asked.header:
        messages = _with_header(messages, *header.partition(":"))
    if asked.since is not UNSET:
        messages = messages.filter(pk__gte=first_id_at(asked.since, earlier=SKEW))
    if asked.until is not UNSET:
        messages = messages.filter(pk__lt=first_id_at(asked.until, earlier=-SKEW))
    return _between(messages, "published_at", asked.since, asked.until)


def filtered_letters(letters: QuerySet[DeadLetter], asked: DeadLetterFilters | Which) -> QuerySet[DeadLetter]:
    """Return those of the dead letters that are asked for; by ids, as a join would cost the order of the indexes."""
    if asked.reason is not UNSET:
        letters = letters.filter(reason=asked.reason)
    if asked.topic is not UNSET:
        letters = letters.filter(topic__in=_called(Topic, asked.topic))
    if asked.subscription is not UNSET:
        letters = letters.filter(subscription__in=_called(Subscription, asked.subscription))
    return _between(letters, "dead_at", asked.since, asked.until)


def _called(model: type[Model], name: str) -> list[int]:
    return list(rows(model).filter(name=name).values_list("pk", flat=True))


def _between(some: QuerySet[M], column: str, since: datetime | UnsetType, until: datetime | UnsetType) -> QuerySet[M]:
    bounds = {f"{column}__gte": since, f"{column}__lt": until}
    return some.filter(**{lookup: value for lookup, value in bounds.items() if value is not UNSET})


def _with_header(messages: QuerySet[Message], name: str, colon: str, value: str) -> QuerySet[Message]:
    values: list[str | float | bool] = [value, *_scalar(value)]
    if not connections[messages.db].features.supports_json_field_contains:
        return messages.filter(_listed(name, values if colon else []))
    if not colon:
        return messages.filter(headers__has_key=name)
    return messages.filter(Q(*(("headers__contains", {name: v}) for v in values), _connector=Q.OR))


def _listed(name: str, values: Sequence[str | float | bool]) -> RawSQL:
    """Return whether SQLite lists a header of this name with one of the values; its paths cannot name every key."""
    of_type = " OR ".join("(atom = %s AND type IN (%s, %s))" for _ in values) or "1"
    sql = f'EXISTS (SELECT 1 FROM json_each("datapunk_broker_message"."headers") WHERE key = %s AND ({of_type}))'  # noqa: S608
    params = [name, *(param for value in values for param in (value, *JSON_TYPES[type(value)]))]
    return RawSQL(sql, params, output_field=BooleanField())  # noqa: S611 - what is given is in the params


def _scalar(text: str) -> list[float | bool]:
    """Return the number or truth value that a text is in JSON: a query string cannot say which is meant."""
    try:
        return [msgspec.json.decode(text, type=bool | int | float)]
    except msgspec.DecodeError:
        return []
