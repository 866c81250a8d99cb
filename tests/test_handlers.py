"""Handlers: what is read of a function before it is called."""

import sys
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, TypedDict, TypeVar

import pytest

from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.registry import Handler, path_of
from datapunk_broker.states import SubscriptionMode

if typing.TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")
BILLING = SubscriptionConfig("billing", "orders")
BATCHED = SubscriptionConfig("billing", "orders", mode=SubscriptionMode.BATCH)


@dataclass
class Order:
    id: int


class Invoice(TypedDict):
    total: int


def typed(message: Received[Order]) -> Invoice: ...
def quoted(message: "Received[Order]") -> "NowhereToBeFound": ...  # type: ignore[name-defined] # noqa: F821
def half_quoted(message: Received["Order"]) -> None: ...
def generic(message: Received[T]) -> T: ...
def unsubscripted(message: Received) -> None: ...  # type: ignore[type-arg]
def untyped(message): ...  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201
def of_a_list(message: Received[list[Order]]) -> None: ...
def only_for_checkers(message: "Received[Decimal]") -> None: ...
def with_defaults(message: Received[Order], *, dry_run: bool = False) -> None: ...
def many(messages: list[Received[Order]]) -> None: ...
def many_by_sequence(messages: Sequence[Received[Invoice]]) -> None: ...
def many_untyped(messages: list) -> None: ...  # type: ignore[type-arg]


async def awaited(message: Received[Order]) -> None: ...


class Biller:
    async def __call__(self, message: Received[Order]) -> None: ...

    def method(self, message: Received[Order]) -> None: ...

    @classmethod
    def of_the_class(cls, message: Received[Order]) -> None: ...

    @staticmethod
    def static(message: Received[Order]) -> None: ...


def logged(function: Any) -> Any:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    made = types.ModuleType("shop_of_this_test")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


@pytest.mark.parametrize(
    ("function", "payload_type"),
    [
        (typed, Order),
        (quoted, Order),
        (half_quoted, Order),
        (awaited, Order),
        (with_defaults, Order),
        (of_a_list, list[Order]),
        (Biller(), Order),
        (Biller().method, Order),
        (Biller.of_the_class, Order),
        (Biller.static, Order),
        (partial(with_defaults, dry_run=True), Order),
        (logged(typed), Order),
        (generic, Any),
        (unsubscripted, Any),
        (untyped, Any),
        (lambda message: None, Any),
        (only_for_checkers, Any),
    ],
)
def test_the_payloads_type_is_read_from_the_first_parameter(function: Any, payload_type: object) -> None:
    handler = Handler.of(function, BILLING)
    assert handler.payload_type == payload_type
    assert handler.function is function
    assert handler.takes_batch is False


@pytest.mark.parametrize(
    ("function", "payload_type"),
    [(many, Order), (many_by_sequence, Invoice), (many_untyped, Any), (untyped, Any)],
)
def test_the_payloads_type_of_a_batch_is_that_of_its_messages(function: Any, payload_type: object) -> None:
    handler = Handler.of(function, BATCHED)
    assert handler.payload_type == payload_type
    assert handler.takes_batch is True


def test_received_need_not_be_imported_at_run_time(module: types.ModuleType) -> None:
    exec("class Order: ...\ndef bill(message: 'Received[Order]'): ...", module.__dict__)  # noqa: S102
    assert Handler.of(module.bill, BILLING).payload_type is module.Order


@pytest.mark.parametrize("annotation", ["sys.Orders", "Received[Order, int]", "Received[", "3 + None"])
def test_an_annotation_that_cannot_be_meant_is_refused(annotation: str) -> None:
    def bill(message: Any) -> None: ...

    bill.__annotations__["message"] = annotation
    with pytest.raises(ConfigInvalidError, match="annotation that cannot be read") as refused:
        Handler.of(bill, BILLING)
    assert refused.value.field == "handler"


@pytest.mark.parametrize("function", [lambda: None, lambda message, other: None, lambda *, message: None])
def test_a_function_that_cannot_take_a_message_is_refused(function: Any) -> None:
    with pytest.raises(ConfigInvalidError, match="callable with one argument"):
        Handler.of(function, BILLING)


def test_a_function_of_one_message_is_refused_in_batch_mode_and_the_other_way_round() -> None:
    with pytest.raises(ConfigInvalidError, match=r"is batch, but .*typed says that it takes one message"):
        Handler.of(typed, BATCHED)
    with pytest.raises(ConfigInvalidError, match=r"is individual, but .*many says that it takes a list"):
        Handler.of(many, BILLING)


@pytest.mark.parametrize("function", [awaited, Biller(), partial(awaited), Biller().__call__])
def test_an_async_function_is_known_as_such(function: Any) -> None:
    assert Handler.of(function, BILLING).is_async is True


@pytest.mark.parametrize("function", [typed, Biller().method, partial(typed), lambda message: None])
def test_a_sync_function_is_known_as_such(function: Any) -> None:
    assert Handler.of(function, BILLING).is_async is False


def test_what_cannot_be_imported_has_no_path() -> None:
    def local(message: Any) -> None: ...

    unreachable = [lambda message: None, local, Biller(), Biller().method, partial(typed)]
    assert [path_of(function) for function in unreachable] == [""] * len(unreachable)


def test_a_script_has_no_path_because_a_worker_runs_another_one(module: types.ModuleType) -> None:
    exec("def bill(message): ...", module.__dict__)  # noqa: S102
    module.bill.__module__ = "__main__"
    assert path_of(module.bill) == ""
