"""What a receipt answers, on both databases."""

from typing import Any

import pytest

from backbone.store.engine import Store
from backbone.store.readings import SEES_ALL, Readings, Sight
from backbone.store.tables import receipts, reused_event_ids
from schemas.identifiers import ReceiptId
from schemas.statuses import Role
from tests.support.chains import DAY_ONE_MS, write_offsets
from tests.support.stores import store

__all__ = ["store"]

KITCHEN = Sight(Role.RESTAURANT, ("r1",), "k1")
STRANGER = Sight(Role.RESTAURANT, ("r9",), "k9")


@pytest.fixture
def readings(store: Store) -> Readings:
    """Readings of the default workspace."""
    return Readings(store)


DIGEST = "ab" * 16


async def _write_receipt(store: Store, **fields: Any) -> None:
    usual: dict[str, Any] = {
        "workspace": "default",
        "digest": DIGEST,
        "order_id": "o1",
        "source_uid": "k1",
        "event_id": "e1",
        "partition": 0,
        "first_offset": 3,
        "first_received_ms": DAY_ONE_MS,
        "last_offset": 3,
        "content_digest": "c",
        "state": "final",
        "verdict": "applied",
        "from_status": "NEW",
        "to_status": "COOKING",
        "foreign": False,
        "revision": 0,
        "repeats": 0,
    }
    async with store.transaction() as connection:
        await write_offsets(connection, 0, 10)
        await connection.execute(receipts.insert().values(usual | fields))


REJECTED = {"verdict": "rejected", "from_status": "READY", "to_status": "READY"}


async def _receipt(readings: Readings, offset: int, sight: Sight = SEES_ALL) -> tuple[Any, ...] | None:
    view = await readings.receipt(ReceiptId(0, offset, DIGEST), sight)
    return None if view is None else (view.state, view.verdict, view.reason, view.from_status, view.to_status)


async def test_a_final_receipt(store: Store, readings: Readings) -> None:
    """The first callback and a repeat that is applied get the one verdict."""
    await _write_receipt(store)
    for offset in (3, 7):
        assert await _receipt(readings, offset) == ("final", "applied", None, "NEW", "COOKING")
    view = await readings.receipt(ReceiptId(0, 7, DIGEST))
    assert view is not None
    assert (view.receipt_id, view.event_id, view.order_id) == (str(ReceiptId(0, 7, DIGEST)), "e1", "o1")


async def test_pending_is_not_unknown(store: Store, readings: Readings) -> None:
    """Without a row, what lies at or after `next` is pending and what lies before it never was."""
    receipt = ReceiptId(0, 3, "cd" * 16)
    pending = await readings.receipt(receipt)
    assert pending is not None
    assert (pending.state, pending.order_id) == ("pending", None)
    await _write_receipt(store)
    assert await readings.receipt(receipt) is None
    later = await readings.receipt(ReceiptId(0, 10, "cd" * 16), KITCHEN)
    assert later is not None
    assert later.state == "pending"


@pytest.mark.parametrize("state", ["held", "set_aside"])
async def test_states_that_are_no_verdicts(store: Store, readings: Readings, state: str) -> None:
    """A held event has no verdict yet, for its applied repeats too."""
    await _write_receipt(store, state=state, verdict=None, from_status=None, to_status=None)
    for offset in (3, 8):
        assert await _receipt(readings, offset) == (state, None, None, None, None)


async def test_a_callback_that_is_not_applied_is_pending(store: Store, readings: Readings) -> None:
    """Whatever became of an earlier attempt: repeat, new attempt or other content is not decided before."""
    await _write_receipt(store, **REJECTED, reason="skipped_status", last_offset=5)
    ended = ("final", "rejected", "skipped_status", "READY", "READY")
    assert await _receipt(readings, 3) == ended
    assert await _receipt(readings, 8) == ended
    assert await _receipt(readings, 10) == ("pending", None, None, None, None)


@pytest.mark.parametrize("reason", ["order_not_found", "not_your_order"])
async def test_foreign_and_unknown_orders_look_the_same(store: Store, readings: Readings, reason: str) -> None:
    """In words, and without the order's statuses."""
    await _write_receipt(store, **REJECTED, reason=reason, foreign=True)
    assert await _receipt(readings, 3) == ("final", "rejected", "order_not_found", None, None)


async def test_a_former_partys_rejection_keeps_its_reason(store: Store, readings: Readings) -> None:
    """A former party sees the order: not_your_order is no secret to it."""
    await _write_receipt(store, **REJECTED, reason="not_your_order")
    assert await _receipt(readings, 3) == ("final", "rejected", "not_your_order", "READY", "READY")


async def test_a_reused_event_id_is_rejected_at_its_own_offset(store: Store, readings: Readings) -> None:
    """The callback with other content gets its own answer; the first one keeps its verdict."""
    await _write_receipt(store)
    async with store.transaction() as connection:
        row = {"workspace": "default", "digest": DIGEST, "content_digest": "d", "partition": 0}
        for offset in (5, 6, 8):
            await connection.execute(reused_event_ids.insert().values(row | {"offset": offset, "repeat": offset > 5}))
    for offset in (5, 6, 8):
        assert await _receipt(readings, offset) == ("final", "rejected", "event_id_reused", None, None)
    assert await _receipt(readings, 3) == ("final", "applied", None, "NEW", "COOKING")


async def test_a_source_sees_its_own_receipts_only(store: Store, readings: Readings) -> None:
    """Another source's receipt is unknown to it, and so is one that names another partition."""
    await _write_receipt(store)
    assert await _receipt(readings, 3, KITCHEN) is not None
    assert await _receipt(readings, 3, STRANGER) is None
    assert await readings.receipt(ReceiptId(1, 3, DIGEST)) is None
