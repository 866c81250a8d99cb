"""Handlers by the name of their subscription."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from operator import attrgetter
from typing import Any, Self

from django.db import connections, transaction
from django.utils.module_loading import autodiscover_modules

from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.registry.functions import Function, is_async, path_of, read_annotation, same, title
from datapunk_broker.states import SubscriptionMode, Transport


@dataclass(frozen=True, slots=True)
class Handler:
    """A function and what is known of it before it is called.

    payload_type: what the payload is made into, ``Any`` for the plain JSON value.
    takes_batch: it is called with a list of messages. config: what was declared with it;
    None, and topic "", for a function that was only reached by its path.
    """

    name: str
    topic: str
    function: Function
    payload_type: Any
    is_async: bool
    takes_batch: bool
    config: SubscriptionConfig | None

    @classmethod
    def of(cls, function: Function, config: SubscriptionConfig) -> Self:
        """Read a function that was declared with this subscription.

        Raises ConfigInvalidError when it cannot take a message, or its annotation contradicts the mode.
        """
        handler = cls.read(function, config.name, config.mode)
        config = config if config.handler else replace(config, handler=path_of(function))
        return replace(handler, topic=config.topic, config=config)

    @classmethod
    def read(cls, function: Function, name: str, mode: SubscriptionMode) -> Self:
        """Read a function that a subscription of this name and mode calls; raises ConfigInvalidError."""
        payload_type, annotated_batch = read_annotation(function)
        is_batch = mode == SubscriptionMode.BATCH  # a stored mode is a plain str
        if annotated_batch is not None and annotated_batch is not is_batch:
            takes = "a list of messages" if annotated_batch else "one message"
            raise ConfigInvalidError("mode", f"is {mode}, but {title(function)} says that it takes {takes}")
        return cls(name, "", function, payload_type, is_async(function), is_batch, None)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A handler whose subscription is not committed yet; ``keep`` is what its transaction does after the commit."""

    handler: Handler
    keep: Callable[[], None]
    using: str

    def is_ours(self) -> bool:
        """Return whether this thread is in that transaction, which takes back its hooks where it rolls back."""
        return any(hook is self.keep for _, hook, *_ in connections[self.using].run_on_commit)


class Registry:
    """The handlers that this process knows, and those it finds by the path stored with their subscription."""

    def __init__(self) -> None:
        self._declared: dict[str, Handler] = {}
        self._subscribed: dict[str, Handler] = {}
        self._pending: dict[str, _Pending] = {}
        self._by_path: dict[tuple[str, str, SubscriptionMode], Handler | str] = {}

    def add(self, handler: Handler) -> None:
        """Know a declared handler; the same function again (its module was reloaded) takes the place of the first.

        Raises ConfigInvalidError for a second function under one name.
        """
        self.check(handler)
        self._declared[handler.name] = handler

    def check(self, handler: Handler) -> None:
        """Refuse a handler whose name another function was declared with; raises ConfigInvalidError."""
        known = self._declared.get(handler.name)
        if known is not None and not same(known.function, handler.function):
            both = f"{title(known.function)} and {title(handler.function)}"
            raise ConfigInvalidError("name", f"{handler.name!r} is the name of two handlers, {both}; rename one")

    def serve(self, handler: Handler, *, using: str) -> None:
        """Know a handler that was subscribed at run time, from the commit on; its own transaction finds it before.

        Nothing is known of it after a rollback, and it declares nothing.
        """
        pending = self._pending[handler.name] = _Pending(handler, partial(self._keep, handler), using)
        transaction.on_commit(pending.keep, using=using)

    def remove(self, name: str) -> None:
        """Forget a handler, if it is known."""
        for handlers in (self._declared, self._subscribed, self._pending):
            handlers.pop(name, None)

    def find(
        self, name: str, path: str = "", *, topic: str = "", mode: SubscriptionMode = SubscriptionMode.INDIVIDUAL
    ) -> Handler | None:
        """Return a subscription's handler: by its name, else by importing ``module:qualname``; else None.

        topic: the subscription's; a handler that was subscribed to another one is not its own ("": whichever it is).
        What an import gave, or why it failed, is remembered for as long as the process lives.
        """
        return self._known(name, topic) or self._import(name, path, topic, mode)

    def why_missing(
        self, name: str, path: str = "", *, topic: str = "", mode: SubscriptionMode = SubscriptionMode.INDIVIDUAL
    ) -> str:
        """Return why ``find`` has no handler, as a sentence; "" when it has one."""
        if self.find(name, path, topic=topic, mode=mode) is not None:
            return ""
        reason = self._by_path.get((name, path, mode))
        if isinstance(reason, str):
            return reason
        return self._whose(name) or (
            f"No handler is registered as {name!r}, and none that can be imported was stored with it."
        )

    def check_topic(self, config: SubscriptionConfig) -> None:
        """Refuse a subscription that goes by the name of another topic's handler; raises ConfigInvalidError."""
        is_nameless = config.transport is Transport.HANDLER and not config.handler
        if is_nameless and self._known(config.name, config.topic) is None and (whose := self._whose(config.name)):
            raise ConfigInvalidError("name", whose)

    def declared(self) -> tuple[SubscriptionConfig, ...]:
        """Return the subscriptions that were declared with their handlers, in that order."""
        return tuple(handler.config for handler in self._declared.values() if handler.config is not None)

    def names(self) -> tuple[str, ...]:
        """Return the names of the handlers that are known."""
        return tuple(name for name in self._declared | self._subscribed | self._pending if self._known(name))

    def _whose(self, name: str) -> str:
        other = self._known(name)
        return f"The handler {name!r} is subscribed to {other.topic!r}; take another name." if other else ""

    def _keep(self, handler: Handler) -> None:
        self._pending.pop(handler.name, None)
        self._subscribed[handler.name] = handler

    def _known(self, name: str, topic: str = "") -> Handler | None:
        pending = self._pending.get(name)
        handlers = (
            pending.handler if pending is not None and pending.is_ours() else None,
            self._subscribed.get(name),
            self._declared.get(name),
        )
        return next((one for one in handlers if one is not None and topic in ("", one.topic)), None)

    def _import(self, name: str, path: str, topic: str, mode: SubscriptionMode) -> Handler | None:
        if not path:
            return None
        known = self._by_path.get((name, path, mode))
        if known is None:
            known = self._by_path[name, path, mode] = _handler_at(path, name, mode)
        # The import may have run the decorator that registers this very name.
        return self._known(name, topic) or (known if isinstance(known, Handler) else None)


registry = Registry()
"""The handlers of this process."""


def autodiscover() -> None:
    """Import the ``subscribers`` module of each installed app, which declares its handlers."""
    autodiscover_modules("subscribers")


def _handler_at(path: str, name: str, mode: SubscriptionMode) -> Handler | str:
    module, _, qualname = path.partition(":")
    try:
        function = attrgetter(qualname)(import_module(module))
        if not callable(function):
            return f"{path} is not a function."
        return Handler.read(function, name, mode)
    except Exception as error:  # noqa: BLE001 - whatever another's module raises is the reason that is given
        return f"{path} could not be imported: {type(error).__name__}: {error}"
