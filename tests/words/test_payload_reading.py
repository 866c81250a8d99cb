"""Payloads are read as what one asks for, or refused with their place."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from datapunk_broker.exceptions import ConfigInvalidError, PayloadInvalidError
from datapunk_broker.payload import decode, encode, judge
from tests.words.orders import Customer, Line, Order, Point, Unknown


def test_big_integers_keep_their_digits() -> None:
    body = b'{"id":123456789012345678901234567890,"ids":[-99999999999999999999]}'

    assert decode(body) == {"id": 123456789012345678901234567890, "ids": [-99999999999999999999]}
    assert decode(body, dict[str, Any])["id"] == 123456789012345678901234567890


@pytest.mark.parametrize("kind", [Any, float, list[float], dict[str, Any], Point, Customer, list[Customer]])
@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1E400", b"9" * 5000])
def test_a_number_too_large_to_hold_never_becomes_infinity(kind: Any, number: bytes) -> None:
    bodies = {
        float: number,
        list[float]: b"[%b]",
        Point: b'{"x":%b}',
        list[Customer]: b'[{"fullName":"A","score":%b}]',
    }
    body = bodies.get(kind, b'{"fullName":"A","score":%b}').replace(b"%b", number)
    judge(body)

    with pytest.raises(PayloadInvalidError) as error:
        decode(body, kind)
    assert error.value.field == "payload"


def test_a_payload_is_read_as_what_one_asks_for() -> None:
    line, seen = Line("x", 2.0), datetime(2024, 1, 2, 3, tzinfo=UTC)

    assert decode(b'{"sku":"x","price":2}', Line) == line
    assert decode(b'{"id":1,"lines":[{"sku":"x","price":2}]}', Order) == {"id": 1, "lines": [line]}
    assert decode(b'{"x":1}', Point) == Point(1.0)
    assert decode(b'[{"x":1}]', list[Point]) == [Point(1.0)]
    assert decode(b"null", Line | None) is None
    assert decode(b'"2024-01-02"', date) == date(2024, 1, 2)
    assert decode(b'{"fullName":"Ada","seen":"2024-01-02T03:00:00Z"}', Customer) == Customer(fullName="Ada", seen=seen)
    assert decode(b'{"a":[{"fullName":"Ada"}]}', dict[str, list[Customer]]) == {"a": [Customer(fullName="Ada")]}


@pytest.mark.parametrize("payload", [Line("x", 1.0), Point(2.5, "a"), Customer(fullName="Ada", score=1.0)])
def test_an_object_comes_back_as_it_was(payload: Any) -> None:
    assert decode(encode(payload), type(payload)) == payload


@pytest.mark.parametrize(
    ("body", "kind", "path"),
    [
        (b'{"sku":5}', Line, "$.sku"),
        (b"{}", Line, "sku"),
        (b'{"id":1,"lines":[{"sku":"a"},{"sku":null}]}', Order, "$.lines[1].sku"),
        (b'{"x":"1"}', Point, "$.x"),
        (b"[1,true]", list[int], "$[1]"),
        (b'{"fullName":"A","score":"high"}', Customer, "$.score"),
        (b'[{"fullName":5}]', list[Customer], "$[0]"),
        (b'{"x":NaN}', Point, "byte 5"),
        (b'{"fullName":"A","score":NaN}', Customer, "byte 24"),
        (b'{"x"', Any, "truncated"),
        (b'"\xff"', Any, "0xff"),
        (b"[" * 100_000, Any, "deeper"),
        (b'{"fullName":"A","more":' + b"[" * 400 + b"]" * 400 + b"}", Customer, "recursion limit"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(body: bytes, kind: Any, path: str) -> None:
    with pytest.raises(PayloadInvalidError) as error:
        decode(body, kind)

    assert error.value.field == "payload"
    assert path in error.value.problem


@pytest.mark.parametrize("kind", [Unknown, list[Unknown], "Line", int | Unknown])
def test_a_type_that_nothing_can_be_read_as_is_the_programs_fault_not_the_payloads(kind: Any) -> None:
    with pytest.raises(ConfigInvalidError, match="cannot be read from JSON"):
        decode(b'[{"a":1}]' if kind == list[Unknown] else b'{"a":1}', kind)


def test_escaped_lone_surrogates_are_read_as_the_standard_library_reads_them() -> None:
    body = rb'{"name":"\ud800","n":[123456789012345678901,1.5],"pair":"\ud83d\ude00"}'
    judge(body)

    assert decode(body) == {"name": "\ud800", "n": [123456789012345678901, 1.5], "pair": "\U0001f600"}
    assert decode(rb'{"sku":"\udc00\ud800"}', Line) == Line("\udc00\ud800")
    with pytest.raises(PayloadInvalidError, match=r"at `\$\.price`"):
        decode(rb'{"sku":"\ud800","price":"x"}', Line)
    with pytest.raises(PayloadInvalidError, match="out of range"):
        decode(rb'["\ud800",1e999]')
