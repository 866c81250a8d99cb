"""Payloads are written as strict JSON, or refused."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload import MAX_DEPTH, decode, encode
from tests.words.orders import Customer, Line, Point, Unknown, nested

NAN, INF = float("nan"), float("inf")


class Text(str):
    """As django.utils.safestring.SafeString is one."""

    __slots__ = ()


class Tier(StrEnum):
    GOLD = "gold"


class Level(IntEnum):
    HIGH = 3


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (None, b"null"),
        ({"id": 7, "tags": ["a", None]}, b'{"id":7,"tags":["a",null]}'),
        ("\x00 \u00e9 \U0001f600", '"\\u0000 \u00e9 \U0001f600"'.encode()),
        (10**30, b"1" + b"0" * 30),
        (Line("x", 1.5), b'{"sku":"x","price":1.5}'),
        (Line("x"), b'{"sku":"x","price":null}'),
        ({"id": 1, "lines": [Line("x")]}, b'{"id":1,"lines":[{"sku":"x","price":null}]}'),
        (Point(1.0), b'{"x":1.0,"label":""}'),
        (Customer(fullName="Ada"), b'{"fullName":"Ada","score":null,"seen":null,"more":null}'),
        ([Customer(fullName="Ada", more=[Customer(fullName="Bo")])], None),
        (Customer(fullName="Ada", more={True: Line("x"), (1, 2): [Tier.GOLD, UUID(int=1), {1.5}]}), None),
        ({"when": date(2024, 2, 29), "id": UUID(int=1)}, None),
        (
            [Text("safe"), Tier.GOLD, Level.HIGH, Colour.RED, Decimal("1.10")],
            b'["safe","gold",3,"red","1.10"]',
        ),
        ({Text("k"): 1}, b'{"k":1}'),
        ([frozenset([1]), (2, 3)], b"[[1],[2,3]]"),
        ({"nan": None, "inf": "Infinity", "null": "NaN"}, b'{"nan":null,"inf":"Infinity","null":"NaN"}'),
        (msgspec.Raw(b' {"a" : 1e999, "a":2}\n'), b' {"a" : 1e999, "a":2}\n'),
        ({"kept": msgspec.Raw(b"1.50")}, b'{"kept":1.50}'),
        ({"kept": msgspec.Raw(b"null")}, b'{"kept":null}'),
    ],
)
def test_a_payload_is_written_as_json(payload: Any, body: bytes | None) -> None:
    written = encode(payload)

    json.loads(written)
    assert body is None or written == body


@pytest.mark.parametrize(
    "payload",
    [
        NAN,
        [INF],
        {"a": {"b": -INF}},
        {NAN: 1},
        {INF: 1},
        {-INF: 1},
        (None, [None, {"deep": (NAN,)}]),
        {1, NAN},
        Line("x", NAN),
        {"lines": [Line("x", INF)]},
        Point(NAN),
        [Point(1.0), Point(-INF)],
        Customer(fullName="Ada", score=NAN),
        {"who": [Customer(fullName="Ada", more={"deep": INF})]},
        Customer(fullName="Ada", more={NAN: {True: 1}}),
        Customer(fullName="Ada", score=1.0, seen=datetime(2024, 1, 2, tzinfo=UTC), more={NAN: 1}),
        Customer(fullName="Ada", more=[Line("x", NAN)]),
        Customer(fullName="Ada", more=Customer(fullName="Bo", more={1, -INF})),
        msgspec.Raw(b"NaN"),
        msgspec.Raw(b'{"a": Infinity}'),
        [msgspec.Raw(b"-Infinity")],
        [msgspec.Raw(b"null"), NAN],
    ],
)
def test_nan_and_infinity_are_refused_wherever_they_stand(payload: Any) -> None:
    assert refused(payload)


def itself() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    "payload",
    [
        "\ud800",
        {"\udfff": 1},
        Line("\ud83d"),
        Customer(fullName="\ud800"),
        Unknown(),
        {"a": {Unknown()}},
        [1, object],
        Customer(fullName="Ada", more=Unknown()),
        {None: 1},
        {(1, 2): 3},
        range(3),
        1j,
        10**5000,
        itself(),
        nested(MAX_DEPTH + 1),
        nested(100_000),
        msgspec.Raw(b""),
        msgspec.Raw(b"{"),
        {"a": msgspec.Raw(b"1]")},
    ],
    ids=lambda payload: type(payload).__name__,
)
def test_what_json_cannot_say_is_refused(payload: Any) -> None:
    assert refused(payload)


def test_the_deepest_payload_is_written_and_read_again() -> None:
    assert decode(encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_any_json_value_comes_back_as_it_was(value: Any) -> None:
    assert decode(encode(value)) == value


def refused(payload: Any) -> bool:
    with pytest.raises(PayloadInvalidError) as error:
        encode(payload)
    return error.value.field == "payload" and error.value.code == "payload_invalid"
