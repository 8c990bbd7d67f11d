"""The store that a rebuild fills: empty at first, marked while it is half built, let go at the end.

The mark is a kept setting. While it stands no consumer and no server starts on the store (`consumers.log_identity`),
and the next rebuild goes on where this one stopped: every partition's `next` moved with its rows, as always.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import orjson
from sqlalchemy import ColumnElement, Table, delete, exists, select, true, update

from backbone.store.engine import Store
from backbone.store.kept_settings import REBUILD, RECEIVED_TOPIC_ID, all_kept_within, forget_within, keep_within
from backbone.store.tables import (
    attempts,
    dead_letters,
    event_payloads,
    held_events,
    offsets,
    order_details,
    order_external_ids,
    order_parties,
    orders,
    receipts,
    reused_event_ids,
    trail,
)
from consumers.dead_letter import Aside
from consumers.offset_rows import create_offset_row
from schemas.errors import RebuildRefused

FROM_THE_LOG: tuple[Table, ...] = (
    trail,
    orders,
    order_parties,
    order_external_ids,
    order_details,
    event_payloads,
    receipts,
    reused_event_ids,
    held_events,
    dead_letters,
)
"""Tables whose rows come from the log, beside `offsets`."""
NOT_REBUILT = (
    "sources",
    "source_credentials",
    "tokens",
    "accounts",
    "account_sessions",
    "store_locations",
    "admin_acts",
    "refusals",
    "courier_positions",
)
"""Tables that do not come from the log."""


@dataclass(frozen=True, slots=True)
class Published:
    """How far a partition's rows lie in the topics already."""

    outcomes: int
    dead_letters: int


class RebuildStore:
    """One store from empty to let go. All methods raise StoreUnavailable and may be repeated."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def begin(self, partitions: int, topic_id: str | None) -> bool:
        """Marks the store and makes the offset rows; true when an earlier rebuild is taken up again.

        Raises RebuildRefused when the store holds anything that comes from a log, or was begun from another one.
        """
        async with self._store.transaction() as connection:
            kept = await all_kept_within(connection)
            resumed = REBUILD in kept
            if resumed:
                begun_from = orjson.loads(kept[REBUILD])["topic_id"]
                if begun_from is not None and topic_id is not None and begun_from != topic_id:
                    raise RebuildRefused(
                        f"the rebuild that was begun in this store read another received topic ({begun_from}, now it "
                        f"is {topic_id}): begin again in an empty store"
                    )
                return True
            for table in (*FROM_THE_LOG, offsets):
                held: ColumnElement[bool] = table.c.next > 0 if table is offsets else true()
                if await connection.scalar(select(exists().where(held).select_from(table))):
                    raise RebuildRefused(
                        f"the store is not empty (there are rows in {table.name}): name another one with --to or "
                        "--to-data-dir, or empty the database first"
                    )
            value = orjson.dumps({"topic_id": topic_id}).decode()
            await keep_within(connection, self._store, REBUILD, value)
            for partition in range(partitions):
                await create_offset_row(connection, partition)
        return False

    async def unlike_list(self, partition: int, upcoming: int, aside: Aside) -> int:
        """How many pairs before `upcoming` are set aside in the store and not on the list, or the other way round."""
        query = select(dead_letters.c.in_hand_offset, dead_letters.c.event_offset).where(
            dead_letters.c.partition == partition
        )
        async with self._store.reading() as connection:
            there = {(row.in_hand_offset, row.event_offset) for row in await connection.execute(query)}
        return len(there ^ {pair for pair in aside if pair[0] < upcoming})

    async def finish(self, published: Mapping[int, Published], topic_id: str | None) -> None:
        """Lets the store go: consumers go on from here, and publish what the topics do not have yet."""
        async with self._store.transaction() as connection:
            for partition, at in sorted(published.items()):
                await connection.execute(
                    update(offsets)
                    .where(offsets.c.partition == partition)
                    .values(published=at.outcomes, dead_published=at.dead_letters, claims=0)
                )
            await connection.execute(delete(attempts))
            if topic_id is not None:
                await keep_within(connection, self._store, RECEIVED_TOPIC_ID, topic_id)
            await forget_within(connection, REBUILD)
