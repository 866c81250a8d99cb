"""Give a test run its servers, ahead of Django's settings, which need their addresses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        os.environ["REDIS_URL"] = redis_url_of(worker, os.environ["REDIS_URL"])
        return
    guard = start_guard()
    early_config.add_cleanup(lambda: end_guard(guard))
    os.environ.update(answer_of(guard))


def redis_url_of(worker: str, url: str) -> str:
    """Each pytest-xdist worker has a Redis database of its own."""
    return urlsplit(url)._replace(path="/" + worker.removeprefix("gw")).geturl()


def start_guard() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.servers.guard"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the test run, which ends the guard when it is done
    )


def answer_of(guard: subprocess.Popen[str]) -> dict[str, str]:
    words = guard.stdout.readline() if guard.stdout else ""
    answer: dict[str, str] = json.loads(words or '{"error": "The guard of the servers failed; see above."}')
    if "error" in answer:
        raise pytest.UsageError(answer["error"])
    return answer


def end_guard(guard: subprocess.Popen[str]) -> None:
    guard.communicate()
