"""Requests as they come over the wire, from curl and from worse."""

import json
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from datapunk_broker import broker
from datapunk_broker.conf import SubscriptionConfig, TopicConfig
from tests.api.serving import Server
from tests.api.talk import ROOT

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE = 1024 * 1024


class Wire:
    """Sends bytes, and reads one response a request."""

    def __init__(self, server: Server, token: str) -> None:
        self.address = server.url.removeprefix("http://")
        self.token = token

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> tuple[int, dict[str, str], Any]:
        """Send a request with these header lines; return status, headers and JSON."""
        given = [f"Host: {self.address}", f"Authorization: Token {self.token}", "Connection: close", *headers]
        head = f"{method} {ROOT}{path} HTTP/1.1\r\n" + "".join(f"{line}\r\n" for line in given) + "\r\n"
        host, _, port = self.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            with suppress(ConnectionError):  # it may be answered before it has sent all
                connection.sendall(head.encode("latin-1") + body)
            return read(b"".join(iter(lambda: connection.recv(65536), b"")))


def read(response: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(status.split()[1]), headers, json.loads(body) if body else None


@pytest.fixture
def wire(server: Server, token: str) -> Iterator[Wire]:
    broker.create_topic(TopicConfig("orders"))
    broker.create_subscription(SubscriptionConfig("audit", "orders", transport="pull"))
    return Wire(server, token)


JSON = "Content-Type: application/json"


def test_what_curl_sends_is_published(wire: Wire) -> None:
    body = b'{"payload": {"id": 7}}'

    status, headers, answer = wire.ask(
        "POST",
        "topics/orders/messages/",
        JSON,
        "Accept: */*",
        "User-Agent: curl/8",
        f"Content-Length: {len(body)}",
        body=body,
    )

    assert (status, headers["content-type"], answer["deliveries"]) == (201, "application/json", 1)


def test_what_curl_sends_without_a_type_is_told_which_to_send(wire: Wire) -> None:
    body = b'{"payload": 1}'

    status, _, answer = wire.ask(
        "POST",
        "topics/orders/messages/",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
        body=body,
    )

    assert (status, answer["code"]) == (415, "unsupported_media_type")


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def test_a_body_in_chunks_is_read(wire: Wire) -> None:
    body = chunked(b'{"payl', b'oad": "x', b'y"}')

    assert wire.ask("POST", "topics/orders/messages/", JSON, "Transfer-Encoding: chunked", body=body)[0] == 201
    assert [message.payload for message in broker.pull("audit")] == ["xy"]


def test_a_body_in_chunks_that_announces_no_length_is_bounded_all_the_same(wire: Wire) -> None:
    body = chunked(b'{"payload": "', *[b"x" * MEGABYTE] * 17, b'"}')

    status, _, answer = wire.ask("POST", "topics/orders/messages/", JSON, "Transfer-Encoding: chunked", body=body)

    assert (status, answer["code"]) == (413, "message_too_large")


@pytest.mark.parametrize(("size", "status"), [(MEGABYTE, 201), (MEGABYTE + 1, 413)])
def test_a_megabyte_over_the_wire(wire: Wire, size: int, status: int) -> None:
    body = b'{"payload": "' + b"x" * (size - 2) + b'"}'

    assert wire.ask("POST", "topics/orders/messages/", JSON, f"Content-Length: {len(body)}", body=body)[0] == status


def test_names_of_headers_have_no_case(wire: Wire) -> None:
    body = b'{"payload": 1}'
    lines = ("content-type: APPLICATION/JSON; charset=UTF-8", "idempotency-KEY: k", f"content-length: {len(body)}")

    statuses = [wire.ask("POST", "topics/orders/messages/", *lines, body=body)[0] for _ in range(2)]

    assert statuses == [201, 200]


def test_an_event_comes_in_headers(wire: Wire) -> None:
    lines = ("ce-id: 1", "CE-Source: /s%C3%BC", "ce-type: t", "ce-specversion: 1.0", "Content-Type: image/png")

    assert wire.ask("POST", "topics/orders/messages/", *lines, "Content-Length: 2", body=b"\x00\xff")[0] == 201

    status, _, answer = wire.ask("POST", "subscriptions/audit/pull/", JSON, "Content-Length: 2", body=b"{}")
    [message] = answer["messages"]
    assert status == 200
    assert message["headers"]["ce-source"] == "/sü"
    assert (message["payload_base64"], message["content_type"]) == (b64encode(b"\x00\xff").decode(), "image/png")


@pytest.mark.parametrize("value", ["\xff", "%ff", "a%"])
def test_an_event_with_a_header_that_is_no_text_is_refused(wire: Wire, value: str) -> None:
    lines = (f"ce-id: {value}", "ce-source: /s", "ce-type: t", "ce-specversion: 1.0", JSON, "Content-Length: 1")

    status, _, answer = wire.ask("POST", "topics/orders/messages/", *lines, body=b"1")

    assert (status, answer["code"]) == (400, "payload_invalid")


@pytest.mark.parametrize(
    "path",
    [
        "topics/%00/",
        "topics/%ff/",
        "topics/..%2f/",
        "topics/?cursor=%00",
        "topics/?page_size=%ff",
        "nowhere?x=%",
        "%2e%2e/x",
    ],
)
def test_an_address_that_is_odd_is_refused(wire: Wire, path: str) -> None:
    status, headers, answer = wire.ask("GET", path)

    assert status in {400, 404}
    assert headers["content-type"] == "application/problem+json"
    assert answer["code"]


def test_a_body_that_ends_early_is_no_error_of_ours(wire: Wire) -> None:
    host, _, port = wire.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST {ROOT}topics/orders/messages/ HTTP/1.1\r\nHost: {wire.address}\r\n"
        head += f"Authorization: Token {wire.token}\r\n{JSON}\r\nContent-Length: 100\r\n\r\n"
        connection.sendall(head.encode() + b'{"payload":')

    assert wire.ask("GET", "topics/")[0] == 200
