from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import MalformedEvent
from schemas.storable import DEEPEST
from service.bodies.documents import read_document, read_object

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(-1e18, 1e18) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=10,
)


def nested(depth: int) -> bytes:
    """A list nested so deep."""
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"nul", b"NaN", b"[Infinity]", b'"\xff"', b'"\\ud800"', b'"a\\u0000b"', b'{"\\u0000":1}',
        b"9223372036854775808", b"-9223372036854775809", b"1e19", b"1e400", b"[[18446744073709551615]]",
        nested(DEEPEST + 1), nested(5000), b'{"a":{"b":["\\u0000"]}}', b"\xef\xbb\xbf{}",
    ],
)  # fmt: skip
def test_what_the_store_cannot_hold_is_refused(raw: bytes) -> None:
    """NUL, surrogates, numbers beyond 64 bits, deep nesting and non-JSON never pass the door."""
    with pytest.raises(MalformedEvent):
        read_document(raw)


@pytest.mark.parametrize(
    "raw", [nested(DEEPEST), b"9223372036854775807", b"-9223372036854775808", b'"\\ud83d\\ude00"', b'"\\\\u0000"']
)
def test_what_is_just_within_the_limits_passes(raw: bytes) -> None:
    """The limits are where they are said to be; a backslash and the letters u0000 are not a NUL."""
    read_document(raw)


def test_last_of_duplicate_keys_counts() -> None:
    """There is one reading of a body, and it is the last key's."""
    assert read_object(b'{"a":1,"a":2}') == {"a": 2}


@given(JSON)
def test_documents_without_oddities_pass_unchanged(value: object) -> None:
    """Whatever has no NUL in it comes back as it was."""
    raw = orjson.dumps(value)
    if b"\\u0000" in raw:
        return
    assert orjson.dumps(read_document(raw)) == raw


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_malformed(raw: bytes) -> None:
    """Nothing else is ever raised."""
    try:
        read_document(raw)
    except MalformedEvent:
        return
