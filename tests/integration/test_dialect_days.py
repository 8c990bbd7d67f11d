"""A day in the life of one order with each partner: its own script, other parties' steps from native sources.

`day.json` beside a partner's fixtures says who acts when: {"partner": n} sends the next n messages of the dialect's
day, {"kitchen": STATUS}, {"courier": STATUS} and {"market": STATUS} report natively, {"platform": "announce"} announces
(a marketplace's own NEW needs none). Then "ends" is the order's status, and "trail" is what a person reads: source,
verdict and what was reported, in order.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from schemas.statuses import Role
from service.dialects.days import Message, Signing
from service.dialects.partner import PartnerDialect
from service.dialects.registry import DIALECTS
from tests.support.catching_up import caught_up
from tests.support.dialect_fixtures import PARTIES, ROOT, Partner, partners
from tests.support.http_face import Site
from tests.support.working_site import serve_working_site

pytestmark = pytest.mark.asyncio(loop_scope="module")
PARTNERS = partners()
STORE = "their-store"
_NATIVE = {"kitchen": (Role.RESTAURANT, "r1"), "courier": (Role.COURIER, "c1"), "market": (Role.MARKETPLACE, "m1")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A service with its worker and the usual native sources."""
    async with serve_working_site(tmp_path_factory.mktemp("days")) as served:
        await served.add_source("platform", Role.PLATFORM, auth="bearer")
        for name, (role, party) in _NATIVE.items():
            await served.add_source(name, role, auth="bearer", parties=(party,))
        yield served


@pytest.mark.parametrize("partner", PARTNERS.values(), ids=lambda partner: partner.dialect)
async def test_a_day_ends_as_it_should_with_a_trail_that_a_person_can_read(site: Site, partner: Partner) -> None:
    """From the first message to the last, with skips, repeats and disorder."""
    dialect = DIALECTS[partner.dialect]
    assert isinstance(dialect, PartnerDialect)
    told = json.loads((ROOT / partner.dialect / "day.json").read_text("utf-8"))
    order_id = f"day-{partner.dialect}"
    stores = {**partner.described.get("stores", {}), STORE: "r1"}
    source, _ = await site.sources.add(partner.new_source(partner.dialect, stores=stores), actor="test")
    await site.parts.source_cache.refresh()
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    messages = iter(dialect.day(order_id, STORE, start))
    signing = Signing(
        secret=partner.described["secret"],
        auth=source.auth,
        url=source.url or "",
        now_ms=int(start.timestamp() * 1000),
        token_header=dialect.profile.token_header,
    )
    for step in told["script"]:
        [(who, what)] = step.items()
        if who == "partner":
            await _play(site, partner.dialect, dialect, signing, messages, what)
        else:
            await _act(site, who, what, order_id)
        await caught_up(site)
    assert next(messages, None) is None, "the script plays the whole day"
    order = await site.call("GET", f"/v1/orders/{order_id}", headers=site.bearer("platform"))
    history = await site.call("GET", f"/v1/orders/{order_id}/history", headers=site.bearer("platform"))
    trail = [_line(row) for row in history.json["items"]]
    print(json.dumps(trail, indent=4))  # noqa: T201
    assert trail == told["trail"]
    assert order.json["status"] == told["ends"]
    assert order.json["restaurant"] == "r1"


async def _play(
    site: Site, name: str, dialect: PartnerDialect, signing: Signing, messages: Iterator[Message], count: int
) -> None:
    for _ in range(count):
        message = next(messages)
        outgoing = dialect.sign(message.raw(), signing)
        headers = {"Content-Type": "application/json", **message.headers, **outgoing.headers}
        path = f"/v1/webhooks/{name}{message.endpoint.address(message.variables)}"
        reply = await site.call(message.endpoint.method, path, data=outgoing.body, headers=headers)
        assert reply.status == dialect.profile.success_status, (message.says, reply.raw)
        await caught_up(site)


async def _act(site: Site, who: str, what: str, order_id: str) -> None:
    if what == "announce":
        body: dict[str, Any] = {"order_id": order_id, **PARTIES}
        reply = await site.post("/v1/orders", body, site.bearer(who))
    else:
        body = {"order_id": order_id, "status": what, "occurred_at": datetime.now(UTC).isoformat()}
        reply = await site.post(f"/v1/webhooks/{who}", body, site.bearer(who))
    assert reply.status == 202, reply.raw


def _line(row: dict[str, Any]) -> str:
    what = row["reported_status"] or row["fact"] or row["to_status"]
    words = f"{row['source']}: {row['verdict']} {what}"
    if row["inferred"]:
        words = f"{row['source']}: inferred {row['to_status']}"
    return words + (f" ({row['reason']})" if row["reason"] else "")
