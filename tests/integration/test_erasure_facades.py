"""What the APIs of existing systems answer about an order whose personal data are gone: still as documented."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from backbone.eventlog.received import act_to_log
from backbone.store.holdings import NOTHING, HoldingsReadings
from schemas.identifiers import DEFAULT_WORKSPACE
from schemas.records import EraseRecord
from schemas.topics import RECEIVED
from tests.support.documented import problems
from tests.support.documented_storeharmony import TRACKING_SCHEMA
from tests.support.documented_vendor import VENDOR_SCHEMA
from tests.support.http_face import PARTITIONS
from tests.support.orders import DETAILS
from tests.support.waiting import wait_until
from tests.support.working_site import Staff, serve_working_site

TOLD = (b"John Doe", b"CUST_1", b"no onions", b"by the window", b"123456", b"Salma", b"left with the guard")


@pytest.fixture
async def staff(tmp_path: Path) -> AsyncIterator[Staff]:
    """A served site with a worker and the usual sources."""
    async with serve_working_site(tmp_path) as site:
        yield await Staff.hired(site)


async def erase(staff: Staff, order_id: str) -> None:
    """An erasure of everything, applied."""
    record = EraseRecord(event_id="erase-1", workspace=DEFAULT_WORKSPACE, order_id=order_id, actor="test", why="asked")
    await staff.site.log.append(RECEIVED, [act_to_log(record, PARTITIONS)])
    readings = HoldingsReadings(staff.site.store)

    async def is_gone() -> bool:
        return (await readings.holdings([order_id])).get(order_id, NOTHING) == NOTHING

    await wait_until(is_gone, what="the erasure to be applied")


async def test_every_facade_still_answers(staff: Staff) -> None:
    """Documented shapes with nothing personal in them, and the order can be moved on through each of them."""
    site = staff.site
    account, token = await site.parts.accounts.add("chain-9", actor="test")
    location = await site.post(f"/user/{account.account_id}/createNewLocation", {}, {"sessiontoken": token})
    store_id = location.json["id"]
    await staff.announce("E-1", restaurant=store_id, details=DETAILS, external_ids=["17"])
    assert (await staff.report("courier", "E-1", "TAKEN_BY_COURIER", comment="left with the guard")).status == 200
    paths = {
        "vendor": ("/api/developer/v1/orders/E-1", site.bearer("platform")),
        "tracking": (f"/restro/{store_id}/trackorder/E-1", {"sessiontoken": token}),
        "order-status": ("/order/E-1/status", site.bearer("market")),
        "native": ("/v1/orders/E-1", site.bearer("platform")),
        "history": ("/v1/orders/E-1/history", site.bearer("platform")),
    }
    before = b"".join([(await site.call("GET", path, headers=headers)).raw for path, headers in paths.values()])
    assert all(secret in before for secret in TOLD)
    await erase(staff, "E-1")
    answers = {name: await site.call("GET", path, headers=headers) for name, (path, headers) in paths.items()}
    for name, answer in answers.items():
        assert answer.status == 200, (name, answer.raw)
        assert not [secret for secret in TOLD if secret in answer.raw], name
    assert problems(VENDOR_SCHEMA, answers["vendor"].json) == []
    assert problems(TRACKING_SCHEMA, answers["tracking"].json) == []
    assert answers["order-status"].json["status"] == "TAKEN_BY_COURIER"
    assert answers["native"].json["details"] == {}
    put = {"status": "DELIVERED", "comment": ""}
    headers = {**site.bearer("market"), "Content-Type": "application/json"}
    moved = await site.call("PUT", "/order/E-1/status", data=orjson.dumps(put), headers=headers)
    assert moved.status == 204, moved.raw
    assert (await site.call("GET", *paths["vendor"][:1], headers=paths["vendor"][1])).json["data"]["is_active"] is False


async def test_an_order_without_its_external_ids_is_found_by_its_own_id_alone(staff: Staff) -> None:
    """Reads by a marketplace's id end in the usual 404, and the order itself is there."""
    await staff.announce("E-2", external_ids=["R-99"])
    headers = staff.site.bearer("kitchen")
    assert (await staff.site.call("GET", "/order/R-99/status", headers=headers)).status == 200
    await erase(staff, "E-2")
    assert (await staff.site.call("GET", "/order/R-99/status", headers=headers)).status == 404
    assert (await staff.site.call("GET", "/order/E-2/status", headers=headers)).status == 200
