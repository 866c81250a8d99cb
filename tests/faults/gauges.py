"""What the processes and the tables of a stand take, looked at now and then."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psycopg

from tests.faults.stand import Member, Stand

EVERY = 5.0

SIZES = """
    SELECT relname, pg_total_relation_size(relid), n_dead_tup
    FROM pg_stat_user_tables WHERE relname LIKE 'datapunk\\_broker\\_%'
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table at a moment: bytes with its indexes, and dead tuples, of which a crash forgets the count."""

    size: int
    dead: int


@dataclass(slots=True)
class Gauges:
    """What was seen: of each member's processes the memory that is theirs alone, in bytes; of each table its size."""

    memory: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    tables: dict[str, list[tuple[float, Table]]] = field(default_factory=dict)

    @contextmanager
    def watching(self, stand: Stand) -> Iterator[None]:
        """Look every few seconds meanwhile."""
        ended, began = threading.Event(), time.monotonic()

        def watch() -> None:
            while not ended.wait(EVERY):
                self._look(stand, time.monotonic() - began)

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def growth(self, warm: float, end: float) -> dict[str, float]:
        """Return by what part each member's memory grew: the medians of the first and the last third after ``warm``."""
        third = (end - warm) / 3
        return {
            name: _median(seen, end - third, end) / _median(seen, warm, warm + third) - 1
            for name, seen in self.memory.items()
        }

    def _look(self, stand: Stand, at: float) -> None:
        for member in (stand.postgresql, stand.redis, *stand.members):
            if size := memory_of(member):
                self.memory.setdefault(member.name, []).append((at, size))
        with suppress(psycopg.Error), psycopg.connect(stand.database_url(stand.database_port)) as database:
            for name, size, dead in database.execute(SIZES):
                self.tables.setdefault(name.removeprefix("datapunk_broker_"), []).append((at, Table(size, dead)))


def memory_of(member: Member) -> int:
    """Return the bytes that a member's processes have for themselves: 0 where it does not run."""
    if not member.is_running:
        return 0
    parents = dict(_parents())
    family = {member.pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(_anonymous(Path("/proc", str(process))) for process in family)


def _parents() -> Iterator[tuple[int, int]]:
    """Return each process and its parent: PostgreSQL's make sessions of their own."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            after_name = (process / "stat").read_text().rpartition(")")[2].split()
            yield int(process.name), int(after_name[1])


def _anonymous(process: Path) -> int:
    with suppress(OSError):
        for line in (process / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss_Anon:"):
                return int(line.split()[1]) * 1024
    return 0


def _median(seen: Sequence[tuple[float, int]], since: float, until: float) -> float:
    return median(size for at, size in seen if since <= at <= until)
