"""Bytes are JSON or they are not, strictly by RFC 8259, and nothing that arrives breaks the judge."""

import json
from typing import NoReturn

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload import MAX_DEPTH, judge

VALID = [
    b"null",
    b" \t\r\n[ ] ",
    b'{"":0,"":1}',
    b'{"a":1,"a":2}',
    b"-0",
    b"-0.0e-0",
    b"1E+2",
    b"1e999",
    b"-1e999",
    b"1e-999",
    b"9" * 5000,
    b"123456789012345678901234567890",
    b"0.1234567890123456789012345678901234567890",
    b'"\\u0000"',
    b'"\x7f"',
    b'"\\ud83d\\ude00"',
    b'"\\ud800"',
    b'"\\uDFFF\\uD800"',
    b'"\\ud800\\u0041"',
    b'"\\ud800\\ud83d\\ude00"',
    b'"\\\\ud800"',
    b'"\\\\\\ud800"',
    b'"\\ud83d\\\\ude00"',
    b'{"\\udead":"\\uDEAD"}',
    '"\u00e9\u2028\U0010ffff"'.encode(),
    b'"\\"\\\\\\/\\b\\f\\n\\r\\t"',
    b'"[[["',
]

INVALID = [
    b"",
    b" ",
    b"nul",
    b"True",
    b"NaN",
    b"[NaN]",
    b"Infinity",
    b"-Infinity",
    b"01",
    b"-",
    b"+1",
    b".5",
    b"1.",
    b"1e",
    b"0x1",
    b"1_000",
    b"--1",
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    b"[1",
    b"]",
    b"[1]]",
    b"{}{}",
    b"{} x",
    b"1\x00",
    b"1\x0b",
    b"\xc2\xa01",
    b"\xef\xbb\xbf1",
    b"/**/1",
    b'{"a"}',
    b'{"a":}',
    b'{"a":1,}',
    b"{1:2}",
    b"{a:1}",
    b"{'a':1}",
    b'"',
    b'"\n"',
    b'"\x00"',
    b'"\\x41"',
    b'"\\u12G4"',
    b'"\\ud80"',
    b'"\\ud8',
    b'"\\uD8',
    b'"\\',
    b'"\\ud800',
    b"\\ud800",
    b"[\\ud800]",
    b'"\xff"',
    b'"\xc0\x80"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"\xe2\x82"',
    '"a"'.encode("utf-16"),
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    b'{"a":[' * 251 + b"]}" * 251,
]


@pytest.mark.parametrize("body", VALID, ids=lambda body: repr(body[:20]))
def test_json_is_taken(body: bytes) -> None:
    judge(body)
    judge(b'{"in":[' + body + b"]}")


@pytest.mark.parametrize("body", INVALID, ids=lambda body: repr(body[:20]))
def test_what_is_not_json_is_refused(body: bytes) -> None:
    assert not is_taken(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b"[" + b"[]," * 5000 + b"{}]",
        b'{"k":"' + b"[" * 5000 + b'"}',
        b'["' + rb"\"[{\\" * 2000 + b'",{"[":"{"}]',
    ],
    ids=["deep", "wide", "in a string", "behind escapes"],
)
def test_only_brackets_that_are_open_together_count_as_depth(body: bytes) -> None:
    judge(body)


@pytest.mark.parametrize("tail", [b"", b',"\\\\"', b',"\\\\\\""', b',"]]]"'])
def test_closing_brackets_in_strings_do_not_hide_how_deep_it_is(tail: bytes) -> None:
    assert not is_taken(b'["]"' + tail + b',"]' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"]]")
    assert not is_taken(b'["' + b"]" * 600 + b'"' + tail + b"," + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"]")


signs = st.sampled_from('[]{},:"\\01-.e a\n\x00\u00e9')
pieces = ["\\u", "d800", "dc00", "\\ud83d", "\\ude00", "\\\\", '\\"', "E5", "true", "null", "NaN", '"a"', '"a":', "1.5"]
bits = signs | st.sampled_from(pieces)
texts = st.lists(bits, max_size=12).map("".join)


@given(texts | texts.map('"{}"'.format) | texts.map("[{}]".format))
@example('"\\ud83d\\u"')
@example('"\\ud8\\\\\\udc00"')
def test_the_judge_agrees_with_a_strict_standard_library(text: str) -> None:
    assert is_taken(text.encode()) is is_json(text)


@given(st.binary(max_size=30))
def test_no_bytes_break_the_judge(body: bytes) -> None:
    assert is_taken(body) in (True, False)


def is_taken(body: bytes) -> bool:
    try:
        judge(body)
    except PayloadInvalidError:
        return False
    return True


def is_json(text: str) -> bool:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True
