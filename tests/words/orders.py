"""What payloads are made of here."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

import msgspec
import pydantic


@dataclass
class Line:
    sku: str
    price: float | None = None


class Order(TypedDict):
    id: int
    lines: list[Line]


class Point(msgspec.Struct):
    x: float
    label: str = ""


class Customer(pydantic.BaseModel):
    name: str = pydantic.Field(alias="fullName")
    score: float | None = None
    seen: datetime | None = None
    more: Any = None


class Unknown:
    pass


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value
