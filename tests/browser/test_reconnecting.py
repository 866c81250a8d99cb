"""client.js in a browser, when the server goes away and comes back."""

import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlsplit

from playwright.sync_api import expect

from tests.browser.visiting import Visitor
from tests.processes import Process, manage, running, until

MANY = 7


def publish(env: dict[str, str], waves: range) -> None:
    """Publish from another process, whether or not there is a server."""
    lines = "".join(json.dumps({"payload": f"wave {n}"}) + "\n" for n in waves)
    done = manage("broker_publish", "repositories", "--file", "-", stdin=lines, **env)
    assert done.returncode == 0, done.stderr


def seen(visitor: Visitor) -> list[tuple[int, str]]:
    """Return the positions and payloads on the page, from the oldest."""
    items = visitor.page.locator("#stream > li").evaluate_all(
        "items => items.map(one => [Number(one.dataset.position), JSON.parse(one.querySelector('pre').textContent)])"
    )
    return [(position, text) for position, text in reversed(items)]


def away(visitor: Visitor, env: dict[str, str], waves: range) -> None:
    """What happens while there is no server."""
    expect(visitor.page.locator("#state")).to_have_text("Reconnecting")
    visitor.page.context.set_offline(True)
    publish(env, waves)


def missed(env: dict[str, str], waves: range) -> None:
    """Wait until all of it is in the stream: a reader who only asks for what is new comes too late."""

    def length() -> int:
        with closing(sqlite3.connect(env["DATABASE_URL"].removeprefix("sqlite:///"))) as database:
            [count] = database.execute("SELECT count(*) FROM datapunk_broker_streamentry").fetchone()
        return int(count)

    until(lambda: length() == waves.stop, lambda: f"the stream has {length()} messages")


def back(visitor: Visitor, wave: int) -> None:
    """The page is live again, has what came meanwhile, and gets what comes now."""
    visitor.page.context.set_offline(False)
    visitor.is_live()
    visitor.publish("repositories", f'"wave {wave}"')
    expect(visitor.message(f"wave {wave}")).to_be_visible()
    assert seen(visitor) == [(n + 1, f"wave {n}") for n in range(wave + 1)]


def test_nothing_is_missing_and_nothing_comes_twice_when_the_server_was_away(
    env: dict[str, str], sign_in: Callable[[Process], Visitor]
) -> None:
    with running("demo", "--port", "0", **env) as demo:
        visitor = sign_in(demo)
        port = str(urlsplit(visitor.page.url).port)
        back(visitor, 0)
        demo.end()

    away(visitor, env, range(1, MANY))
    with running("demo", "--port", port, **env) as demo:
        missed(env, range(1, MANY))
        back(visitor, MANY)
        demo.end(signal.SIGKILL)

    away(visitor, env, range(MANY + 1, 2 * MANY))
    with running("demo", "--port", port, **env):
        missed(env, range(MANY + 1, 2 * MANY))
        back(visitor, 2 * MANY)
    assert visitor.page.locator("#seen").inner_text() == f"{2 * MANY + 1} arrived"
