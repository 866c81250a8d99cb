"""A real Chromium, and a real demo for it to visit."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.browser.visiting import Visitor, chromium
from tests.processes import LONGEST, Process, manage, running

PASSWORD = "a password for the demo"


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the project's tables and what it declares."""
    file = tmp_path_factory.mktemp("browser") / "migrated.sqlite3"
    done = manage("migrate", "--no-input", DATABASE_URL=f"sqlite:///{file}")
    assert done.returncode == 0, done.stderr
    return file


@pytest.fixture(scope="module")
def env(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the environment says for a demo with a database of its own."""
    file = shutil.copy(migrated, tmp_path_factory.mktemp("demo") / "broker.sqlite3")
    return {"DATABASE_URL": f"sqlite:///{file}", "DEMO_ADMIN_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each module: while it is open, an event loop runs in this thread, which other tests have no use for."""
    expect.set_options(timeout=LONGEST / 2 * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(LONGEST / 2 * 1000)
    yield context
    context.close()


@pytest.fixture
def sign_in(context: BrowserContext) -> Callable[[Process], Visitor]:
    def sign_in(demo: Process) -> Visitor:
        visitor = Visitor(context.new_page())
        page: Page = visitor.page
        page.goto(demo.line("Serving on http").split()[2])
        page.get_by_label("Name").fill("admin")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        visitor.is_live()
        return visitor

    return sign_in


@pytest.fixture(scope="module")
def demo(env: dict[str, str]) -> Iterator[Process]:
    with running("demo", "--port", "0", **env) as process:
        yield process


@pytest.fixture
def visitor(demo: Process, sign_in: Callable[[Process], Visitor]) -> Visitor:
    """Somebody who is signed in, on the live page."""
    return sign_in(demo)
