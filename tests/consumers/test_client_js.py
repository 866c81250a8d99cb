"""The client for browsers, run by Node.js against a running site."""

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.db import connections
from websockets.sync.server import serve

from datapunk_broker import broker
from datapunk_broker.frames import SUBPROTOCOL
from datapunk_broker.models import Delivery, Message, SettledDelivery
from datapunk_broker.states import DeliveryState
from tests.consumers.conftest import ROOT, Site, make_pull, make_topic, publish
from tests.consumers.cutting import cutting

Ask = Callable[[str], Any]

CLIENT = ROOT / "datapunk_broker/static/datapunk_broker/client.js"
NODE = [shutil.which("node") or "node", "--experimental-websocket", "--no-warnings"]

BEGINNING = """
import { Broker, BrokerError, parse } from "./client.mjs";
const [url, token] = process.argv.slice(2);
const said = [];
const until = async (holds) => { while (!holds()) await new Promise((done) => setTimeout(done, 5)); };
const finish = (result) => { console.log(JSON.stringify(result)); process.exit(0); };
setTimeout(() => { console.error("It took too long.", said); process.exit(1); }, 40_000);
"""


def has_websocket() -> bool:
    if shutil.which("node") is None:
        return False
    tried = subprocess.run([*NODE, "-e", "new WebSocket"], capture_output=True, check=False)
    return b"TypeError" in tried.stderr  # it misses its argument


pytestmark = pytest.mark.skipif(not has_websocket(), reason="Needs Node.js 20.10 or later (apt-get install nodejs).")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    shutil.copy(CLIENT, tmp_path / "client.mjs")
    return tmp_path / "script.mjs"


@pytest.fixture
def ask(site: Site, token: str, module: Path) -> Ask:
    """Run a script against the site, as its user."""
    return partial(run, module, site.url, token)


def run(module: Path, url: str, token: str, script: str) -> Any:
    """Run a script that uses the client, and return what it finished with."""
    module.write_text(BEGINNING + script)
    done = subprocess.run([*NODE, str(module), url, token], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write(writer: int, count: int) -> None:
    try:
        for n in range(count):
            broker.publish("orders", [writer, n, "x" * 50])
    finally:
        connections.close_all()


def test_cut_off_again_and_again_it_hands_over_every_message_once_in_order(
    site: Site, token: str, module: Path, pumping: None
) -> None:
    make_topic()
    writers = [threading.Thread(target=write, args=(n, 100)) for n in range(3)]
    for writer in writers:
        writer.start()
    with cutting(site.port) as port:
        seen, cuts = run(
            module,
            f"ws://127.0.0.1:{port}/ws/broker/",
            token,
            """
            let cuts = 0;
            const broker = new Broker({ url, token, random: () => 0.001 });
            broker.addEventListener("closed", () => (cuts += 1));
            const message = async ({ position }) => {
              await new Promise((done) => setTimeout(done, position % 3));
              said.push(position);
            };
            broker.subscribe("orders", { from: "earliest", window: 20 }, { message });
            await until(() => said.length >= 300);
            await new Promise((done) => setTimeout(done, 300));
            finish([said, cuts]);
            """,
        )
    for writer in writers:
        writer.join()
    assert seen == [*range(1, 301)]
    assert cuts > 5


def test_a_handler_that_takes_its_time_is_not_sent_more_than_its_window(ask: Ask) -> None:
    make_topic()
    publish("orders", *range(30))
    most, handled = ask(
        """
        let came = 0, most = 0;
        class Counting extends WebSocket {
          constructor(...args) {
            super(...args);
            this.addEventListener("message", ({ data }) => {
              came += JSON.parse(data).items?.length ?? 0;
              most = Math.max(most, came - said.length);
            });
          }
        }
        const broker = new Broker({ url, token, WebSocket: Counting });
        const message = async ({ payload }) => {
          await new Promise((done) => setTimeout(done, 5));
          said.push(payload);
        };
        const caughtUp = () => finish([most, said]);
        broker.subscribe("orders", { from: "earliest", window: 4 }, { message, caughtUp });
        """,
    )
    assert handled == [*range(30)]
    assert most <= 4


def test_what_a_handler_throws_is_reported_and_the_next_message_comes(ask: Ask) -> None:
    make_topic(type="topic")
    for key in ("eu.a", "us.a", "eu.b"):
        publish("orders", key, routing_key=key)
    told = ask(
        """
        globalThis.reportError = (error) => said.push(`reported ${error.message}`);
        const broker = new Broker({ url, token });
        const message = ({ payload }) => { said.push(payload); throw new Error(payload); };
        const options = { from: { position: 0 }, routingKey: "eu.*" };
        broker.subscribe("orders", options, { message, caughtUp: () => finish(said) });
        """,
    )
    assert told == ["eu.a", "reported eu.a", "eu.b", "reported eu.b"]


def test_a_reset_is_told_and_reading_goes_on_from_the_oldest(ask: Ask) -> None:
    make_topic()
    publish("orders", 1, 2)
    told = ask(
        """
        const broker = new Broker({ url, token });
        broker.subscribe("orders", { from: { position: 99 } }, {
          reset: ({ reason, oldest, head }) => said.push([reason, oldest, head]),
          message: ({ position }) => said.push(position),
          caughtUp: () => finish(said),
        });
        """,
    )
    assert told == [["ahead", 1, 2], 1, 2]


def test_pulled_messages_are_acked_when_handled_and_nacked_when_not(ask: Ask) -> None:
    make_topic(stream=False)
    make_pull(max_attempts=1)
    for payload in ("good", "bad", "last", "not handled any more"):
        broker.publish("orders", payload)
    told = ask(
        """
        const broker = new Broker({ url, token });
        globalThis.reportError = (error) => said.push(error.message);
        const audit = broker.pull("audit", {
          async message({ payload }) {
            said.push(payload);
            if (payload === "bad") throw new Error("It failed.");
            if (payload !== "last") return;
            audit.close(); // and yet it is acked
            setTimeout(async () => { await broker.publish("orders", "done"); finish(said); }, 300);
          },
        });
        """,
    )
    assert told == ["good", "bad", "It failed.", "last"]
    assert sorted(SettledDelivery.objects.values_list("outcome", flat=True)) == ["acked", "acked", "dead"]
    assert Delivery.objects.filter(state=DeliveryState.CLAIMED).count() == 1


def test_a_publish_resolves_when_it_is_committed_or_says_why_not(ask: Ask) -> None:
    make_topic()
    told = ask(
        """
        const broker = new Broker({ url, token });
        const options = { routing_key: "eu.paid", idempotency_key: "o-7" };
        const attempt = (...args) => broker.publish(...args).then((told) => told.duplicate, (error) => error.code);
        finish([
          await attempt("orders", { id: 7 }, options),
          await attempt("orders", { id: 7 }, options),
          await attempt("nowhere", 1),
          await attempt("orders", "x".repeat(1024 * 1024)),
          await attempt("orders", "x".repeat(2 * 1024 * 1024)),
          await attempt("orders", "half \\ud83d"),
          await attempt("orders", 1, { prioritty: 9 }),
          await attempt("orders"),
          broker.limits.subscriptions,
        ]);
        """,
    )
    refusals = ["topic_not_found", "message_too_large", "message_too_large", "payload_invalid", "payload_invalid"]
    assert told == [False, True, *refusals, False, 100]
    assert [bytes(message.body) for message in Message.objects.order_by("id")] == [b'{"id":7}', b"null"]


PAYLOADS = (
    *("123456789012345678901234567890", '{ "b" : 1.10e2,"a":[ {"payload": 1} ] }', "null", "[]", '""'),
    *('"quote \\" brace } \\\\"', '"payload"', "-0.0"),
)


def test_a_payload_can_be_read_as_it_came(site: Site, token: str, module: Path) -> None:
    make_topic()
    for number, payload in enumerate(PAYLOADS):
        broker.publish("orders", msgspec.Raw(payload.encode()), headers={"payload": number})
    publish("orders", "the last")
    seen = run(
        module,
        site.url,
        token,
        """
        const broker = new Broker({ url, token });
        const message = (one) => said.push([one.payloadText, JSON.parse(one.payloadText), one.payload]);
        broker.subscribe("orders", { from: "earliest" }, { message });
        await until(() => said.length > 8);
        const one = parse('{"id": "x", "payload": {"items": [1.0]}, "headers": {"payload": 2}}');
        finish([...said, [one.payloadText, 0, 0], [String(parse('{"payload_base64":"x"}').payloadText), 1, 1]]);
        """,
    )
    assert [text for text, _, _ in seen] == [*PAYLOADS, '"the last"', '{"items": [1.0]}', "undefined"]
    assert all(read == payload for _, read, payload in seen)


def test_publishes_with_a_key_survive_cuts_and_those_without_are_never_sent_twice(
    site: Site, token: str, module: Path
) -> None:
    make_topic()
    with cutting(site.port) as port:
        known, outcomes = run(
            module,
            f"ws://127.0.0.1:{port}/ws/broker/",
            token,
            """
            const broker = new Broker({ url, token, random: () => 0.001 });
            const keyed = [], plain = [];
            for (let n = 0; n < 150; n += 1) {
              keyed.push(broker.publish("orders", n, { idempotency_key: `k${n}` }).then((told) => told.message_id));
              plain.push(broker.publish("orders", -n - 1).then(() => "published", (error) => error.code));
            }
            finish([await Promise.all(keyed), await Promise.all(plain)]);
            """,
        )
    found = [json.loads(bytes(message.body)) for message in Message.objects.all()]
    assert len(set(known)) == 150
    assert sorted(n for n in found if n >= 0) == [*range(150)]
    assert len(found) == len(set(found))
    assert set(outcomes) <= {"published", "unknown"}  # how many of each is the cuts' to say
    assert {-n - 1 for n, outcome in enumerate(outcomes) if outcome == "published"} <= set(found)


def test_after_a_code_that_says_so_it_does_not_come_again(site: Site, token: str, module: Path) -> None:
    told = run(
        module,
        site.url,
        "wrong",
        """
        const broker = new Broker({ url, token });
        broker.subscribe("orders", {}, { error: ({ code }) => said.push(code) });
        const pending = broker.publish("orders", 1).catch(({ code }) => said.push(code));
        broker.addEventListener("closed", async ({ detail: { code, reconnect } }) => {
          await pending;
          await broker.publish("orders", 1).catch(({ code }) => said.push(code));
          finish([code, reconnect, said]);
        });
        """,
    )
    assert told == [4500, False, ["bad_token", "bad_token", "closed"]]


def test_a_subscription_that_is_refused_ends_and_the_others_do_not(ask: Ask) -> None:
    make_topic()
    told = ask(
        """
        const broker = new Broker({ url, token: async () => token });
        broker.subscribe("nowhere", {}, { error: ({ code }) => said.push(code) });
        broker.subscribe("orders", {}, { caughtUp: () => said.push("caught up") });
        await until(() => said.length === 2);
        finish(said.sort());
        """,
    )
    assert told == ["caught up", "topic_not_found"]


@contextmanager
def draining() -> Iterator[str]:
    """A server that always asks to come again."""
    with serve(lambda socket: socket.close(4001), "127.0.0.1", 0, subprotocols=[SUBPROTOCOL]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


def test_it_waits_ever_longer_and_at_random_before_it_comes_again(module: Path) -> None:
    with draining() as url:
        told = run(
            module,
            url,
            "",
            """
            const draws = [0.001, 0.0005];
            const random = () => { draws.push(draws.shift()); return draws.at(-1); };
            const broker = new Broker({ url, token, random });
            broker.addEventListener("closed", ({ detail }) => {
              said.push([detail.code, detail.reconnect, detail.in]);
              if (said.length === 8) finish(said);
            });
            """,
        )
    assert told == [[4001, True, wait] for wait in (0.5, 0.5, 2, 2, 8, 8, 30, 15)]
