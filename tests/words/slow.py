"""Matchers that are slow and obvious, to agree with, and a count of the work that others do."""

import sys
from collections.abc import Callable
from functools import cache
from types import FrameType
from typing import Any

from datapunk_broker.matching import Rule, compile_rules
from datapunk_broker.states import TopicType


def matched(kind: TopicType, rule: Rule, *, key: str = "", headers: dict[str, Any] | None = None) -> bool:
    return compile_rules(kind, [rule]).match(key, headers or {}) == (rule.subscription,)


def slowly_matches(pattern: str, key: str) -> bool:
    wanted = pattern.split(".") if pattern else []
    found = key.split(".") if key else []

    @cache
    def fits(i: int, j: int) -> bool:
        if i == len(wanted):
            return j == len(found)
        if wanted[i] == "#":
            return fits(i + 1, j) or (j < len(found) and fits(i, j + 1))
        return j < len(found) and wanted[i] in ("*", found[j]) and fits(i + 1, j + 1)

    return fits(0, 0)


def slowly_compares(arguments: dict[str, Any], headers: dict[str, Any]) -> bool:
    mode = arguments.get("x-match", "all")
    compared = [
        (name, wanted)
        for name, wanted in arguments.items()
        if name != "x-match" and (mode.endswith("-with-x") or not name.startswith("x-"))
    ]
    hits = [n in headers and (wanted is None or same_json(wanted, headers[n])) for n, wanted in compared]
    return any(hits) if mode.startswith("any") else all(hits)


def same_json(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def work(call: Callable[[], object]) -> int:
    """Count the lines of Python that a call runs: the same on every machine."""
    lines = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines
