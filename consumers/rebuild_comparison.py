"""A rebuilt trail held against the outcomes that were published: where would this release have decided otherwise?

Both are read in the order of their numbers, a page at a time. After the first difference every hash differs, as each
covers the one before; so from there on rows count as different when they *say* something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from backbone.eventlog.port import EventLog
from backbone.eventlog.topic_reading import read_stretch
from backbone.store.engine import Store
from backbone.store.tables import trail
from backbone.store.trail_rows import ROW_COLUMNS, read_row
from consumers.published_tails import read_document
from schemas.outcomes import TrailRow, hashed_fields

_PAGE_ROWS = 1000
_NEEDED = {"order_id", "event_id", "hash"}
_TOLD = ("verdict", "reason", "reported_status", "from_status", "to_status", "inferred")


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that was published otherwise than it was rebuilt. None: there is no such row."""

    seq: int
    order_id: str
    event_id: str
    published: Mapping[str, Any] | None
    rebuilt: Mapping[str, Any] | None


@dataclass(slots=True)
class Comparison:
    """What one partition's comparison found."""

    first_seq: int = 0
    """The first number that the topic still has; 0 for an empty topic."""
    last_seq: int = 0
    """The last number that was published, as far as the topic tells."""
    compared: int = 0
    strangers: int = 0
    """Records in the topic that are no outcomes of the partition: somebody else may write there."""
    differing: int = 0
    """Rows that say something else, or are on one side only."""
    missing: int = 0
    """Numbers that the topic leaves out after its first one, or before it where it never lost its beginning."""
    first_missing: int | None = None
    first: Difference | None = None
    first_hash: int | None = None
    """The first number whose hash differs."""

    @property
    def same(self) -> bool:
        """Whether all that was compared is the same to the byte."""
        return self.first_hash is None and not self.missing


async def compare_outcomes(
    log: EventLog, topic: str, store: Store, partition: int, *, up_to: int | None = None
) -> Comparison:
    """Compares one partition. Rows that are published beyond `up_to` are not looked at; without it they count as
    missing in the store. Raises LogUnavailable, LogGap, StoreUnavailable.
    """
    found, pages = Comparison(), _Pages(store, partition)
    bounds = (await log.bounds(topic, [partition]))[partition]
    async with aclosing(read_stretch(log, topic, partition, bounds)) as batches:
        async for records in batches:
            for record in records:
                document = read_document(record)
                if document is None or not document.keys() >= _NEEDED:
                    found.strangers += 1
                    continue
                seq = document["seq"]
                if seq <= found.last_seq or (up_to is not None and seq > up_to):
                    continue
                # Where retention took the beginning, nobody can say how the topic began.
                if seq > found.last_seq + 1 and (found.last_seq or bounds.start == 0):
                    found.missing += seq - found.last_seq - 1
                    found.first_missing = found.first_missing or found.last_seq + 1
                found.first_seq, found.last_seq = found.first_seq or seq, seq
                _compare(found, document, await pages.row(seq))
    return found


def _compare(found: Comparison, document: dict[str, Any], ours: tuple[TrailRow, bytes] | None) -> None:
    found.compared += 1
    if ours is not None and ours[1].hex() == document["hash"]:
        return
    if found.first_hash is None:
        found.first_hash = document["seq"]
    rebuilt = None if ours is None else hashed_fields(ours[0])
    if rebuilt is not None and all(rebuilt[name] == value for name, value in document.items() if name in rebuilt):
        return
    found.differing += 1
    if found.first is None:
        found.first = Difference(
            document["seq"], document["order_id"], document["event_id"], _told(document), _told(rebuilt)
        )


def _told(document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if document is None:
        return None
    return {"order_id": document["order_id"], "event_id": document["event_id"], **{n: document.get(n) for n in _TOLD}}


class _Pages:
    """The store's rows by number, asked for in ascending order."""

    def __init__(self, store: Store, partition: int) -> None:
        self._store = store
        self._partition = partition
        self._page: dict[int, tuple[TrailRow, bytes]] = {}
        self._after_page = 1
        """The first number behind the page in hand."""

    async def row(self, seq: int) -> tuple[TrailRow, bytes] | None:
        if seq >= self._after_page:
            async with self._store.reading() as connection:
                rows = await connection.execute(
                    select(*ROW_COLUMNS)
                    .where(trail.c.partition == self._partition, trail.c.seq >= seq, trail.c.seq < seq + _PAGE_ROWS)
                    .order_by(trail.c.seq)
                )
                read = [read_row(values) for values in rows]
            self._page = {row.seq: (row, bytes(row_hash)) for row, row_hash in read}
            self._after_page = seq + _PAGE_ROWS
        return self._page.get(seq)
