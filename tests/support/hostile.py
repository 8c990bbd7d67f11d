"""Bodies that break parsers, and genuine bodies spoiled at one place."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import strategies as st

from tests.support.dialect_fixtures import Case

HOSTILE = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b'"text"',
    b"{",
    b"\xff\xfe{}",
    b'{"id":"a","id":"b","code":"CFM","orderId":"A","orderId":"B"}',
    b'{"id":NaN,"order":Infinity,"code":-Infinity}',
    b'{"orderId":"\\ud800","id":"\\udfff","code":"CFM"}',
    b'{"id":' + b"9" * 1_000_000 + b"}",
    b'{"id":1' + b"e" + b"9" * 400 + b"}",
    b"[" * 100_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"data":{"object":{"order_fulfillment_updated":{"order_id":"A","fulfillment_update":['
    + b",".join([b'{"fulfillment_uid":"a","new_state":"RESERVED"}'] * 5_000)
    + b']}}},"event_id":"e","type":"order.fulfillment.updated"}',
    b'{"__proto__":{"id":1},"constructor":null,"":""}',
    b'{"token":"eyJhbGciOiJub25lIn0.e30."}',
    b'{"token":"' + b"." * 100_000 + b'"}',
    b'{"token":{"token":{"token":null}}}',
)
"""Whole bodies."""

_WRONG: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    st.sampled_from(["", " ", "\0", "x" * 700, "0001-01-01T00:00:00+23:59", "2026-01-31T12:00:00.1234567891Z"]),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.sampled_from(["id", "status", "x"]), st.integers() | st.text(max_size=5), max_size=3),
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below: list[tuple[Any, ...]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        below += [(*path, key), *_places(item, (*path, key))]
    return below


@st.composite
def spoiled(draw: st.DrawFn, case: Case) -> bytes:
    """A genuine body with one to three places replaced or taken out, or cut off somewhere."""
    raw = case.raw
    document = orjson.loads(raw)
    if draw(st.booleans()):
        return raw[: draw(st.integers(0, len(raw) - 1))]
    for _ in range(draw(st.integers(1, 3))):
        places = _places(document)
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        holder = document
        for key in path:
            holder = holder[key]
        if draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = draw(_WRONG)
    try:
        return orjson.dumps(document)
    except TypeError:  # whole numbers beyond 64 bits are no JSON that this writer makes
        return repr(document).replace("'", '"').encode("utf-8", "backslashreplace")
