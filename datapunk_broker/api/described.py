"""Describe the API in OpenAPI: operations by the structs that they read and write, and no serializers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from drf_spectacular.authentication import SessionScheme
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, extend_schema

from datapunk_broker.api.moments import described as described_kind
from datapunk_broker.api.problems import MEDIA_TYPE, Problem

F = TypeVar("F", bound=Callable[..., Any])
Shape = type[msgspec.Struct]
Schema = dict[str, Any]
Answer = Shape | tuple[Shape, ...] | Schema | None

REFERENCE = "#/components/schemas/{name}"
PACKAGE = "datapunk_broker.api."

ALWAYS = {"400": "bad input", "401": "no credentials", "403": "no right", "404": "not there", "429": "too many"}
WITH_BODY = {"413": "too large", "415": "not a format that is read here"}

_shapes: dict[str, Shape] = {"Problem": Problem}
_queries: dict[str, Shape] = {}


class Described(AutoSchema):
    """Knows an operation by what ``operation`` says of it."""

    def get_summary(self) -> str:
        return str(self.get_description()).partition(". ")[0].rstrip(".")

    def get_tags(self) -> list[str]:
        return [type(self.view).room]  # type: ignore[attr-defined]


class SessionsScheme(SessionScheme):  # type: ignore[no-untyped-call]
    """Our sessions are described as REST framework's are."""

    target_class = "datapunk_broker.api.door.Sessions"


def operation(
    name: str,
    *,
    body: Shape | Mapping[str, Shape | Schema] | None = None,
    query: Shape | None = None,
    headers: Mapping[str, str] | None = None,
    answers: Mapping[int, Answer],
    problems: Mapping[int, str] | None = None,
    links: Mapping[str, Mapping[str, str]] | None = None,
) -> Callable[[F], F]:
    """Describe a method of a view.

    body: what it reads, or by media type. query: its parameters. headers: those that it looks at, with what they
    mean. answers: what it writes, by status; problems: the statuses of errors that are its own. links: the operations
    that go on from its answer, with where in it their parameters are.
    """
    bodies = body if isinstance(body, Mapping) or body is None else {"application/json": body}
    parameters = [
        *_parameters(query),
        *(OpenApiParameter(h, str, OpenApiParameter.HEADER, description=text) for h, text in (headers or {}).items()),
    ]
    described = extend_schema(
        operation_id=name,
        request=None if bodies is None else {media: _reference(shape) for media, shape in bodies.items()},
        parameters=parameters,
        responses={
            **{status: _reference(shape) for status, shape in answers.items()},
            **{status: _reference(Problem) for status in problems or {}},
        },
        extensions={
            "x-problems": {str(status): text for status, text in (problems or {}).items()},
            "x-links": {follower: _link(follower, places) for follower, places in (links or {}).items()},
        },
    )

    def describe(method: F) -> F:
        method.schema = Described  # type: ignore[attr-defined] # else it is the project's default
        return described(method)

    return describe


def only_ours(endpoints: list[tuple[str, str, str, Any]], **_: Any) -> list[tuple[str, str, str, Any]]:
    """Leave the project's other views out."""
    return [endpoint for endpoint in endpoints if endpoint[3].cls.__module__.startswith(PACKAGE)]


def completed(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the structs and, to each operation, the problems that it may answer with."""
    for operations in result["paths"].values():
        for described in operations.values():
            _add_links(described)
            _add_problems(described)
    structs = [*_shapes.values(), *_queries.values()]
    shapes = _components(structs)
    for name, shape in _shapes.items():
        if either := getattr(shape, "EITHER", ()):
            shapes[name]["oneOf"] = [{"required": [one]} for one in either]
    result["components"]["schemas"] = {name: shape for name, shape in shapes.items() if name not in _queries}
    return result


def _link(follower: str, places: Mapping[str, str]) -> Schema:
    return {"operationId": follower, "parameters": {name: f"$response.body#{at}" for name, at in places.items()}}


def _add_links(described: dict[str, Any]) -> None:
    links = described.pop("x-links", {})
    for status, response in described["responses"].items():
        if links and status < "300":
            response["links"] = links


def _add_problems(described: dict[str, Any]) -> None:
    texts = {**ALWAYS, **described.pop("x-problems", {})}
    if body := described.get("requestBody"):
        body["required"] = True
        texts = {**texts, **WITH_BODY}
    content = {MEDIA_TYPE: {"schema": _reference(Problem)}}
    problems = {status: {"description": text.capitalize() + ".", "content": content} for status, text in texts.items()}
    described["responses"] = dict(sorted({**described["responses"], **problems}.items()))


def _reference(shape: Answer) -> Schema | None:
    if shape is None or isinstance(shape, dict):
        return shape
    if isinstance(shape, tuple):
        return {"anyOf": [_reference(one) for one in shape]}
    _shapes[shape.__name__] = shape
    return {"$ref": REFERENCE.format(name=shape.__name__)}


def _parameters(query: Shape | None) -> list[OpenApiParameter]:
    if query is None:
        return []
    _queries[query.__name__] = query
    schema = _components([query])[query.__name__]
    return [
        OpenApiParameter(name, kind, OpenApiParameter.QUERY, required=name in schema["required"])
        for name, kind in schema["properties"].items()
    ]


def _components(shapes: Sequence[Shape]) -> Schema:
    """Return the schemas of structs, and of all that is in them, by name."""
    return msgspec.json.schema_components(shapes, schema_hook=described_kind, ref_template=REFERENCE)[1]
