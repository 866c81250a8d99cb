"""Headers and short texts are what the database can keep and a binding can compare."""

from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload import check_headers, check_text


class Tier(StrEnum):
    GOLD = "gold"


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        ({}, "{}"),
        (
            {"tier": "gold", "n": 1, "f": 1.5, "t": True, "none": None},
            '{"tier":"gold","n":1,"f":1.5,"t":true,"none":null}',
        ),
        ({"deep": {"list": [1, (2, "x")]}, "": ""}, '{"deep":{"list":[1,[2,"x"]]},"":""}'),
        ({"tier": Tier.GOLD, "caf\u00e9": "\U0001f600"}, '{"tier":"gold","caf\u00e9":"\U0001f600"}'),
        (MappingProxyType({"big": 10**30}), '{"big":1' + "0" * 30 + "}"),
        ({"slash": "\\u0000"}, '{"slash":"\\\\u0000"}'),
        ({str(n): n for n in range(100)}, None),
        ({"h": "x" * (16 * 1024 - 8)}, None),
    ],
)
def test_headers_are_returned_as_the_json_to_store(headers: Any, text: str | None) -> None:
    stored = check_headers(headers)

    assert msgspec.json.decode(stored) == msgspec.json.decode(msgspec.json.encode(dict(headers)))
    assert text is None or stored == text


def deep(levels: int) -> Any:
    return {"h": deep(levels - 1)} if levels else 1


@pytest.mark.parametrize(
    "headers",
    [
        None,
        [("a", 1)],
        "a",
        {1: "a"},
        {None: "a"},
        {"a": {1: 2}},
        {"a": "\x00"},
        {"\x00": "a"},
        {"a": [{"b": "c\x00"}]},
        {"a": {"b\x00": 1}},
        {"a": "\ud800"},
        {"\udfff": 1},
        {"a": [["\ud800"]]},
        {"a": float("nan")},
        {"a": [float("inf")]},
        {"a": b"bytes"},
        {"a": {1, 2}},
        pytest.param({"a": object()}, id="an object"),
        pytest.param({"a": msgspec.Raw(b"1")}, id="raw JSON"),
        {"a": 10**5000},
        {str(n): n for n in range(101)},
        {"h": "x" * (16 * 1024 - 7)},
        {"h": "\u00e9" * 8200},
        deep(33),
        {"a": [deep(40)]},
    ],
    ids=lambda headers: ascii(headers)[:40] if headers != {"a": 10**5000} else "many digits",
)
def test_headers_that_cannot_be_stored_or_compared_are_refused(headers: Any) -> None:
    with pytest.raises(PayloadInvalidError) as error:
        check_headers(headers)

    assert error.value.field == "headers"


def test_headers_may_nest_32_deep_and_never_hold_themselves() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless

    assert check_headers(deep(32))
    with pytest.raises(PayloadInvalidError):
        check_headers(endless)


@pytest.mark.parametrize("text", ["", "customer-7", " kept as given ", "\u00e9" * 5, "\U0001f600\U0001f600a"])
def test_a_text_within_its_bytes_is_taken(text: str) -> None:
    check_text("ordering_key", text, 18)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\x00", "NUL"),
        ("a\udc80", "surrogate"),
        ("\u00e9" * 10, "20 bytes"),
        (7, "must be text"),
        (b"a", "text"),
    ],
)
def test_a_text_that_cannot_be_stored_is_refused_by_the_name_of_its_field(text: Any, problem: str) -> None:
    with pytest.raises(PayloadInvalidError, match=problem) as error:
        check_text("ordering_key", text, 18)

    assert error.value.field == "ordering_key"
