"""CloudEvents 1.0 in JSON, as the API's description tells them."""

from typing import Any

_MEDIA_TYPE = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(;[ -~]*)?$"
_TEXT = {"type": "string", "minLength": 1}

EVENT: dict[str, Any] = {
    "type": "object",
    "description": "A CloudEvent 1.0 in JSON; an extension is a truth value, a whole number of 32 bits, or text.",
    "required": ["id", "source", "type", "specversion"],
    "properties": {
        "id": _TEXT,
        "source": {**_TEXT, "description": "With the id, the idempotency key."},
        "type": {**_TEXT, "maxLength": 255, "description": "The routing key."},
        "specversion": {"const": "1.0"},
        "subject": {"type": ["string", "null"], "minLength": 1},
        "dataschema": {"type": ["string", "null"], "format": "uri"},
        "datacontenttype": {"type": ["string", "null"], "pattern": _MEDIA_TYPE, "maxLength": 200},
        "time": {"type": ["string", "null"], "format": "date-time"},
        "data": {},
        "data_base64": {"type": ["string", "null"], "contentEncoding": "base64"},
    },
    "propertyNames": {"pattern": "^([a-z0-9]+|data_base64)$"},
    "additionalProperties": {
        "anyOf": [
            {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
            {"type": ["string", "boolean", "null"]},
        ]
    },
}

EVENTS: dict[str, Any] = {"type": "array", "items": EVENT, "maxItems": 1000}
