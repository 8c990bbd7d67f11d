"""Two stores with a trail of three orders, opened as their owner, for tests that tamper with them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from backbone.store.engine import Store
from backbone.store.migration import migrate
from backbone.store.opening import open_store
from backbone.store.tables import receipts
from schemas.outcomes import TrailRow
from tests.support.chains import DAY_ONE_MS, trail_row, write_order, write_trail
from tests.support.postgres_databases import DatabaseUrls
from tests.support.stores import embedded_settings, postgres_settings

CHAIN = ("NEW", "ACCEPTED_BY_RESTAURANT", "COOKING", "READY")
ORDERS = ("o1", "o2", "o3")
PARTIES = {"restaurant": "r1"}


def story(partition: int) -> list[TrailRow]:
    """Twelve rows: three orders, each announced and moved to READY, their steps interleaved."""
    rows = []
    for step, to_status in enumerate(CHAIN):
        for number, order_id in enumerate(ORDERS):
            seq = step * len(ORDERS) + number + 1
            before = CHAIN[step - 1] if step else None
            rows.append(
                trail_row(
                    partition,
                    seq,
                    order_id=f"{order_id}-{partition}",
                    event_type="status" if step else "announcement",
                    reported_status=to_status,
                    from_status=before,
                    to_status=to_status,
                )
            )
    return rows


def without_order(rows: list[TrailRow], order_id: str) -> list[TrailRow]:
    """The rows as they would be had the order never been; `rewrite_trail` numbers them anew."""
    return [row for row in rows if row.order_id != order_id]


def moved_earlier(rows: list[TrailRow], ms: int) -> list[TrailRow]:
    """Every row with another log time."""
    return [row._replace(received_ms=row.received_ms - ms, decided_ms=row.decided_ms - ms) for row in rows]


async def write_receipts(store: Store) -> None:
    """The receipts of `story` in partition 0, and one of an event that still waits."""
    values = [
        {
            "workspace": "default",
            "source_uid": row.source_uid,
            "partition": 0,
            "first_received_ms": DAY_ONE_MS,
            "content_digest": "0",
            "foreign": False,
            "revision": 0,
            "repeats": 0,
            "state": "final",
            "verdict": "applied",
            "digest": f"d{row.seq:02}",
            "order_id": row.order_id,
            "event_id": row.event_id,
            "first_offset": row.offset,
            "last_offset": row.offset,
            "from_status": row.from_status,
            "to_status": row.to_status,
            "decided_ms": row.decided_ms,
        }
        for row in story(0)
    ]
    waits = {"state": "held", "last_offset": 77, "digest": "waits", "event_id": "waits"}
    waits |= dict.fromkeys(("verdict", "from_status", "to_status", "decided_ms"))
    async with store.transaction() as connection:
        await connection.execute(receipts.insert(), [*values, values[0] | waits])


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def audited(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A migrated store with `story` in partitions 0 and 2, and its orders; on each database in turn."""
    if request.param == "sqlite":
        settings = embedded_settings(tmp_path)
    else:
        settings = postgres_settings(cast("DatabaseUrls", request.getfixturevalue("database_urls")))
    await migrate(settings)
    store = open_store(settings, purpose="owner")
    for partition in (0, 2):
        await write_trail(store, story(partition))
        for order_id in ORDERS:
            await write_order(store, f"{order_id}-{partition}", partition=partition, status="READY", parties=PARTIES)
    yield store
    await store.close()
