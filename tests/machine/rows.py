"""The rows of the model. ``wait`` and ``age`` are hours, which only a test adds or takes away."""

from dataclasses import dataclass, field


@dataclass
class Sub:
    """A subscription, the stream's included."""

    name: str
    eu_only: bool = False
    ordering: bool = False
    limit: int | None = None
    pulled: bool = False
    once: bool = False
    streams: bool = False
    paused: bool = False
    full: bool = False
    deleted: bool = False

    def matches(self, routing_key: str) -> bool:
        return routing_key.startswith("eu.") or not self.eu_only


@dataclass
class Message:
    routing_key: str
    priority: int = 0
    key: str | None = None
    wait: int = 0
    mortal: bool = False
    routed: list[int] = field(default_factory=list)
    age: int = 0
    edited: bool = False


@dataclass
class Owed:
    """A live delivery; ``late``: its lease is over; ``expired``: its time to live is."""

    priority: int
    key: str | None
    wait: int
    mortal: bool = False
    state: str = "ready"
    attempt: int = 0
    claims: int = 0
    lapses: int = 0
    token: object = None
    late: bool = False
    expired: bool = False

    def goes(self, state: str) -> None:
        self.state, self.token, self.late = state, None, False


@dataclass
class Letter:
    attempts: int
    open: bool = True
    redrives: int = 0
    age: int = 0
