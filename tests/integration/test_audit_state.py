"""Orders, receipts and acts are held against the trail; several processes find what one finds."""

import asyncio
from pathlib import Path

import pytest

from backbone.store import audit_pages, audit_receipts, audit_state
from backbone.store.acts import read_acts, record_act
from backbone.store.audit import verify_chains
from backbone.store.audit_chain import Mark
from backbone.store.audit_pages import StateReport
from backbone.store.audit_receipts import verify_receipts
from backbone.store.audit_state import verify_orders
from backbone.store.audit_workers import AuditWorkers
from backbone.store.engine import Store
from backbone.store.migration import migrate
from backbone.store.opening import open_store
from tests.support.audited import PARTIES, audited, write_receipts
from tests.support.chains import DAY_ONE_MS, tamper, trail_row, write_order, write_payload, write_trail
from tests.support.stores import embedded_settings

__all__ = ["audited"]


async def ordered(store: Store) -> StateReport:
    """The report on orders."""
    return await verify_orders(store, {0, 2})


async def test_orders_that_are_what_the_trail_says(audited: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are compared, over pages too, and late, foreign or refused rows move nothing."""
    more = [
        trail_row(1, 1, order_id="o9", from_status=None, to_status="NEW"),
        trail_row(1, 2, order_id="o9", from_status="NEW", to_status="READY"),
        trail_row(1, 3, order_id="o9", verdict="rejected", from_status="READY", to_status="READY"),
        trail_row(1, 4, order_id="o9", foreign=True, verdict="rejected", from_status=None, to_status=None),
        trail_row(1, 5, order_id="gone", foreign=True, verdict="rejected", from_status=None, to_status=None),
    ]
    await write_trail(audited, more)
    await write_order(audited, "o9", partition=1, status="READY", parties=PARTIES)
    told: list[int] = []
    monkeypatch.setattr(audit_pages, "PAGE_ROWS", 2)
    monkeypatch.setattr(audit_state, "SEQ_RANGE", 3)
    assert await verify_orders(audited, {0, 1, 2}, progress=told.append) == StateReport(7, ())
    assert sum(told) == 7


async def test_a_changed_status_is_found(audited: Store) -> None:
    """The order's last applied row is named; other partitions are not hidden by it, bad ones are left out."""
    for order in ("o2-0", "o1-2"):
        await tamper(audited, [f"UPDATE orders SET status = 'DELIVERED' WHERE order_id = '{order}'"])
    found = (await ordered(audited)).bad
    assert [(bad["partition"], bad["seq"], bad["check"]) for bad in found] == [(2, 10, "order"), (0, 11, "order")]
    assert "'o2-0' has the status DELIVERED: its last applied row says READY" in found[1]["problem"]
    assert [bad["partition"] for bad in (await verify_orders(audited, {2}, bad={0})).bad] == [2]


async def test_an_order_without_rows_and_rows_without_an_order_are_found(audited: Store) -> None:
    """Put in and taken away."""
    await tamper(audited, ["DELETE FROM orders WHERE order_id = 'o3-0'"])
    await write_order(audited, "forged", partition=2)
    found = {bad["partition"]: bad for bad in (await ordered(audited)).bad}
    assert found[0]["seq"] == 3
    assert "'o3-0' was announced, and is gone" in found[0]["problem"]
    assert "no row ever applied" in found[2]["problem"]


@pytest.mark.parametrize("place", ["99", "-1"])
async def test_an_order_of_no_partition_is_found(audited: Store, place: str) -> None:
    """Where no chain was verified nothing can be compared, so an order that claims to lie there is a finding."""
    await tamper(audited, [f"UPDATE orders SET status = 'DELIVERED', partition = {place}"])
    [bad, *gone] = (await ordered(audited)).bad
    assert (bad["partition"], bad["check"]) == (None, "order")
    assert f"'o1-0' names the partition {place}, of which there is no chain" in bad["problem"]
    assert [(found["partition"], found["seq"]) for found in gone] == [(0, 1), (2, 1)]


async def test_the_partition_of_one_order_is_changed(audited: Store) -> None:
    """To a partition that was verified: no row there ever made it, and it is gone where it was announced."""
    await tamper(audited, ["UPDATE orders SET status = 'DELIVERED', partition = 2 WHERE order_id = 'o1-0'"])
    assert {bad["partition"] for bad in (await ordered(audited)).bad} == {0, 2}


@pytest.mark.parametrize("name", ["restaurant", "courier", "marketplace", "fulfilment"])
async def test_changed_parties_are_found(audited: Store, name: str) -> None:
    """What the order's last row shows is what the order has."""
    await tamper(audited, [f"UPDATE orders SET {name} = 'evil' WHERE order_id = 'o1-0'"])
    [bad, *_] = (await ordered(audited)).bad
    assert (bad["partition"], bad["seq"]) == (0, 10)
    assert f"'o1-0' has the {name} evil: its last row says" in bad["problem"]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE order_parties SET party = 'evil' WHERE order_id = 'o1-0'",
        "DELETE FROM order_parties WHERE order_id = 'o3-2'",
        "INSERT INTO order_parties SELECT workspace, slot, 'x', order_id, former, 1 FROM order_parties",
        "UPDATE order_parties SET order_id = 'zz' WHERE order_id = 'o2-0'",
    ],
)
async def test_a_listing_that_is_not_the_orders_is_found(
    audited: Store, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose orders a party sees, over pages too."""
    monkeypatch.setattr(audit_pages, "PAGE_ROWS", 2)
    assert (await ordered(audited)).bad == ()
    await tamper(audited, [statement])
    assert "is listed under" in (await ordered(audited)).bad[0]["problem"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("verdict = 'rejected', reason = 'order_closed'", "says rejected:order_closed: its row says applied"),
        ("last_offset = 99", "the trail has no row of it"),
        ("partition = 99", "names the partition 99, of which there is no chain"),
        ("state = 'held'", "says held: its row says applied"),
        ("state = 'set_aside', verdict = NULL", "says set_aside: its row says applied"),
        ("state = 'odd'", "says the state 'odd', which is none"),
        ("from_status = 'DELIVERED'", "says another from_status than its row"),
        ("to_status = NULL", "says another to_status than its row"),
        ("event_id = 'e1'", "says another event_id than its row"),
        ("decided_ms = 5", "says another decided_ms than its row"),
        ('"foreign" = NOT "foreign"', "says another foreign than its row"),
        ("state = 'held', last_offset = 99", "says held, and has a verdict"),
    ],
)
async def test_receipts_are_compared_with_the_last_row_of_their_event(audited: Store, change: str, said: str) -> None:
    """All of one is compared; a pending one is right as long as no row is its own."""
    await write_receipts(audited)
    assert await verify_receipts(audited, {0}) == StateReport(13, ())
    await tamper(audited, [f"UPDATE receipts SET {change} WHERE digest = 'd06'"])
    [bad, *_] = (await verify_receipts(audited, {0, 2})).bad
    assert bad["check"] == "receipt"
    assert said in bad["problem"]


@pytest.mark.parametrize("most", [audit_receipts.MOST_HASHES, 3])
async def test_a_receipt_that_is_gone_is_found(audited: Store, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the row that tells of its event, also where receipts are remembered by shares; inferred steps need none."""
    monkeypatch.setattr(audit_receipts, "MOST_HASHES", most)
    monkeypatch.setattr(audit_receipts, "SEQ_RANGE", 5)
    monkeypatch.setattr(audit_pages, "PAGE_ROWS", 4)
    await write_receipts(audited)
    assert (await verify_receipts(audited, {0})).bad == ()
    await tamper(audited, ["DELETE FROM receipts WHERE digest IN ('d09', 'd07', 'd12')"])
    [bad] = (await verify_receipts(audited, {0})).bad
    assert (bad["partition"], bad["seq"]) == (0, 7)
    assert "the receipt of event 'e7' of order 'o1-0' is gone" in bad["problem"]


async def test_acts_and_moves_are_told_together(audited: Store) -> None:
    """A move with its act, one whose act is gone, an act without a verdict, and acts that move nothing; since when."""
    moves = [
        trail_row(5, n, order_id="m1", event_id=f"operator-{n}", role="operator", source="ann", from_status="READY")
        for n in (1, 2)
    ]
    await write_trail(audited, moves)
    await write_payload(audited, moves[1], None, b"s")
    await tamper(audited, ["UPDATE event_payloads SET comment = 'wrong ticket'"])
    async with audited.transaction() as connection:
        for at, act, subject, detail in (
            (DAY_ONE_MS - 9, "source.add", "kitchen", {"role": "restaurant"}),
            (DAY_ONE_MS - 5, "order.move", "m1", {"event_id": "operator-1", "why": "x", "status": "COOKING"}),
            (DAY_ONE_MS - 4, "order.move", "m1", {"event_id": "operator-3", "why": "y", "status": "READY"}),
        ):
            await record_act(
                connection, workspace="default", at=at, actor="ann", act=act, subject=subject, detail=detail
            )
    found = await read_acts(audited)
    assert [(act.act, act.recorded, act.row and act.row.seq) for act in found] == [
        ("source.add", True, None),
        ("order.move", True, 1),
        ("order.move", True, None),
        ("order.move", False, 2),
    ]
    assert found[3].detail == {"event_id": "operator-2", "status": "COOKING", "why": "wrong ticket"}
    assert found[3].actor == "ann"
    later = await read_acts(audited, since_ms=DAY_ONE_MS)
    assert [(act.row and act.row.seq, act.recorded) for act in later] == [(1, True), (2, False)]
    await tamper(audited, ["UPDATE admin_acts SET detail = '[' WHERE act = 'source.add'"])
    assert (await read_acts(audited))[0].detail == {"unreadable": "["}


@pytest.fixture
async def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store in files that the environment names, for processes of their own."""
    monkeypatch.setenv("MEALTRAIL_DATA_DIR", str(tmp_path))
    settings = embedded_settings(tmp_path)
    await migrate(settings)
    store = open_store(settings, purpose="owner")
    for partition in range(5):
        await write_trail(store, [trail_row(partition, n) for n in range(1, 30 * (partition + 1))])
    return store


async def test_several_processes_find_what_one_finds(embedded: Store) -> None:
    """Rows, heads, findings in the chain and at marks, and the progress of all."""
    told: list[int] = []
    crew = AuditWorkers(2)
    try:
        alone = await verify_chains(embedded)
        assert await verify_chains(embedded, crew=crew, progress=told.append) == alone
        assert (alone.bad, told[-1]) == ((), alone.rows)
        assert told == sorted(told)
        await tamper(embedded, ["UPDATE trail SET reason = 'x' WHERE partition = 3 AND seq = 20"])
        marks = {1: [Mark(7, bytes(32), "2027")]}
        broken = await verify_chains(embedded, marks=marks)
        assert await verify_chains(embedded, marks=marks, crew=crew) == broken
        assert [(bad["partition"], bad["seq"]) for bad in broken.bad] == [(1, 7), (3, 20)]
    finally:
        await embedded.close()


async def test_what_a_failed_worker_leaves_is_done_here(embedded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers look for a store where there is none; the answer is the same, and progress ends at the truth."""
    monkeypatch.setenv("MEALTRAIL_DATA_DIR", "/nowhere")
    told: list[int] = []
    try:
        report = await verify_chains(embedded, crew=AuditWorkers(2), progress=told.append)
        assert report == await verify_chains(embedded)
        assert told[-1] == report.rows
    finally:
        await embedded.close()


async def test_an_audit_that_is_cancelled_ends_its_workers(embedded: Store) -> None:
    """Ctrl-C leaves nobody behind."""
    try:
        running = asyncio.create_task(verify_chains(embedded, crew=AuditWorkers(2)))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    finally:
        await embedded.close()
