"""Payloads are held to their topic's schema, and a schema to itself."""

import socket
from typing import Any

import pytest

from datapunk_broker.exceptions import ConfigInvalidError, PayloadInvalidError, SchemaMismatchError
from datapunk_broker.payload import check_schema, compile_schema


def test_a_body_is_held_to_its_schema_with_a_pointer_to_what_is_wrong() -> None:
    line = {
        "type": "object",
        "properties": {"n/m~": {"type": "integer", "maximum": 10**30}},
        "required": ["n/m~"],
    }
    validator = compile_schema({"type": "object", "properties": {"lines": {"items": line}}})

    check_schema("orders", validator, b'{"lines":[{"n/m~":1}],"big":123456789012345678901234567890}')
    for body, path in [
        (b"[]", ""),
        (b'{"lines":[{"n/m~":1},{}]}', "/lines/1"),
        (b'{"lines":[{"n/m~":"x"}]}', "/lines/0/n~1m~0"),
        (b'{"lines":[{"n/m~":1000000000000000000000000000001}]}', "/lines/0/n~1m~0"),
    ]:
        with pytest.raises(SchemaMismatchError) as error:
            check_schema("orders", validator, body)
        assert (error.value.topic, error.value.path) == ("orders", path)
        assert error.value.problem


def test_true_takes_everything_and_false_nothing() -> None:
    check_schema("orders", compile_schema(schema=True), b"[1]")

    with pytest.raises(SchemaMismatchError):
        check_schema("orders", compile_schema(schema=False), b"[1]")


@pytest.mark.parametrize(("body", "error"), [(b"1e999", PayloadInvalidError), (b'"\\ud800"', SchemaMismatchError)])
def test_a_body_that_cannot_be_compared_is_refused(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_schema("orders", compile_schema({"type": "string"}), body)


def test_a_long_body_does_not_fill_the_error() -> None:
    with pytest.raises(SchemaMismatchError) as error:
        check_schema("orders", compile_schema({"type": "string"}), b"[" + b"1," * 5000 + b"1]")

    assert len(error.value.problem) <= 300


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        "string",
        1,
        {"type": "nope"},
        {"minimum": float("nan")},
        {"pattern": "("},
        {"required": "a"},
        {"$ref": "#/nowhere"},
        {"$schema": "http://unknown.invalid/"},
        {"properties": {"\ud800": {}}},
        {"const": object()},
        {"$ref": "file:///etc/hostname"},
    ],
)
def test_what_is_no_schema_is_refused_as_configuration(schema: Any) -> None:
    with pytest.raises(ConfigInvalidError) as error:
        compile_schema(schema)

    assert error.value.field == "schema"


def test_nothing_is_fetched_for_a_schema() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003 - socket's own
        host, port = server.getsockname()
        with pytest.raises(ConfigInvalidError, match="nothing is fetched"):
            compile_schema({"$ref": f"http://{host}:{port}/schema.json"})

        with pytest.raises(BlockingIOError):
            server.accept()
