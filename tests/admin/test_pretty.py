import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from datapunk_broker.admin.pretty import compact, pretty

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 0, 3]), st.booleans())
def test_what_is_laid_out_or_packed_says_the_same(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    laid_out, whole = pretty(text, 10**9)
    assert whole
    assert laid_out == json.dumps(value, indent=2, ensure_ascii=ascii_only)
    assert compact(text) == json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)


@given(JSON, st.integers(min_value=0, max_value=50))
def test_no_more_is_written_than_asked_for(value: Any, limit: int) -> None:
    text = json.dumps(value)
    everything, _ = pretty(text, 10**9)
    some, whole = pretty(text, limit)
    assert some == everything[:limit]
    assert whole is (len(everything) <= limit)


def test_deep_nesting_writes_no_more_than_the_limit() -> None:
    text = "[" * 500 + ",".join("1" * 200_000) + "]" * 500
    some, whole = pretty(text, 100_000)
    assert (len(some), whole) == (100_000, False)
