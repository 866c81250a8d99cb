"""Say whether this process can do its work, and which part of the whole is missing, in bounded time."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from datapunk_broker import broker
from datapunk_broker.conf import get_config
from datapunk_broker.models import Delivery, Topic
from datapunk_broker.observability.aside import Aside
from datapunk_broker.observability.logs import get_logger
from datapunk_broker.states import DeliveryState

WITHIN = 3.0
"""Seconds that all parts together have to answer."""

KEEP = 1.0
"""Seconds for which an answer is good enough for whoever asks next."""

LATE = timedelta(seconds=30)
"""What is found waiting for longer than this shows that nobody sweeps, or nobody pumps."""

About = Mapping[str, Any]

log = get_logger("health")


class NotReadyError(Exception):
    """A part is there, and does not do its work."""

    def __init__(self, **about: Any) -> None:
        super().__init__("A part of the broker does not do its work.")
        self.about: About = about


@dataclass(frozen=True, slots=True)
class Part:
    """One part. ok: None when it cannot be known, because the database is away. about: not for everybody."""

    ok: bool | None
    about: About = field(default_factory=dict)


class Health:
    """Asks the parts. Each is work that returns what is to be said about it, or raises."""

    def __init__(self, parts: Mapping[str, Callable[[], About]], keep: float = KEEP) -> None:
        self._asides = {name: Aside(work) for name, work in parts.items()}
        self._keep = keep
        self._kept: tuple[float, dict[str, Part]] | None = None

    def add(self, name: str, work: Callable[[], About]) -> None:
        """Ask one part more."""
        self._asides[name] = Aside(work)

    def look(self, within: float = WITHIN) -> Mapping[str, Part]:
        """Ask all parts at once, and wait for their answers no longer than so many seconds."""
        kept, now = self._kept, time.monotonic()
        if kept is not None and now < kept[0]:
            return kept[1]
        answers = {name: aside.start() for name, aside in self._asides.items()}
        parts = {name: _part(name, answer, now + within) for name, answer in answers.items()}
        if not parts[DATABASE].ok:
            parts |= dict.fromkeys(IN_THE_DATABASE & parts.keys(), Part(ok=None))
        self._kept = time.monotonic() + self._keep, parts
        return parts


def _part(name: str, answer: "Future[About]", until: float) -> Part:
    try:
        return Part(ok=True, about=answer.result(max(0.0, until - time.monotonic())))
    except NotReadyError as error:
        return Part(ok=False, about=error.about)
    except Exception as error:  # noqa: BLE001 - whatever a part's library raises, the part is not there
        kind = type(error).__name__
        log.warning("A part of the broker is not there.", part=name, error=kind)
        return Part(ok=False, about={"error": kind})  # its text might hold an address with a password


def ask_database() -> About:
    """Find out whether the broker's tables can be read."""
    Topic.objects.using(get_config().database).exists()
    return {}


def ask_sweep() -> About:
    """Return for how long what a sweep should have found has been waiting."""
    lag = sweep_lag(get_config().database)
    about = {"lag_seconds": round(lag, 3)}
    if lag > LATE.total_seconds():
        raise NotReadyError(**about)
    return about


def sweep_lag(using: str) -> float:
    """Return for how many seconds the oldest delivery has been due, lapsed or expired without being swept."""
    rows, waiting = Delivery.objects.using(using), [DeliveryState.READY, DeliveryState.SCHEDULED]
    found = [
        *_first(rows.filter(state=DeliveryState.SCHEDULED, available_at__lte=Now()), "available_at"),
        *_first(rows.filter(state=DeliveryState.CLAIMED, lease_until__lt=Now()), "lease_until"),
        *_first(rows.filter(state__in=waiting, expires_at__lte=Now()), "expires_at"),
    ]
    return max((now - since).total_seconds() for since, now in found) if found else 0.0


def _first(rows: QuerySet[Delivery], since: str) -> list[tuple[datetime, datetime]]:
    return list(rows.order_by(since).values_list(since, Now())[:1])


def ask_pumps() -> About:
    """Return for which transports a pump stands by; none has to, unless deliveries wait and no pump has been there."""
    pumps = broker.look_at_pumps(LATE)
    about = {"standing_by": sorted(pumps.standing_by), "stuck": sorted(pumps.stuck)}
    if pumps.stuck:
        raise NotReadyError(**about)
    return about


DATABASE, SWEEP, PUMPS = "database", "sweep", "pumps"
IN_THE_DATABASE = {SWEEP, PUMPS}

health = Health({DATABASE: ask_database, SWEEP: ask_sweep, PUMPS: ask_pumps})


def connect(name: str, reach: Callable[[], None]) -> None:
    """Ask for a server that is reached from elsewhere; ``reach`` raises when it is away."""

    def ask() -> About:
        reach()
        return {}

    health.add(name, ask)
