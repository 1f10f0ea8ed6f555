"""Strict JSON: what must not get into a frame."""

import contextlib
import json
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux.bff.strict_json import DEPTH_LIMIT, PoisonError, check_json


def depth(value: object) -> int:
    """How deep arrays and objects are nested."""
    if isinstance(value, dict):
        return 1 + max((depth(v) for v in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth(v) for v in value), default=0)
    return 0


def test_tombstone_is_poison() -> None:
    """A record without a value says nothing."""
    with pytest.raises(PoisonError, match="tombstone"):
        check_json(None)


@pytest.mark.parametrize("value", [b'"\xff"', b'{"a":"\xed\xa0\x80"}', b'"\xc0\x80"', b'"\xe2\x82'])
def test_bad_utf8_is_poison(value: bytes) -> None:
    """One bad byte would disconnect every client of the room."""
    with pytest.raises(PoisonError, match="not UTF-8"):
        check_json(value)


def test_depth_is_capped_exactly() -> None:
    """As deep as the limit is fine, one more is not; brackets in strings do not count."""
    fine = b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT
    assert check_json(fine) == fine
    assert check_json(b'{"a":"' + b'[{\\"' * 500 + b'"}')
    wide = b"[" + b"[],{}," * 500 + b"0]"
    assert check_json(wide) == wide
    for deep in (b"[" + fine + b"]", b'{"a":' * 65 + b"0" + b"}" * 65, b"[" * 40_000):
        with pytest.raises(PoisonError, match="nested deeper"):
            check_json(deep)


nested = st.recursive(
    st.none() | st.text(alphabet='[]{}"\\a', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='[{"\\', max_size=3), inner),
    max_leaves=30,
)


@given(nested, st.integers(50, 80))
def test_agrees_with_the_parsed_depth(value: object, around: int) -> None:
    """The scan of the bytes finds the depth that a parser would."""
    for _ in range(around):
        value = [value]
    text = json.dumps(value).encode()
    try:
        check_json(text)
        accepted = True
    except PoisonError:
        accepted = False
    assert accepted == (depth(value) <= DEPTH_LIMIT)


@pytest.mark.parametrize("unit", [b'\\"', b'"', b"\\", b'"\\', b"[]", b'{"":[]},'])
def test_hostile_text_is_scanned_in_linear_time(unit: bytes) -> None:
    """A megabyte of quotes and backslashes costs no more than milliseconds, not minutes."""
    value = b"[]" * 100 + b'"' + unit * (1_000_000 // len(unit))
    begun = time.process_time()
    with contextlib.suppress(PoisonError, msgspec.DecodeError):
        msgspec.json.decode(check_json(value))
    assert time.process_time() - begun < 5
