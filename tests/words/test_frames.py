"""The frames of the WebSocket protocol, read and written."""

import json
from datetime import UTC, datetime

import msgspec
import pytest

from datapunk_broker import frames
from datapunk_broker.frames import CloseCode, FrameInvalidError, parse

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def read(text: str) -> frames.AnyClientFrame:
    return parse(text, limit=10_000)


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ('{"type":"hello"}', frames.Hello()),
        ('{"type":"hello","token":"t"}', frames.Hello("t")),
        ('{"type":"ping"}', frames.Ping()),
        ('{"type":"subscribe","sid":"s","topic":"t"}', frames.Subscribe("s", "t")),
        (
            '{"type":"subscribe","sid":7,"topic":"t","from":"earliest","credit":5,"routing_key":"a.*","headers":{}}',
            frames.Subscribe(7, "t", start="earliest", credit=5, routing_key="a.*", headers={}),
        ),
        (
            '{"type":"subscribe","sid":7,"topic":"t","from":{"position":0}}',
            frames.Subscribe(7, "t", start=frames.Point(position=0)),
        ),
        (
            '{"type":"subscribe","sid":7,"topic":"t","from":{"time":"2026-01-02T13:00:00+01:00"}}',
            frames.Subscribe(7, "t", start=frames.Point(time=NOON)),
        ),
        ('{"type":"subscribe","sid":7,"subscription":"audit"}', frames.Subscribe(7, subscription="audit")),
        ('{"type":"ack","sid":7,"ack_ids":["a"]}', frames.Ack(7, ["a"])),
        ('{"type":"nack","sid":7,"ack_ids":["a"],"delay":2}', frames.Nack(7, ["a"], 2.0)),
        ('{"type":"extend","sid":7,"ack_ids":[],"by":1.5}', frames.Extend(7, [], 1.5)),
        ('{"type":"credit","sid":7,"limit":99999999999999999999}', frames.GrantCredit(7, 99999999999999999999)),
        ('{"type":"unsubscribe","sid":"7"}', frames.Unsubscribe("7")),
    ],
)
def test_a_frame_is_read_with_its_defaults(text: str, frame: frames.AnyClientFrame) -> None:
    assert read(text) == frame


def test_a_payload_keeps_its_bytes() -> None:
    frame = read('{"type":"publish","id":1,"topic":"t","payload": {"b": 1.10e2 ,"a":[ ]},"ttl":60}')

    assert isinstance(frame, frames.Publish)
    assert bytes(frame.payload) == b'{"b": 1.10e2 ,"a":[ ]}'
    assert (frame.ttl, frame.delay, frame.priority, frame.headers) == (60.0, None, 0, {})


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"ping","of_the_future":1}',
        '{"type":"publish","id":1,"topic":"t","payload":1,"prioritty":1}',
        '{"type":"hello","token":"' + "x" * 1001 + '"}',
        '{"type":"unsubscribe","sid":"' + "x" * 101 + '"}',
        '{"type":"unsubscribe","sid":true}',
        '{"type":"unsubscribe","sid":1.5}',
        '{"type":"unsubscribe","sid":99999999999999999}',
        '{"type":"ack","sid":1,"ack_ids":[' + '"a",' * 1000 + '"a"]}',
        '{"type":"ack","sid":1,"ack_ids":["' + "x" * 101 + '"]}',
        '{"type":"nack","sid":1,"ack_ids":[],"delay":-1}',
        '{"type":"extend","sid":1,"ack_ids":[],"by":3155760001}',
        '{"type":"subscribe","sid":1,"topic":"t","from":{"position":9223372036854775808}}',
        '{"type":"subscribe","sid":1,"topic":"t","from":{"time":1e300}}',
        '{"type":"subscribe","sid":1,"topic":"t","from":{"time":"2026-01-02"}}',
        '{"type":"subscribe","sid":1,"topic":"t","from":{"offset":1}}',
        '{"type":"publish","id":1,"topic":"t"}',
        '{"type":"publish","id":1,"topic":"t","payload":1,"priority":1.5}',
        '\ufeff{"type":"ping"}',
        '{"type":"unsubscribe","sid":"\\ud800"}',
    ],
)
def test_what_is_out_of_bounds_is_refused(text: str) -> None:
    with pytest.raises(FrameInvalidError):
        parse(text, limit=100_000)


def test_a_frame_is_measured_in_bytes_before_it_is_read() -> None:
    exact = json.dumps({"type": "hello", "token": "ä"}, ensure_ascii=False)
    size = len(exact.encode())

    assert parse(exact, limit=size) == frames.Hello("ä")
    with pytest.raises(FrameInvalidError, match=f"{size - 1} bytes"):
        parse(exact, limit=size - 1)
    with pytest.raises(FrameInvalidError, match="text"):
        parse(None, limit=size)


@pytest.mark.parametrize(
    ("frame", "written"),
    [
        (
            frames.Welcome("c", frames.Limits(1, 2, 3, 4.0, 5.0)),
            {
                "type": "welcome",
                "connection": "c",
                "limits": {
                    "subscriptions": 1,
                    "credit": 2,
                    "frame_bytes": 3,
                    "frames_per_second": 4.0,
                    "ping_seconds": 5.0,
                },
            },
        ),
        (frames.Subscribed("s", None, None), {"type": "subscribed", "sid": "s", "oldest": None, "head": None}),
        (frames.Error("c", "d"), {"type": "error", "code": "c", "detail": "d"}),
        (
            frames.Error("c", "d", id=0, retry_after=1.0),
            {"type": "error", "code": "c", "detail": "d", "id": 0, "retry_after": 1.0},
        ),
        (frames.Goodbye(4001, reconnect=True), {"type": "goodbye", "code": 4001, "reconnect": True}),
        (frames.Pong(), {"type": "pong"}),
    ],
)
def test_the_servers_frames_say_what_the_contract_says(frame: frames.ServerFrame, written: object) -> None:
    assert json.loads(frames.write(frame)) == written


def test_a_message_is_written_once_and_placed_for_each_reader() -> None:
    item = frames.Item("id", "orders", "eu", {"a": 1}, NOON, **frames.shown(b'{"x": 1}', "application/json"))
    text = frames.write_item(item)

    frame = frames.write_messages('s"', [frames.place(2, 1, text), frames.place(None, None, text)])

    common = {
        "id": "id",
        "topic": "orders",
        "routing_key": "eu",
        "headers": {"a": 1},
        "published_at": "2026-01-02T12:00:00Z",
        "payload": {"x": 1},
    }
    assert json.loads(frame) == {
        "type": "messages",
        "sid": 's"',
        "items": [{"position": 2, "previous": 1, **common}, {"position": None, "previous": None, **common}],
    }
    assert '{"x": 1}' in frame


def test_a_body_that_is_not_json_is_shown_as_text_or_base64() -> None:
    assert frames.shown(b"plain", "text/plain") == {"payload": "plain", "content_type": "text/plain"}
    assert frames.shown(b"\xff", "x/y") == {"payload_base64": "/w==", "content_type": "x/y"}
    assert bytes(frames.shown(b"[1 ]", "application/json")["payload"]) == b"[1 ]"
    assert isinstance(frames.shown(b"1", "application/json")["payload"], msgspec.Raw)


def test_who_may_come_again_is_told_by_the_code() -> None:
    assert [code.value for code in CloseCode if code.reconnect] == [4001, 4008, 4012, 4013, 4014]
    assert [code.value for code in CloseCode if not code.reconnect] == [4500, 4501, 4502, 4505, 4507]
