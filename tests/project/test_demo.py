"""The demo as a visitor meets it: a real server, and a browser's requests."""

import http.cookiejar
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from tests.processes import Process, manage, running, until

PASSWORD = "a password for the demo"

Visit = Callable[..., tuple[str, str]]


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('demo')}/broker.sqlite3"}
    assert manage("migrate", "--no-input", **env).returncode == 0
    return env


@pytest.fixture(scope="module")
def demo(env: dict[str, str]) -> Iterator[Process]:
    with running("demo", "--port", "0", DEMO_ADMIN_PASSWORD=PASSWORD, **env) as process:
        process.line("Serving on http")
        yield process
        assert process.end() == 0, process.output


@pytest.fixture
def visit() -> Visit:
    """A browser of its own: takes a URL, and what a form sends; returns where it came to, and the page."""
    browser = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def visit(url: str, **form: str) -> tuple[str, str]:
        data = urlencode(form).encode() if form else None
        with browser.open(url, data, timeout=10) as answer:
            return answer.url, answer.read().decode()

    return visit


def home(demo: Process) -> str:
    return demo.line("Serving on http").split()[2]


def sign_in(demo: Process, visit: Visit, password: str = PASSWORD) -> tuple[str, str]:
    _, page = visit(home(demo))
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token
    form = {"csrfmiddlewaretoken": token[1], "username": "admin", "password": password, "next": "/"}
    return visit(home(demo) + "sign-in/", **form)


def test_who_is_not_signed_in_sees_the_sign_in(demo: Process, visit: Visit) -> None:
    url, page = visit(home(demo))

    assert url.endswith("/sign-in/?next=/")
    assert "<h1>Sign in</h1>" in page
    assert "github" not in page


def test_the_link_signs_in_once(visit: Visit, env: dict[str, str]) -> None:
    stranger = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with running("demo", "--port", "0", DEMO_ADMIN_PASSWORD=PASSWORD, **env) as demo:
        link = demo.line(home(demo) + "sign-in/")
        came_to, page = visit(link)
        with stranger.open(link, timeout=10) as answer:
            refused = answer.read().decode()

    assert came_to == home(demo)
    assert "github" in page
    assert answer.url.endswith("/sign-in/")
    assert "This link was used before" in refused


def test_a_link_that_was_made_up_signs_nobody_in(demo: Process, visit: Visit) -> None:
    url, page = visit(home(demo) + "sign-in/WzEsIiJd:abc:def/")

    assert url.endswith("/sign-in/")
    assert "This link was used before" in page


def test_the_password_signs_in_and_another_does_not(demo: Process, visit: Visit) -> None:
    url, page = sign_in(demo, visit, "a wrong one")
    assert url.endswith("/sign-in/")
    assert 'role="alert"' in page

    url, page = sign_in(demo, visit)
    assert url == home(demo)
    assert all(f'<th scope="row">{name}</th>' in page for name in ("alerts", "github", "orders", "repositories"))


def test_the_page_shows_what_handlers_did(demo: Process, visit: Visit, env: dict[str, str]) -> None:
    sign_in(demo, visit)
    arguments = ("orders", "--routing-key", "packing", "--payload", '{"id": 7, "total": 12.5}')
    assert manage("broker_publish", *arguments, **env).returncode == 0

    page = until(lambda: page if "order 7 is packed" in (page := visit(home(demo))[1]) else None, lambda: demo.output)

    assert "order 7 costs" not in page, "a message is addressed to one of the pair"


def test_the_admin_and_the_static_files_are_served(demo: Process, visit: Visit) -> None:
    sign_in(demo, visit)

    assert "Site administration" in visit(home(demo) + "admin/")[1]
    assert "color-scheme: light dark" in visit(home(demo) + "static/demo/demo.css")[1]
    with pytest.raises(HTTPError) as error:
        visit(home(demo) + "nowhere/")
    assert error.value.code == 404
    error.value.close()


def test_a_password_is_made_and_said_once_where_none_is_given(tmp_path: Path) -> None:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/broker.sqlite3"}
    assert manage("migrate", "--no-input", **env).returncode == 0

    said = []
    for _ in range(2):
        with running("demo", "--port", "0", **env) as process:
            said.append(process.line("Sign in as 'admin'"))
            process.end()

    assert re.search(r"the password is [\w-]{12}\.", said[0])
    assert "the password is as before" in said[1]
