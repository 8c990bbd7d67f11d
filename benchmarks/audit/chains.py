"""A store whose chains are good, of any length: copies of a small stretch of the story, hashed anew one after another.

Order ids, receipt digests, numbers and offsets differ from copy to copy; times, payloads and their salts stay, so all
that `audit verify` compares fits: rows, hashes, payload digests, orders, receipts, heads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from backbone.store.bulk import insert_rows
from backbone.store.engine import Store
from backbone.store.tables import metadata, offsets
from benchmarks.apply.prepared import COPIED, UPSERTED, PreparedBatch
from schemas.canonical import GENESIS
from schemas.outcomes import STORED_NAMES, hash_values

_TABLES: dict[str, tuple[str, ...]] = {**COPIED, **UPSERTED}
_NAMES = frozenset({"order_id", "digest", "seq", "offset", "first_offset", "last_offset"})
_MOVED = {
    table: [(place, name) for place, name in enumerate(columns) if name in _NAMES] for table, columns in _TABLES.items()
}
"""Where each table has what differs from copy to copy."""
_AT_ONCE = 2000

Rows = dict[str, list[tuple[Any, ...]]]


class ChainCopies:
    """The copies of one partition's rows, in order; each continues the chain of the one before it."""

    def __init__(self, base: PreparedBatch) -> None:
        if base.start != 0:
            raise ValueError("a copy is made of a partition's whole log")
        self._base = base
        self._rows: Rows = {**base.copied, **{name: _transposed(columns) for name, columns in base.upserted.items()}}
        self._length = len(base.copied["trail"])
        self._copies = 0
        self.hash = GENESIS

    @property
    def head(self) -> tuple[Any, ...]:
        """The partition's offsets row: partition, next, watermark, published, seq, hash."""
        seq, following = self._length * self._copies, self._base.end * self._copies
        return (self._base.partition, following, self._base.head[1], seq, seq, self.hash)

    def rows(self) -> Rows:
        """The next copy's rows of each table."""
        copy, self._copies = self._copies, self._copies + 1
        made = {name: [self._renamed(name, row, copy) for row in rows] for name, rows in self._rows.items()}
        made["trail"] = list(self._chained(made["trail"]))
        return made

    def _renamed(self, table: str, row: tuple[Any, ...], copy: int) -> tuple[Any, ...]:
        values = list(row)
        for place, name in _MOVED[table]:
            values[place] = self._moved(name, values[place], copy)
        return tuple(values)

    def _moved(self, name: str, value: Any, copy: int) -> Any:
        if name == "order_id":
            return f"{value}.{copy}"
        if name == "digest":
            return hashlib.md5(f"{value}{copy}".encode()).hexdigest()
        return value + copy * (self._length if name == "seq" else self._base.end)

    def _chained(self, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        columns = _TABLES["trail"]
        order = [columns.index(name) for name in STORED_NAMES]
        for row in rows:
            self.hash = hash_values(self.hash, [row[place] for place in order])
            yield (*row[:-1], self.hash)


def _transposed(columns: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*columns, strict=True))


async def fill_chains(store: Store, base: Sequence[PreparedBatch], *, rows: int) -> int:
    """Fills an empty, migrated store until it has at least so many trail rows; tells how many. Either database."""
    chains, done = [ChainCopies(batch) for batch in base], 0
    while done < rows:
        async with store.transaction() as connection:
            for chain in chains:
                copy = chain.rows()
                done += len(copy["trail"])
                for name, made in copy.items():
                    table = metadata.tables[name]
                    for start in range(0, len(made), _AT_ONCE):
                        await insert_rows(connection, table, _TABLES[name], made[start : start + _AT_ONCE])
    columns = ("partition", "next", "watermark_ms", "published", "seq", "hash")
    async with store.transaction() as connection:
        await insert_rows(connection, offsets, columns, [chain.head for chain in chains])
    return done
