import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePath

import pytest

from tests.architecture import (
    LONGEST_FILE,
    LONGEST_FUNCTION,
    LONGEST_TEST_FILE,
    banned_names,
    empty_names,
    outside_world,
    overlong_file,
    overlong_functions,
    swallowed_exceptions,
)

ROOT = Path(__file__).resolve().parents[1]
TREES = ("benchmarks", "broker_project", "datapunk_broker", "tests")
WORDS = ("breaker", "envelope", "exceptions", "frames", "matching", "payload", "retry", "states")

Rule = Callable[[str], Iterable[str]]


def sources() -> Iterator[Path]:
    for tree in TREES:
        yield from (path for path in sorted((ROOT / tree).rglob("*.py")) if "migrations" not in path.parts)
    yield ROOT / "manage.py"


def words() -> Iterator[Path]:
    for word in WORDS:
        yield from (ROOT / "datapunk_broker").glob(f"{word}.py")
        yield from (ROOT / "datapunk_broker" / word).rglob("*.py")


def breaches(rule: Rule, paths: Iterable[Path]) -> list[str]:
    return [f"{path.relative_to(ROOT)}: {breach}" for path in paths for breach in rule(path.read_text())]


def test_no_file_of_the_project_is_longer_than_250_lines() -> None:
    assert breaches(overlong_file, (path for path in sources() if "tests" not in path.parts)) == []


def test_no_file_of_tests_is_longer_than_350_lines() -> None:
    longest = partial(overlong_file, longest=LONGEST_TEST_FILE)
    assert breaches(longest, (path for path in sources() if "tests" in path.parts)) == []


def test_no_function_is_longer_than_40_lines() -> None:
    assert breaches(overlong_functions, sources()) == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [path for path in sources() if empty_names(path.relative_to(ROOT))] == []


def test_nothing_asks_the_wall_clock_or_sleeps_or_pickles_or_patches() -> None:
    assert breaches(banned_names, sources()) == []


def test_no_exception_is_swallowed_whole() -> None:
    assert breaches(swallowed_exceptions, sources()) == []


def test_the_words_know_neither_django_nor_the_outside_world() -> None:
    assert breaches(outside_world, words()) == []


def test_the_rules_are_asked_of_every_tree() -> None:
    asked = set(sources())

    assert {Path(__file__), ROOT / "manage.py", ROOT / "datapunk_broker" / "__init__.py", *words()} <= asked


@pytest.mark.parametrize("lines", [LONGEST_FILE, LONGEST_FILE + 1])
def test_a_file_is_overlong_from_the_251st_line(lines: int) -> None:
    assert bool(list(overlong_file("x = 1\n" * lines))) is (lines > LONGEST_FILE)


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("lines", [LONGEST_FUNCTION, LONGEST_FUNCTION + 1])
def test_a_function_is_overlong_from_the_41st_line(lines: int, kind: str) -> None:
    method = f"{kind} method(self):\n" + "    x = 1\n" * (lines - 1)

    source = "class Long:\n" + textwrap.indent(method, "    ")

    assert bool(list(overlong_functions(source))) is (lines > LONGEST_FUNCTION)


@pytest.mark.parametrize("path", ["utils.py", "datapunk_broker/helpers/money.py", "engine/services.py"])
def test_a_module_or_package_named_for_nothing_is_found(path: str) -> None:
    assert empty_names(PurePath(path))


@pytest.mark.parametrize(
    "source",
    [
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime\ndatetime.now(tz=zone)",
        "from datetime import datetime as dt\nfield(default_factory=dt.utcnow)",
        "import time\ntime.sleep(1)",
        "from time import sleep",
        "import time as clock\nclock.time()",
        "import pickle",
        "from pickle import loads",
        "from unittest import mock\n@mock.patch.object(broker, 'publish')\ndef test(): ...",
        "from unittest.mock import patch",
    ],
)
def test_a_banned_name_is_found_by_whatever_import(source: str) -> None:
    assert list(banned_names(source))


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.monotonic()",
        "from django.utils import timezone\ntimezone.now()",
        "from datetime import datetime\ndatetime.fromisoformat(text)",
        "def at(now, time): return time.time",
    ],
)
def test_what_only_resembles_a_banned_name_is_left_alone(source: str) -> None:
    assert list(banned_names(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "try: run()\nexcept Exception: pass",
        "try: run()\nexcept: ...",
        "for x in y:\n  try: run()\n  except (KeyError, BaseException): continue",
        "with contextlib.suppress(Exception): run()",
    ],
)
def test_a_swallowed_exception_is_found(source: str) -> None:
    assert list(swallowed_exceptions(source))


@pytest.mark.parametrize(
    "source",
    [
        "try: run()\nexcept Exception: log()",
        "try: run()\nexcept KeyError: pass",
        "with contextlib.suppress(OSError): run()",
    ],
)
def test_an_exception_that_is_named_or_answered_is_left_alone(source: str) -> None:
    assert list(swallowed_exceptions(source)) == []


@pytest.mark.parametrize(
    "source",
    [
        "from django.db import models",
        "import redis.asyncio",
        "def later():\n    import socket",
        "print('found')",
        "import urllib.request",
    ],
)
def test_a_word_that_reaches_outside_is_found(source: str) -> None:
    assert list(outside_world(source))


@pytest.mark.parametrize(
    "source",
    [
        "from urllib.parse import quote\nimport msgspec, random, re\nrandom.Random(1)",
        "def at(signal, time): return time.sleep(signal.select)",
        "from .signal import broken",
    ],
)
def test_a_word_that_is_pure_is_left_alone(source: str) -> None:
    assert list(outside_world(source)) == []
