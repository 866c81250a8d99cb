"""Lay JSON out in lines without reading it: every digit and escape stays, and no more is written than asked for."""

import re
from collections.abc import Iterator

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}:,]|[^\s\[\]{}:,"]+')
_OPENING, _CLOSING = ("[", "{"), ("]", "}")
INDENT = "  "


def pretty(text: str, limit: int) -> tuple[str, bool]:
    """Return valid JSON with a line for each member, and whether that is all of it: ``limit`` characters at most."""
    parts: list[str] = []
    size = 0
    for part in _laid_out(text):
        parts.append(part)
        size += len(part)
        if size > limit:
            return "".join(parts)[:limit], False
    return "".join(parts), True


def compact(text: str) -> str:
    """Return valid JSON without the space between its tokens."""
    return "".join(token[0] for token in _TOKEN.finditer(text))


def _laid_out(text: str) -> Iterator[str]:
    depth, before = 0, ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in _CLOSING:
            depth -= 1
        yield _space(before, token, depth) + token
        if token in _OPENING:
            depth += 1
        before = token


def _space(before: str, token: str, depth: int) -> str:
    if before == ":":
        return " "
    opens = before in _OPENING and token not in _CLOSING
    closes = token in _CLOSING and before not in _OPENING
    return "\n" + INDENT * depth if opens or closes or before == "," else ""
