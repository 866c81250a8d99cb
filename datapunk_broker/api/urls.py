"""Where everything in the API is."""

from typing import Any

from django.db import connections
from django.db.transaction import non_atomic_requests
from django.urls import path, re_path, register_converter

from datapunk_broker.api import settling
from datapunk_broker.api.dead_letters import DeadLetters, OneDeadLetter
from datapunk_broker.api.documents import Documentation, SchemaDocument
from datapunk_broker.api.messages import Deliveries, OneMessage, TopicMessages
from datapunk_broker.api.missing import Missing
from datapunk_broker.api.overview import Explain, ShowAudit, ShowStats
from datapunk_broker.api.publishing import BatchPublishing
from datapunk_broker.api.pulling import Pull
from datapunk_broker.api.redriving import RedriveThem
from datapunk_broker.api.subscriptions import AllSubscriptions, OneSubscription, Pause, Resume, SeekTo
from datapunk_broker.api.token import ObtainToken
from datapunk_broker.api.topics import OneTopic, Topics


class NameConverter:
    """The name of a topic or subscription."""

    regex = "[A-Za-z0-9._-]{1,200}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class IdConverter:
    """A number that fits the database's."""

    regex = "[0-9]{1,18}"

    def to_python(self, value: str) -> int:
        return int(value)

    def to_url(self, value: int) -> str:
        return str(value)


register_converter(NameConverter, "broker_name")
register_converter(IdConverter, "broker_id")

TOPIC, SUBSCRIPTION = "topics/<broker_name:name>/", "subscriptions/<broker_name:name>/"

pull = Pull.as_view()
for alias in connections:
    non_atomic_requests(alias)(pull)  # it must not wait in a transaction

urlpatterns: list[Any] = [
    path("topics/", Topics.as_view()),
    path(TOPIC, OneTopic.as_view()),
    path(f"{TOPIC}messages/", TopicMessages.as_view()),
    path(f"{TOPIC}messages/batch/", BatchPublishing.as_view()),
    path("messages/<uuid:pk>/", OneMessage.as_view()),
    path("messages/<uuid:pk>/deliveries/", Deliveries.as_view()),
    path("subscriptions/", AllSubscriptions.as_view()),
    path(SUBSCRIPTION, OneSubscription.as_view()),
    path(f"{SUBSCRIPTION}pause/", Pause.as_view()),
    path(f"{SUBSCRIPTION}resume/", Resume.as_view()),
    path(f"{SUBSCRIPTION}seek/", SeekTo.as_view()),
    path(f"{SUBSCRIPTION}pull/", pull),
    path(f"{SUBSCRIPTION}ack/", settling.Ack.as_view()),
    path(f"{SUBSCRIPTION}nack/", settling.NackThem.as_view()),
    path(f"{SUBSCRIPTION}reject/", settling.RejectThem.as_view()),
    path(f"{SUBSCRIPTION}extend/", settling.Extend.as_view()),
    path("dead-letters/", DeadLetters.as_view()),
    path("dead-letters/redrive/", RedriveThem.as_view()),
    path("dead-letters/<broker_id:pk>/", OneDeadLetter.as_view()),
    path("explain/", Explain.as_view()),
    path("stats/", ShowStats.as_view()),
    path("audit/", ShowAudit.as_view()),
    path("token/", ObtainToken.as_view()),
    path("schema/", SchemaDocument.as_view(), name="schema"),
    path("docs/", Documentation.as_view()),
    re_path("", Missing.as_view()),
]
