"""Bodies are packed where that pays, and unpacked within bounds."""

import threading

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from datapunk_broker.exceptions import PayloadInvalidError
from datapunk_broker.payload import compress, decompress
from datapunk_broker.states import Encoding

BODY = b'{"name":"customer"}' * 100


def test_a_body_is_packed_from_the_threshold_up() -> None:
    packed, encoding = compress(BODY, len(BODY))

    assert encoding is Encoding.ZSTD
    assert len(packed) < len(BODY)
    assert decompress(packed, encoding, limit=len(BODY)) == BODY


@pytest.mark.parametrize("threshold", [None, 0, len(BODY) + 1])
def test_a_body_below_the_threshold_or_without_one_stays_as_it_is(threshold: int | None) -> None:
    assert compress(BODY, threshold) == (BODY, Encoding.IDENTITY)


@pytest.mark.parametrize("body", [b"", b"7", bytes(range(256))])
def test_a_body_that_would_not_shrink_stays_as_it_is(body: bytes) -> None:
    assert compress(body, 1) == (body, Encoding.IDENTITY)


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_what_was_packed_unpacks_to_the_same_bytes(piece: bytes, times: int) -> None:
    body = piece * times
    packed, encoding = compress(body, 1)

    assert decompress(packed, encoding, limit=len(body)) == body


def test_a_bomb_is_refused_by_its_label_and_one_without_a_label_by_its_size() -> None:
    size = 50_000_000
    labelled = zstandard.ZstdCompressor().compress(bytes(size))
    compressor = zstandard.ZstdCompressor().compressobj()
    unlabelled = compressor.compress(bytes(size)) + compressor.flush()

    for bomb in (labelled, unlabelled):
        assert len(bomb) < 10_000
        with pytest.raises(PayloadInvalidError, match="1000"):
            decompress(bomb, Encoding.ZSTD, limit=1000)
    with pytest.raises(PayloadInvalidError, match="1000"):
        decompress(bytes(1001), Encoding.IDENTITY, limit=1000)


def test_what_is_not_a_packed_body_is_refused() -> None:
    packed, encoding = compress(BODY, 1)

    for broken in (b"", b"junk", packed[:-1], packed[:9], packed + b"x", packed + packed):
        with pytest.raises(PayloadInvalidError):
            decompress(broken, encoding, limit=10_000)


def test_threads_pack_and_unpack_at_once() -> None:
    bodies = [bytes([number]) * 5000 for number in range(8)]
    wrong: list[int] = []

    def pack(body: bytes) -> None:
        for _ in range(200):
            packed, encoding = compress(body, 1)
            if decompress(packed, encoding, limit=5000) != body:
                wrong.append(body[0])

    threads = [threading.Thread(target=pack, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
