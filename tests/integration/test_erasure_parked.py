"""Erasing an order of which an event is set aside and others wait behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from backbone.eventlog.partitioner import partition_of
from backbone.eventlog.port import NewRecord
from backbone.eventlog.received import act_to_log
from backbone.store.audit import verify_chains
from backbone.store.holdings import NOTHING, HoldingsReadings
from backbone.store.tables import dead_letters
from schemas.cloudevents import RECEIVED_TYPE, cloudevent_headers
from schemas.identifiers import DEFAULT_WORKSPACE, record_key
from schemas.records import EraseRecord
from schemas.topics import RECEIVED
from tests.support.http_face import PARTITIONS
from tests.support.waiting import wait_until
from tests.support.working_site import Staff, serve_working_site


@pytest.fixture
async def staff(tmp_path: Path) -> AsyncIterator[Staff]:
    """A served site with a worker and the usual sources."""
    async with serve_working_site(tmp_path) as site:
        yield await Staff.hired(site)


async def test_a_parked_order_is_erased_with_its_dead_letter(staff: Staff) -> None:
    """The erasure does not wait behind what it erases: the dead letter's bytes go, and what is personal in the event
    that waits; the order stays parked, its chain verifies.
    """
    site, readings = staff.site, HoldingsReadings(staff.site.store)
    await staff.announce("p1", details={"customer": {"name": "Ana Lovelace"}})
    key = record_key(DEFAULT_WORKSPACE, "p1")
    headers = cloudevent_headers(event_id="odd", event_type=RECEIVED_TYPE, source="/sources/kitchen", subject="p1")
    broken = NewRecord(partition_of(key, PARTITIONS), key, b'{"kind":"event","comment":"Ana Lovelace"', headers)
    await site.log.append(RECEIVED, [broken])

    async def is_parked() -> bool:
        return (await readings.holdings(["p1"]))["p1"].set_aside == 1

    await wait_until(is_parked, timeout=30.0, what="the record to be set aside")
    waits = await staff.report("kitchen", "p1", "COOKING", wait="wait=0", comment="for Ana Lovelace")
    assert waits.status == 202, waits.raw

    async def is_waiting() -> bool:
        return (await readings.holdings(["p1"]))["p1"].waiting == 1

    await wait_until(is_waiting, what="the next event to wait")
    record = EraseRecord(event_id="erase-1", workspace=DEFAULT_WORKSPACE, order_id="p1", actor="test", why="asked")
    await site.log.append(RECEIVED, [act_to_log(record, PARTITIONS)])

    async def is_gone() -> bool:
        return (await readings.holdings(["p1"])).get("p1", NOTHING) == NOTHING

    await wait_until(is_gone, what="the erasure to be applied")
    async with site.store.reading() as connection:
        letter = (await connection.execute(select(dead_letters.c.state, dead_letters.c.record))).one()
    assert tuple(letter) == ("open", None)
    receipt = await site.call("GET", f"/v1/receipts/{waits.json['receipt_id']}", headers=site.bearer("kitchen"))
    assert receipt.json["state"] == "held"
    order = await site.call("GET", "/v1/orders/p1", headers=site.bearer("platform"))
    assert (order.json["status"], order.json["details"]) == ("NEW", {})
    assert b"Ana" not in order.raw
    assert not (await verify_chains(site.store)).bad
