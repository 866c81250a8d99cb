"""The registry: how a handler is found by the name of its subscription."""

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from datapunk_broker.conf import SubscriptionConfig
from datapunk_broker.envelope import Received
from datapunk_broker.exceptions import ConfigInvalidError
from datapunk_broker.registry import Handler, Registry, autodiscover, path_of, registry
from datapunk_broker.states import SubscriptionMode

BILLING = SubscriptionConfig("billing", "orders")


class Order: ...


def bill(message: Received[Order]) -> None: ...
def rival(message: Received[Order]) -> None: ...
def many(messages: list[Received[Order]]) -> None: ...
def untyped(message): ...  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201


class Biller:
    @classmethod
    def of_the_class(cls, message: Received[Order]) -> None: ...

    @staticmethod
    def static(message: Received[Order]) -> None: ...


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    made = types.ModuleType("shop_of_this_test")
    sys.modules[made.__name__] = made
    yield made
    del sys.modules[made.__name__]


def test_a_path_leads_back_to_the_function() -> None:
    assert path_of(bill) == f"{__name__}:bill"
    assert path_of(Biller.static) == f"{__name__}:Biller.static"
    for function in (bill, Biller.static, Biller.of_the_class):
        handler = Registry().find("billing", path_of(function))
        assert handler is not None
        assert handler.function == function


def test_a_handler_is_found_by_its_name_and_declares_its_subscription() -> None:
    handlers = Registry()
    billing, audit = Handler.of(bill, BILLING), Handler.of(untyped, SubscriptionConfig("audit", "orders"))
    handlers.add(billing)
    handlers.add(audit)
    assert handlers.find("billing") is billing
    assert handlers.names() == ("billing", "audit")
    assert [config.name for config in handlers.declared()] == ["billing", "audit"]
    assert handlers.declared()[0].handler == f"{__name__}:bill"
    assert billing.topic == "orders"


def test_two_functions_under_one_name_are_refused_by_both_their_names() -> None:
    handlers = Registry()
    first = Handler.of(bill, BILLING)
    handlers.add(first)
    with pytest.raises(ConfigInvalidError) as refused:
        handlers.add(Handler.of(rival, BILLING))
    assert refused.value.field == "name"
    assert f"{__name__}:bill" in refused.value.problem
    assert f"{__name__}:rival" in refused.value.problem
    assert handlers.find("billing") is first


def test_two_lambdas_under_one_name_are_two_functions() -> None:
    handlers = Registry()
    handlers.add(Handler.of(lambda message: 1, BILLING))
    with pytest.raises(ConfigInvalidError):
        handlers.add(Handler.of(lambda message: 2, BILLING))


def test_a_reloaded_function_takes_the_place_of_the_first(module: types.ModuleType) -> None:
    handlers = Registry()
    for _ in range(2):
        exec("def bill(message): ...", module.__dict__)  # noqa: S102
        handlers.add(Handler.of(module.bill, BILLING))
    found = handlers.find("billing")
    assert found is not None
    assert found.function is module.bill


def test_a_removed_handler_is_gone_and_its_name_is_free() -> None:
    handlers = Registry()
    handlers.add(Handler.of(bill, BILLING))
    handlers.remove("billing")
    handlers.remove("billing")
    assert handlers.find("billing") is None
    handlers.add(Handler.of(rival, BILLING))
    assert handlers.names() == ("billing",)


def test_a_function_found_by_its_path_is_read_like_a_declared_one() -> None:
    handlers = Registry()
    found = handlers.find("billing", f"{__name__}:many", mode=SubscriptionMode.BATCH)
    assert found is not None
    assert (found.name, found.function, found.payload_type, found.takes_batch) == (
        "billing",
        many,
        Order,
        True,
    )
    assert found.config is None
    assert handlers.find("billing", f"{__name__}:many", mode=SubscriptionMode.BATCH) is found
    assert handlers.declared() == ()


def test_a_stored_mode_may_be_a_plain_string() -> None:
    found = Registry().find("billing", f"{__name__}:untyped", mode="batch")  # type: ignore[arg-type]
    assert found is not None
    assert found.takes_batch is True


def test_an_import_that_registers_the_name_gives_the_registered_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_subscribers.py").write_text(
        "from datapunk_broker.conf import SubscriptionConfig\n"
        "from datapunk_broker.registry import Handler, registry\n"
        "def bill(message): ...\n"
        "registry.add(Handler.of(bill, SubscriptionConfig('late', 'orders', ordering=True)))\n",
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = registry.find("late", "late_subscribers:bill")
        assert found is not None
        assert found.config is not None
        assert found.config.ordering is True
    finally:
        registry.remove("late")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.at_all:bill", "ModuleNotFoundError"),
        (f"{__name__}:gone", "AttributeError"),
        (f"{__name__}:BILLING", "is not a function"),
        (f"{__name__}:many", "takes a list"),
    ],
)
def test_what_cannot_be_imported_is_missing_for_a_reason(path: str, reason: str) -> None:
    handlers = Registry()
    assert handlers.find("billing", path) is None
    assert reason in handlers.why_missing("billing", path)
    assert path in handlers.why_missing("billing", path)


def test_a_module_that_breaks_is_imported_once_and_breaks_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_subscribers.py").write_text(
        "import pathlib\nwith open(pathlib.Path(__file__).parent / 'runs', 'a') as runs:\n    runs.write('x')\n1 / 0\n",
    )
    monkeypatch.syspath_prepend(tmp_path)
    handlers = Registry()
    for _ in range(3):
        assert handlers.find("billing", "broken_subscribers:bill") is None
    assert "ZeroDivisionError: division by zero" in handlers.why_missing("billing", "broken_subscribers:bill")
    assert (tmp_path / "runs").read_text() == "x"


def test_a_name_without_handler_or_path_is_missing_for_that_reason() -> None:
    handlers = Registry()
    assert handlers.find("billing") is None
    assert "No handler is registered as 'billing'" in handlers.why_missing("billing")
    handlers.add(Handler.of(bill, BILLING))
    assert handlers.why_missing("billing") == ""


def test_autodiscover_imports_the_subscribers_of_each_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = tmp_path / "shop_with_subscribers"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "subscribers.py").write_text("FOUND = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with override_settings(INSTALLED_APPS=["shop_with_subscribers"]):
        autodiscover()
    assert sys.modules["shop_with_subscribers.subscribers"].FOUND is True


def test_a_handler_is_not_found_for_another_topic_s_subscription() -> None:
    handlers = Registry()
    billing = Handler.of(bill, BILLING)
    handlers.add(billing)
    assert handlers.find("billing", topic="orders") is billing
    assert handlers.find("billing", topic="people") is None
    assert handlers.why_missing("billing", topic="people").startswith("The handler 'billing' is subscribed to 'orders'")
    by_path = handlers.find("billing", path_of(many), topic="people", mode=SubscriptionMode.BATCH)
    assert by_path is not None
    assert by_path.function is many
