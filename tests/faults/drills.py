"""The drills: each breaks one thing while messages flow, and mends it."""

import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from datapunk_broker import broker
from tests.faults.endpoint import Mood
from tests.faults.load import LEASE, Load, wait
from tests.faults.stand import Stand

CLAIM = b"UPDATE datapunk_broker_delivery d"
SETTLE = b"DELETE FROM datapunk_broker_delivery d USING held"


@dataclass(frozen=True, slots=True)
class Scene:
    """What a drill plays with. long: it has time for more of the same."""

    stand: Stand
    load: Load
    draw: Random
    long: bool

    def rounds(self, short: int, long: int) -> range:
        """Return how many times to break it."""
        return range(long if self.long else short)

    def some_worker(self) -> int:
        """Return one of the workers' numbers."""
        return self.draw.randrange(len(self.stand.workers))


@dataclass(frozen=True, slots=True)
class Drill:
    """What breaks. dead: of each subscription's messages, how many are meant to become dead letters.

    lacks: says what this machine lacks for it. short: it is part of the short form.
    """

    name: str
    breaks: Callable[[Scene], None]
    short: bool = True
    dead: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    lacks: Callable[[Stand], str] = lambda _: ""


def kill_at_random(scene: Scene) -> None:
    """SIGKILL a worker with its children at a random moment."""
    for _ in scene.rounds(2, 8):
        wait(scene.draw.uniform(0.3, 1.5))
        worker = scene.stand.workers[scene.some_worker()]
        worker.kill()
        worker.start(wait=False)


def kill_around(scene: Scene, said: bytes, *, answered: bool) -> None:
    """SIGKILL a worker at a certain statement."""
    for number in scene.rounds(1, 6):
        which = number % len(scene.stand.workers)
        worker, proxy = scene.stand.workers[which], scene.stand.proxies[which]
        worker.wait_until_ready()
        wire = proxy.trip(said, worker.kill, answered=answered)
        assert wire.tripped.wait(30), said
        worker.start(wait=False)


def kill_before_handler(scene: Scene) -> None:
    """SIGKILL a worker when its claim is committed and before it hears of it."""
    kill_around(scene, CLAIM, answered=True)


def kill_before_settle(scene: Scene) -> None:
    """SIGKILL a worker when its handlers have run and before the ack is heard."""
    kill_around(scene, SETTLE, answered=False)


def kill_after_settle(scene: Scene) -> None:
    """SIGKILL a worker when its ack is executed and before it hears of it."""
    kill_around(scene, SETTLE, answered=True)


def die_in_handler(scene: Scene) -> None:
    """Let a handler kill its process before its effect, or after it."""
    for _ in scene.rounds(1, 5):
        scene.load.publish("fall")
        wait(0.5)
        scene.load.publish("fall after")
        wait(0.5)


def pause_beyond_lease(scene: Scene) -> None:
    """SIGSTOP a worker with its children for longer than its leases, and let it go on."""
    for _ in scene.rounds(1, 4):
        worker = scene.stand.workers[scene.some_worker()]
        worker.send(signal.SIGSTOP)
        wait(LEASE + 2.0)
        worker.send(signal.SIGCONT)
        wait(1.0)


def crash_postgresql(scene: Scene) -> None:
    """Stop PostgreSQL in immediate mode, and start it again."""
    for _ in scene.rounds(1, 5):
        wait(scene.draw.uniform(0.5, 1.5))
        scene.stand.postgresql.end(signal.SIGQUIT)
        wait(scene.draw.uniform(0, 1.0))
        scene.stand.postgresql.start()


def cut_connections(scene: Scene) -> None:
    """Cut connections to the database, the publishers' too, in the middle of what they say, or anywhere."""
    for _ in scene.rounds(8, 40):
        proxy = scene.draw.choice(scene.stand.proxies)
        scene.draw.choice((proxy.tear, proxy.tear, proxy.cut))()
        wait(scene.draw.uniform(0.1, 0.5))


def flush_redis(scene: Scene) -> None:
    """FLUSHALL, and then stop Redis for a while."""
    from redis import Redis  # noqa: PLC0415

    with Redis(port=scene.stand.redis_port) as redis:
        redis.flushall()
    wait(1.0)
    scene.stand.redis.end()
    wait(20.0 if scene.long else 3.0)
    scene.stand.redis.start()


def stop_beat(scene: Scene) -> None:
    """Stop beat, and kill a worker whose leases nobody sweeps then."""
    scene.stand.beat.end()
    wait(1.0)
    scene.stand.workers[0].kill()
    wait(10.0 if scene.long else LEASE)
    scene.stand.workers[0].start(wait=False)
    scene.stand.beat.start()


def double_beat(scene: Scene) -> None:
    """Let two beats ring at once."""
    second = scene.stand.beat_named("second-beat")
    second.start()
    wait(10.0 if scene.long else 3.0)
    second.kill()


def restart_everything(scene: Scene) -> None:
    """End and start each process of ours in its turn, as a rollout does."""
    for member in scene.stand.members:
        member.end()
        member.start()


def poison(scene: Scene) -> None:
    """Publish a message that kills its worker each time."""
    scene.load.publish("", "poison", "")
    wait(1.0)


def hang(scene: Scene) -> None:
    """Publish messages whose handlers do not return."""
    for _ in scene.rounds(1, 5):
        scene.load.publish("hang", "")
        wait(0.5)


def fail_in_batch(scene: Scene) -> None:
    """Publish a message that fails among others, and one whose process dies of it."""
    for _ in scene.rounds(1, 5):
        scene.load.publish("", "", "fail", "", "")
        scene.load.publish("", "fall", "")
        wait(0.5)


def delete_subscriber(scene: Scene) -> None:
    """Delete a subscription while its messages are in flight, and publishers in their transactions."""
    for number in scene.rounds(3, 10):
        doomed = scene.load.subscribe(f"doomed-{number}")
        wait(scene.draw.uniform(0.3, 1.0))
        broker.unsubscribe(doomed)


def trouble_endpoint(scene: Scene) -> None:
    """Let the webhooks' endpoint fail, hang up once it did what it was asked, and hang."""
    assert scene.load.endpoint is not None
    for _ in scene.rounds(1, 4):
        for mood in (Mood.FAILS, Mood.CUTS, Mood.HANGS):
            scene.load.endpoint.mood = mood
            wait(1.5)
            scene.load.endpoint.mood = Mood.WELL
            wait(0.5)


def fill_disk(scene: Scene) -> None:
    """Leave PostgreSQL no room on its disk, for a while."""
    for _ in scene.rounds(1, 3):
        filler = scene.stand.disk / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(65_536))
        wait(3.0)
        assert "No space left on device" in scene.stand.postgresql.said()
        filler.unlink()
        scene.stand.heal()
        wait(1.0)


def lacks_disk(stand: Stand) -> str:
    """Say why PostgreSQL's disk cannot be filled here."""
    return "" if stand.disk_is_small else "it takes root, who may mount a tmpfs"


def shift_clock(scene: Scene) -> None:
    """Let a worker's clock be an hour ahead, and then an hour behind."""
    worker = scene.stand.workers[0]
    for shift in ("+3600s", "-3600s"):
        worker.end()
        worker.start(LD_PRELOAD=str(faketime()), FAKETIME=shift, FAKETIME_DONT_FAKE_MONOTONIC="1")
        wait(6.0 if scene.long else 3.0)
    worker.end()


def faketime() -> Path | None:
    """Return the library that shifts a process's clock."""
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def lacks_faketime(_stand: Stand) -> str:
    """Say why no clock can be shifted here."""
    return "" if faketime() else "it takes libfaketime (on Debian: apt install libfaketime)"


DRILLS = (
    Drill("worker-killed", kill_at_random),
    Drill("killed-before-handler", kill_before_handler),
    Drill("killed-before-settle", kill_before_settle),
    Drill("killed-after-settle", kill_after_settle),
    Drill("handler-dies", die_in_handler),
    Drill("worker-paused", pause_beyond_lease),
    Drill("postgresql-crashes", crash_postgresql),
    Drill("connections-cut", cut_connections),
    Drill("redis-loses-all", flush_redis),
    Drill("beat-stops", stop_beat),
    Drill("two-beats", double_beat),
    Drill("rolling-restart", restart_everything),
    Drill("poison", poison, dead=1, options={"max_attempts": 3}),
    Drill("handler-hangs", hang),
    Drill("batch-fails", fail_in_batch),
    Drill("subscriber-deleted", delete_subscriber),
    Drill("endpoint-fails", trouble_endpoint),
    Drill("disk-full", fill_disk, short=False, lacks=lacks_disk),
    Drill("clock-shifted", shift_clock, short=False, lacks=lacks_faketime),
)
