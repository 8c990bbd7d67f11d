"""Every fixture of every partner over HTTP, genuinely signed, to its verdict: one running service for all of them.

Each fixture has a source and an id prefix of its own, so that the vendors' example ids never meet.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from schemas.statuses import Role
from schemas.topics import RECEIVED
from service.dialects.registry import DIALECTS
from tests.support.catching_up import caught_up
from tests.support.dialect_fixtures import PARTIES, Case, cases
from tests.support.fake_log import FakeLog
from tests.support.http_face import Reply, Site
from tests.support.working_site import serve_working_site

pytestmark = pytest.mark.asyncio(loop_scope="module")
CASES = cases()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A service with its worker, and a platform that announces."""
    async with serve_working_site(tmp_path_factory.mktemp("dialects")) as served:
        await served.add_source("platform", Role.PLATFORM, auth="bearer")
        yield served


@pytest.mark.parametrize(("number", "case"), list(enumerate(CASES)), ids=[case.name for case in CASES])
async def test_a_fixture_gets_its_verdict(site: Site, number: int, case: Case) -> None:
    """In by HTTP as the partner sends it; out as the partner's answer and the trail's verdict."""
    name, prefix = f"{case.partner.dialect}-{number}", f"{number}."
    secret = str(case.given.get("secret", case.partner.unique_secret(prefix)))
    new = case.partner.new_source(name, id_prefix=prefix, **{**case.changes, "secret": secret})
    await site.sources.add(new, actor="test")
    await site.parts.source_cache.refresh()  # may join a load that began before
    await site.parts.source_cache.refresh()
    expected = case.given["expects"]
    named = {one["order_id"] for one in (*expected.get("events", ()), *expected.get("positions", ()))}
    for order_id in named:
        await _prepare(site, prefix + order_id, case.given.get("given"))
    logged = _logged(site)
    posting = case.posting(secret)
    headers = {"Content-Type": "application/json", **posting.headers}
    path = f"/v1/webhooks/{name}{case.endpoint.address(case.variables)}"
    reply = await site.call(case.endpoint.method, path, data=posting.raw, headers=headers)
    profile = DIALECTS[case.partner.dialect].profile
    if "refused" in expected:
        told = {str(key.value): told.status for key, told in profile.refusals.items()}
        assert reply.status == (told[str(expected["refused"])] or expected["refused"]), reply.raw
        assert _logged(site) == logged
        return
    assert reply.status == profile.success_status, reply.raw
    assert reply.raw == b"" or profile.success_body is not None
    if expected.get("answer_only"):
        assert _logged(site) == logged
        return
    assert _logged(site) == logged + len(expected["events"])
    await caught_up(site)
    if case.given.get("verdicts") == ["held"]:
        assert (await _receipt(site, reply))["state"] == "held"
        return
    verdicts = [verdict for order_id in named for verdict in await _verdicts(site, prefix + order_id, name)]
    assert verdicts == case.given.get("verdicts"), "the fixture's verdicts"
    await _check_position(site, prefix, expected)


async def _prepare(site: Site, order_id: str, status: str | None) -> None:
    if status is None:
        return
    platform = site.bearer("platform")
    announced = await site.post("/v1/orders", {"order_id": order_id, **PARTIES}, {**platform, "Prefer": "wait=20"})
    assert (announced.status, announced.json["verdict"]) == (200, "applied")
    if status != "NEW":
        body = {"order_id": order_id, "status": status}
        moved = await site.post("/v1/webhooks/platform", body, {**platform, "Prefer": "wait=20"})
        assert (moved.status, moved.json["verdict"]) == (200, "applied")


async def _receipt(site: Site, reply: Reply) -> Any:
    answer = await site.call("GET", reply.headers["Location"], headers=site.bearer("platform"))
    assert answer.status == 200
    return answer.json


async def _verdicts(site: Site, order_id: str, source: str) -> list[str]:
    """What the trail says of this source's events, oldest first."""
    reply = await site.call("GET", f"/v1/orders/{order_id}/history", headers=site.bearer("platform"))
    if reply.status == 404:
        return []
    return [
        f"{row['verdict']} {row['reported_status'] or row['fact'] or 'NEW'}"
        + (f": {row['reason']}" if row["reason"] else "")
        for row in reply.json["items"]
        if row["source"] == source and not row["inferred"]
    ]


async def _check_position(site: Site, prefix: str, expected: dict[str, Any]) -> None:
    await site.parts.position_recorder.flush()
    for wanted in expected.get("positions", ()):
        order = await site.call("GET", f"/v1/orders/{prefix}{wanted['order_id']}", headers=site.bearer("platform"))
        found = order.json["courier_position"]
        if order.json["status"] in {"DELIVERED", "CANCELLED"}:
            assert found is None
        else:
            assert (found["latitude"], found["longitude"]) == (wanted["latitude"], wanted["longitude"])


def _logged(site: Site) -> int:
    assert isinstance(site.log, FakeLog)
    return len(site.log.records(RECEIVED))
