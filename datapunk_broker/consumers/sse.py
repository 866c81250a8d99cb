"""A topic's stream as server-sent events: for whoever can only read, with nothing but HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error, connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.http import require_GET

from datapunk_broker import frames, rights
from datapunk_broker.consumers.cursor import READ, Break, Cursor
from datapunk_broker.consumers.drain import hold_back_the_end
from datapunk_broker.consumers.hub import Hub, the_hub
from datapunk_broker.consumers.identity import Identity, by_session, by_token
from datapunk_broker.consumers.limits import Limits
from datapunk_broker.consumers.threads import in_database
from datapunk_broker.consumers.topics import Start, start_of
from datapunk_broker.exceptions import (
    BrokerError,
    NotFoundError,
    PayloadInvalidError,
    PermissionDeniedError,
)
from datapunk_broker.observability.logs import get_logger
from datapunk_broker.rights import Action

KEEP_ALIVE = 15.0
"""Seconds of silence after which the server shows that it is there."""

RETRY = 1_000
"""Milliseconds after which a browser comes again."""

log = get_logger("consumers")


@require_GET
async def stream(request: HttpRequest, topic: str) -> HttpResponseBase:
    """Follow a topic from after ``Last-Event-ID``, else from ``?from=`` latest (the default) or earliest.

    ``?routing_key=`` and ``?headers=`` (a JSON object) choose among the messages.
    """
    identity = await in_database(_identity_of, request)
    if identity is None:
        return _problem(401, "not_authenticated", "Sign in, or send an Authorization header with a token.")
    try:
        start = await in_database(start_of, identity.user, _wish(request, topic))
    except BrokerError as error:
        status = 404 if isinstance(error, NotFoundError) else 403 if isinstance(error, PermissionDeniedError) else 400
        return _problem(status, error.code, str(error))
    await sync_to_async(_let_go)()
    hub = the_hub()
    hold_back_the_end(hub)
    return StreamingHttpResponse(
        _events(hub, identity, start),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


def _identity_of(request: HttpRequest) -> Identity | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() in ("token", "bearer"):
        return by_token(token.strip())
    return by_session(request.COOKIES.get(settings.SESSION_COOKIE_NAME))


def _wish(request: HttpRequest, topic: str) -> frames.Subscribe:
    """Return what is asked for, as a socket would; raises PayloadInvalidError."""
    asked = request.GET
    wish: dict[str, Any] = {"sid": "", "topic": topic, "from": asked.get("from", "latest")}
    last = request.headers.get("Last-Event-ID")
    try:
        if last:
            wish["from"] = {"position": int(last)}
        if "routing_key" in asked:
            wish["routing_key"] = asked["routing_key"]
        if "headers" in asked:
            wish["headers"] = msgspec.json.decode(asked["headers"])
        return msgspec.convert(wish, frames.Subscribe)
    except (ValueError, RecursionError) as error:
        problem = f"{error!s:.300}"
        raise PayloadInvalidError("query", problem) from None


def _let_go() -> None:
    # A stream may last for hours; what the middleware opened for this request would stay open for as long.
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


async def _events(hub: Hub, identity: Identity, start: Start) -> AsyncIterator[str]:
    feed = hub.join(start.topic.name, start.head or 0, is_kept=start.topic.is_kept)
    try:
        position, end = (start.position, start.head or 0) if feed.is_kept else (feed.head, feed.head)
        # With its position a reader that is cut off before the first message comes back to where it began.
        known = position if feed.is_kept else None
        yield f"retry: {RETRY}\n" + _event("subscribed", oldest=start.oldest, head=start.head, id=known)
        async for event in _follow(Cursor(feed, start.filter, position, end), identity):
            yield event
    except BrokerError as error:
        yield _event("unsubscribed", code=error.code)
    except Error as error:
        log.warning("An event stream failed; its client comes again.", error=str(error))
    finally:
        hub.leave(feed)


async def _follow(cursor: Cursor, identity: Identity) -> AsyncIterator[str]:
    loop, every = asyncio.get_running_loop(), Limits().reauthorise_seconds
    authorised_at = loop.time()
    while True:
        if loop.time() - authorised_at >= every:
            authorised_at = loop.time()
            await in_database(_authorise, identity, cursor.feed.topic)
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                found = await cursor.next(READ)
        except TimeoutError:
            yield f"id: {cursor.position}\n\n" if cursor.feed.is_kept else ":\n\n"
            continue
        if isinstance(found, Break):
            yield _event("reset", reason=found.reason, oldest=found.oldest, head=found.head, id=cursor.position)
        elif isinstance(found, list):
            yield "".join(map(_message, found))
        else:
            yield _event("caught_up")


def _authorise(identity: Identity, topic: str) -> None:
    now = identity.again()
    if now is None or not rights.may(now.user, Action.SUBSCRIBE, topic):
        problem = "Whoever reads here has no right to it any more."
        raise PermissionDeniedError(problem)


def _message(text: str) -> str:
    """Return a message as an event; in JSON a line break stands between tokens alone, where a space means the same."""
    position = msgspec.json.decode(text, type=_Placed).position
    data = text.replace("\r", " ").replace("\n", " ")
    return f"data: {data}\n\n" if position is None else f"id: {position}\ndata: {data}\n\n"


class _Placed(msgspec.Struct):
    position: int | None


def _event(name: str, *, id: int | None = None, **data: Any) -> str:  # noqa: A002 - as the format says
    place = "" if id is None else f"id: {id}\n"
    return f"event: {name}\n{place}data: {msgspec.json.encode(data).decode()}\n\n"


def _problem(status: int, code: str, detail: str) -> HttpResponse:
    body = msgspec.json.encode({"type": "about:blank", "status": status, "code": code, "detail": detail})
    headers = {"WWW-Authenticate": "Token"} if status == 401 else {}  # noqa: PLR2004
    return HttpResponse(body, status=status, content_type="application/problem+json", headers=headers)
