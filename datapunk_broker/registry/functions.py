"""What a function says of itself: where it is imported from, and what it takes."""

import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

from asgiref.sync import iscoroutinefunction

from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import ConfigInvalidError

Function = Callable[..., Any]

BATCHES = (list, tuple, Sequence, Collection, Iterable)


def same(first: Function, second: Function) -> bool:
    """Return whether these are one function, though its module may have been loaded twice."""
    return first is second or path_of(first) == path_of(second) != ""


def title(function: Function) -> str:
    """Return what a function is called in a sentence."""
    return path_of(function) or repr(function)


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
    return bool(read_annotation(function)[1])


def _plain(function: Function) -> Function:
    """Return the function that holds the code, out of a partial or from an object that is called."""
    while isinstance(function, partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        unwrapped: Function = inspect.unwrap(function)
        return unwrapped
    call: Function = type(function).__call__
    return call


def is_async(function: Function) -> bool:
    """Return whether calling a function gives a coroutine."""
    return iscoroutinefunction(function) or iscoroutinefunction(_plain(function))


def read_annotation(function: Function) -> tuple[Any, bool | None]:
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
        problem = f"{title(function)} must be callable with one argument, the message (or the list of messages)"
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
        problem = f"{title(function)} has an annotation that cannot be read, {annotation!r}: {error}"
        raise ConfigInvalidError("handler", problem) from None
