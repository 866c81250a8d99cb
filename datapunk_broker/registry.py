"""Handlers by the name of their subscription."""

import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Self

from asgiref.sync import iscoroutinefunction
from django.utils.module_loading import autodiscover_modules

from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.states import SubscriptionMode

Function = Callable[..., Any]

BATCHES = (list, tuple, Sequence, Collection, Iterable)


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
        payload_type, annotated_batch = _read_annotation(function)
        is_batch = mode == SubscriptionMode.BATCH  # a stored mode is a plain str
        if annotated_batch is not None and annotated_batch is not is_batch:
            takes = "a list of messages" if annotated_batch else "one message"
            raise ConfigInvalidError("mode", f"is {mode}, but {_title(function)} says that it takes {takes}")
        return cls(name, "", function, payload_type, _is_async(function), is_batch, None)


class Registry:
    """The handlers that this process knows, and those it finds by the path stored with their subscription."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}
        self._by_path: dict[tuple[str, str, SubscriptionMode], Handler | str] = {}

    def add(self, handler: Handler) -> None:
        """Know a handler; the same function again (its module was reloaded) takes the place of the first.

        Raises ConfigInvalidError for a second function under one name.
        """
        known = self._handlers.get(handler.name)
        if known is not None and not _same(known.function, handler.function):
            both = f"{_title(known.function)} and {_title(handler.function)}"
            raise ConfigInvalidError("name", f"{handler.name!r} is the name of two handlers, {both}; rename one")
        self._handlers[handler.name] = handler

    def remove(self, name: str) -> None:
        """Forget a handler, if it is known."""
        self._handlers.pop(name, None)

    def find(
        self, name: str, path: str = "", *, mode: SubscriptionMode = SubscriptionMode.INDIVIDUAL
    ) -> Handler | None:
        """Return a subscription's handler: by its name, else by importing ``module:qualname``; else None.

        What an import gave, or why it failed, is remembered for as long as the process lives.
        """
        return self._handlers.get(name) or self._import(name, path, mode)

    def why_missing(self, name: str, path: str = "", *, mode: SubscriptionMode = SubscriptionMode.INDIVIDUAL) -> str:
        """Return why ``find`` has no handler, as a sentence; "" when it has one."""
        if self.find(name, path, mode=mode) is not None:
            return ""
        reason = self._by_path.get((name, path, mode))
        if isinstance(reason, str):
            return reason
        return f"No handler is registered as {name!r}, and none that can be imported was stored with it."

    def declared(self) -> tuple[SubscriptionConfig, ...]:
        """Return the subscriptions that were declared with their handlers, in that order."""
        return tuple(handler.config for handler in self._handlers.values() if handler.config is not None)

    def names(self) -> tuple[str, ...]:
        """Return the names of the handlers that are known."""
        return tuple(self._handlers)

    def _import(self, name: str, path: str, mode: SubscriptionMode) -> Handler | None:
        if not path:
            return None
        known = self._by_path.get((name, path, mode))
        if known is None:
            known = self._by_path[name, path, mode] = _handler_at(path, name, mode)
        # The import may have run the decorator that registers this very name.
        return self._handlers.get(name) or (known if isinstance(known, Handler) else None)


registry = Registry()
"""The handlers of this process."""


def path_of(function: Function) -> str:
    """Return ``module:qualname``, by which any process imports it; "" for lambdas, locals and the like."""
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    owner = getattr(function, "__self__", None)
    is_reachable = owner is None or inspect.isclass(owner) or inspect.ismodule(owner)
    if not module or module == "__main__" or not qualname or "<" in qualname or not is_reachable:
        return ""
    return f"{module}:{qualname}"


def takes_batch(function: Function) -> bool:
    """Return whether a function's annotation says that it takes a list of messages."""
    return bool(_read_annotation(function)[1])


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


def _same(first: Function, second: Function) -> bool:
    return first is second or path_of(first) == path_of(second) != ""


def _title(function: Function) -> str:
    return path_of(function) or repr(function)


def _plain(function: Function) -> Function:
    """Return the function that holds the code, out of a partial or from an object that is called."""
    while isinstance(function, partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        unwrapped: Function = inspect.unwrap(function)
        return unwrapped
    call: Function = type(function).__call__
    return call


def _is_async(function: Function) -> bool:
    return iscoroutinefunction(function) or iscoroutinefunction(_plain(function))


def _read_annotation(function: Function) -> tuple[Any, bool | None]:
    """Return the payload's type, and whether a batch is taken: None when the annotation does not say."""
    annotation = _resolve(_first_annotation(function), function)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if (origin or annotation) in BATCHES:
        return _payload_of(arguments[0]) if arguments else Any, True
    is_message = (origin or annotation) is Received
    return _payload_of(annotation), False if is_message else None


def _payload_of(annotation: Any) -> Any:
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is not Received or isinstance(arguments[0], typing.TypeVar):
        return Any
    return arguments[0]


def _first_annotation(function: Function) -> Any:
    try:
        signature = inspect.signature(function)
    except (NameError, ValueError):
        return Any  # a built-in without a signature, or names that only a type checker imports
    try:
        signature.bind(None)
    except TypeError:
        problem = f"{_title(function)} must be callable with one argument, the message (or the list of messages)"
        raise ConfigInvalidError("handler", problem) from None
    return next(iter(signature.parameters.values())).annotation


def _resolve(annotation: Any, function: Function) -> Any:
    """Return an annotation with the names in it looked up where the function was written.

    A name that is not there is most likely imported for type checkers alone, so the payload stays as it is;
    ``Received`` itself is known without being there. What cannot be meant raises ConfigInvalidError.
    """
    names = {"Received": Received, **getattr(_plain(function), "__globals__", {})}
    holder = SimpleNamespace(__annotations__={"message": annotation})
    try:
        return typing.get_type_hints(holder, globalns=names)["message"]
    except NameError:
        return Any
    except (AttributeError, SyntaxError, TypeError) as error:
        problem = f"{_title(function)} has an annotation that cannot be read, {annotation!r}: {error}"
        raise ConfigInvalidError("handler", problem) from None
