"""The kinds of values that requests are made of, with the bounds that the schema tells."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from datapunk_broker.conf.options import CENTURY, LARGEST
from datapunk_broker.exceptions import PayloadInvalidError

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,200}$")]
Text = Annotated[str, Meta(pattern=r"^[^\u0000]*$")]
"""NUL cannot be stored."""

ShortText = Annotated[str, Meta(pattern=r"^[^\u0000]*$", max_length=255, description="At most 255 bytes of UTF-8.")]
KeyText = Annotated[
    str, Meta(pattern=r"^[^\u0000]+$", min_length=1, max_length=255, description="At most 255 bytes of UTF-8.")
]
Seconds = Annotated[float, Meta(ge=0, le=CENTURY.total_seconds())]
SomeSeconds = Annotated[float, Meta(gt=0, le=CENTURY.total_seconds())]
Count = Annotated[int, Meta(ge=0, le=LARGEST)]
SomeCount = Annotated[int, Meta(ge=1, le=LARGEST)]
Position = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Object = dict[str, Any]


def plain(shape: msgspec.Struct) -> dict[str, Any]:
    """Return what was given of a request by its names; what was left out is not there."""
    members = ((field.encode_name, getattr(shape, field.name)) for field in msgspec.structs.fields(shape))
    return {name: msgspec.to_builtins(value) for name, value in members if value is not msgspec.UNSET}


def refused(error: msgspec.ValidationError, what: str) -> PayloadInvalidError:
    """Return why a request does not have the shape that it should; ``what`` names the whole of it."""
    sentence, _, path = str(error).partition(" - at `")
    return PayloadInvalidError(path.rstrip("`").removeprefix("$").lstrip(".") or what, sentence)
