"""Hold payloads to a topic's JSON Schema."""

from collections.abc import Mapping
from reprlib import repr as short
from typing import Any, Protocol

from datapunk_broker.envelope import JSON
from datapunk_broker.exceptions import ConfigInvalidError, PayloadInvalidError, SchemaMismatchError
from datapunk_broker.payload.reading import decode
from datapunk_broker.payload.writing import encode


class Validator(Protocol):
    """A compiled JSON Schema; threads may share it."""

    def validate(self, instance: Any, /) -> None:
        """Raise a ValueError with ``message`` and ``instance_path`` for what does not fit."""


def compile_schema(schema: Mapping[str, Any] | bool) -> Validator:  # noqa: FBT001 - true and false are schemas
    """Compile a JSON Schema (2020-12 unless ``$schema`` says otherwise), which must stand by itself.

    Raises ConfigInvalidError("schema", …).
    """
    import jsonschema_rs  # noqa: PLC0415 - 40 ms, and few topics have a schema

    try:
        plain = decode(encode(schema))
        if not isinstance(plain, dict | bool):
            raise ConfigInvalidError("schema", f"must be an object, true or false, not {short(schema)}")
        return jsonschema_rs.validator_for(plain, retriever=_stay)
    except PayloadInvalidError as error:
        raise ConfigInvalidError("schema", error.problem) from error
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise ConfigInvalidError("schema", f"is no JSON Schema: {_message(error)}") from error


def _stay(uri: str) -> JSON:
    problem = f"{uri} is outside the schema, and nothing is fetched"
    raise ValueError(problem)


def check_schema(topic: str, validator: Validator, body: bytes) -> None:
    """Refuse a body that does not fit: SchemaMismatchError with a JSON pointer to the first problem."""
    instance = decode(body)
    try:
        validator.validate(instance)
    except ValueError as error:
        raise SchemaMismatchError(topic, _pointer(error), _message(error)) from error


def _pointer(error: ValueError) -> str:
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in getattr(error, "instance_path", ())]
    return "".join(f"/{step}" for step in steps)


def _message(error: Exception) -> str:
    return f"{getattr(error, 'message', error)!s:.300}"
