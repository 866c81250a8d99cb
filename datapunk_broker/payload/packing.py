"""Pack a body for the database, and unpack it within bounds."""

import threading

import zstandard

from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.states import Encoding

LEVEL = 3


class _Zstd(threading.local):
    """A thread's own: the objects are not thread-safe, and making one costs twice what packing 1 KiB does."""

    def __init__(self) -> None:
        self.pack = zstandard.ZstdCompressor(level=LEVEL).compress
        self.unpack = zstandard.ZstdDecompressor().decompress


_zstd = _Zstd()


def compress(body: bytes, threshold: int | None) -> tuple[bytes, Encoding]:
    """Pack a body of at least ``threshold`` bytes, where that makes it smaller; None or 0 packs nothing."""
    if threshold and len(body) >= threshold:
        packed = _zstd.pack(body)
        if len(packed) < len(body):
            return packed, Encoding.ZSTD
    return body, Encoding.IDENTITY


def decompress(body: bytes, encoding: Encoding, *, limit: int) -> bytes:
    """Return a stored body as it was published; over ``limit`` bytes it is refused (PayloadInvalidError)."""
    if encoding == Encoding.IDENTITY:
        _check_size(len(body), limit)
        return body
    try:
        _check_size(zstandard.frame_content_size(body), limit)
        return _zstd.unpack(body, max_output_size=max(limit, 1), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise PayloadInvalidError("body", f"cannot be unpacked to at most {limit} bytes: {error}") from error


def unpacked_size(body: bytes, encoding: Encoding) -> int:
    """Return how many bytes a stored body has when it is unpacked, as far as it says so."""
    if encoding == Encoding.IDENTITY:
        return len(body)
    try:
        return max(zstandard.frame_content_size(body), len(body))
    except zstandard.ZstdError:
        return len(body)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise PayloadInvalidError("body", f"has {size} bytes unpacked; {limit} at most")
