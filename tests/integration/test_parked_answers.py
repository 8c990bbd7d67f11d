"""What callers are told while their own order is parked or ahead of itself: it is there, and what they sent waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backbone.eventlog.received import act_to_log
from backbone.store.dead_letters import DeadLetterReadings
from schemas.statuses import Policy, Role
from tests.support.http_face import Reply
from tests.support.poison import FaultyRelease
from tests.support.received import discarded
from tests.support.waiting import wait_until
from tests.support.working_site import Staff, serve_working_site

AT = "2021-11-21T12:00:27.870000+00:20"
KNOWN = {"receipt_id", "event_id", "order_id", "state", "verdict", "reason", "from_status", "to_status"}


@pytest.fixture
async def staff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Staff]:
    """The usual sources, and a worker that cannot decide COOKING of order A."""
    FaultyRelease(monkeypatch, lambda it: it.order_id == "A" and getattr(it.event, "status", None) == "COOKING")
    async with serve_working_site(tmp_path, verdict_wait_ms=20_000) as site:
        yield await Staff.hired(site)


async def receipt_of(staff: Staff, name: str, posted: Reply) -> dict[str, Any]:
    """The receipt of what was posted, as its sender sees it, once it is applied."""
    last: dict[str, Any] = {}

    async def is_applied() -> bool:
        path = f"/v1/receipts/{posted.json['receipt_id']}"
        last.update((await staff.site.call("GET", path, headers=staff.site.bearer(name))).json)
        return bool(last["state"] != "pending")

    await wait_until(is_applied, timeout=20.0, what="the receipt")
    return last


async def park(staff: Staff) -> None:
    """Order A with an event that is set aside."""
    await staff.announce("A")
    failed = await staff.report("kitchen", "A", "COOKING", wait="wait=0")

    async def is_aside() -> bool:
        return bool((await receipt_of(staff, "kitchen", failed))["state"] == "set_aside")

    await wait_until(is_aside, timeout=30.0, what="the dead letter")


async def test_a_change_of_a_parked_order_of_the_callers_own_is_taken(staff: Staff) -> None:
    """202 at once and no 404: the order is theirs, and the change is applied when the order goes on."""
    await park(staff)
    headers = {"Content-Type": "application/json", **staff.site.bearer("courier")}
    begun = asyncio.get_running_loop().time()
    body = f'{{"status": "TAKEN_BY_COURIER", "updatedAt": "{AT}"}}'
    for _ in range(2):
        reply = await staff.site.call("PUT", "/order/A/status", data=body.encode(), headers=headers)
        assert (reply.status, reply.raw) == (202, b"")
    assert asyncio.get_running_loop().time() - begun < 10  # of the 20 s that each would wait
    foreign = await staff.site.call(
        "PUT", "/order/A/status", data=b'{"status": "CANCELLED"}', headers={**headers, **staff.site.bearer("rival")}
    )
    assert foreign.status == 404
    (letter,), _ = await DeadLetterReadings(staff.site.store).page()
    act = discarded((letter.pair.in_hand_offset, letter.pair.event_offset), order="A")
    partitions = staff.site.settings.partitions
    await staff.site.log.append(
        staff.site.settings.topics.received, [act_to_log(act, partitions, partition=letter.pair.partition)]
    )

    async def has_gone_on() -> bool:
        return ("applied", "TAKEN_BY_COURIER") in [
            (item["verdict"], item["reported_status"]) for item in await staff.history("A")
        ]

    await wait_until(has_gone_on, timeout=20.0, what="the order to go on")


async def test_a_receipt_says_why_its_event_waits_if_the_order_is_its_senders(staff: Staff) -> None:
    """Parked, without end; ahead, until its deadline. Of an order that is another's, or unknown, nothing is said."""
    await park(staff)
    parked = await receipt_of(staff, "kitchen", await staff.report("kitchen", "A", "READY", wait="wait=0"))
    assert (parked["state"], parked["why"], parked["held_until"]) == ("held", "parked", None)
    foreign = await receipt_of(staff, "rival", await staff.report("rival", "A", "CANCELLED", wait="wait=0"))
    assert (foreign["state"], set(foreign)) == ("held", KNOWN)
    unknown = await receipt_of(staff, "kitchen", await staff.report("kitchen", "none", "READY", wait="wait=0"))
    assert (unknown["state"], set(unknown)) == ("held", KNOWN)
    await staff.site.add_source("slow", Role.RESTAURANT, auth="bearer", parties=("r1",), policy=Policy.STRICT)
    await staff.announce("B")
    ahead = await receipt_of(staff, "slow", await staff.report("slow", "B", "READY", wait="wait=0"))
    assert (ahead["state"], ahead["why"], ahead["held_until"][-1]) == ("held", "ahead", "Z")
