"""Where every handler leaves that it was called, and when: a count and a moment each, in a file that all share."""

import mmap
import os
import struct
import threading
import time
from pathlib import Path

SINK = "BENCH_SINK"
"""The variable that tells a worker where the file is."""

LONGEST = 300.0
ROW = struct.Struct("=Qd")


class Sink:
    """The calls by number, from nought."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._rows = mmap.mmap(file.fileno(), 0)

    @classmethod
    def of_size(cls, path: Path, size: int) -> "Sink":
        """Return an empty one for so many numbers; those that had it open before write elsewhere."""
        path.unlink(missing_ok=True)
        path.write_bytes(bytes(size * ROW.size))
        return cls(path)

    def hit(self, number: int) -> None:
        """Leave a call."""
        count, _ = ROW.unpack_from(self._rows, number * ROW.size)
        ROW.pack_into(self._rows, number * ROW.size, count + 1, time.monotonic())

    def wait(self, seconds: float = LONGEST) -> list[float]:
        """Wait until each number was called, and return when; raises RuntimeError unless each was called once."""
        end, pause, seen = time.monotonic() + seconds, threading.Event(), 0
        rows = [ROW.unpack_from(self._rows, start) for start in range(0, len(self._rows), ROW.size)]
        while (seen := sum(1 for count, _ in rows if count)) < len(rows) and time.monotonic() < end:
            pause.wait(0.05)
            rows = [ROW.unpack_from(self._rows, start) for start in range(0, len(self._rows), ROW.size)]
        twice = sum(1 for count, _ in rows if count > 1)
        if seen < len(rows) or twice:
            raise RuntimeError(f"Of {len(rows)} messages {len(rows) - seen} never arrived, and {twice} more than once.")
        return [at for _, at in rows]


def rate(moments: list[float]) -> float:
    """Return how many came a second, from the first to the last."""
    return len(moments) / (max(moments) - min(moments))


_mine: tuple[Path, int, Sink] | None = None


def hit(number: int) -> None:
    """Leave a call where this process was told to; a new file under the same name is seen."""
    global _mine  # noqa: PLW0603 - opened by the first call in each process
    path = Path(os.environ[SINK])
    if _mine is None:
        _mine = (path, path.stat().st_ino, Sink(path))
    _mine[2].hit(number)
