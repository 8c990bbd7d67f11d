"""What /readyz says of parts that answer and do not work, and what becomes of requests meanwhile."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from backbone.clocks import SYSTEM_CLOCK
from backbone.store.definitions import NewSource
from backbone.store.secrets import SecretBox
from backbone.store.sources import SourceRepository
from schemas.errors import LogUnavailable
from schemas.statuses import Role
from service.ingress.publishing import APPEND_FAILURE_COUNTS_S, AppendOutcome
from tests.integration.test_http_webhooks import READY, assert_problem
from tests.support.fake_log import FakeLog
from tests.support.http_face import Site, serve_site

NEW_RING = "knew:" + base64.b64encode(b"n" * 32).decode()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A face with one courier that has a token."""
    async with serve_site(tmp_path) as served:
        await served.add_source("courier", Role.COURIER, auth="bearer")
        yield served


async def parts_of(site: Site) -> tuple[int, dict[str, str]]:
    """The readiness that the public port tells."""
    reply = await site.call("GET", "/readyz")
    return reply.status, reply.json["parts"]


async def add_sealed(site: Site, name: str, **options: Any) -> None:
    """A source whose row was made under a key that the face does not have."""
    stranger = SourceRepository(site.store, SecretBox.parse(NEW_RING), now_ms=SYSTEM_CLOCK.now_ms)
    _, site.secrets[name] = await stranger.add(NewSource(name=name, role=Role.PLATFORM, **options), actor="test")
    await site.parts.source_cache.refresh()


async def test_one_row_that_does_not_open_freezes_nobody_else(site: Site) -> None:
    """A source is disabled beside it, and one that is made works."""
    await add_sealed(site, "another")
    assert (await site.post("/v1/webhooks/courier", READY, site.bearer("courier"))).status == 202
    await site.sources.disable("courier", actor="test")
    await site.parts.source_cache.refresh()
    assert_problem(await site.post("/v1/webhooks/courier", READY, site.bearer("courier")), 401, "unauthenticated")
    await site.add_source("fresh", Role.COURIER, auth="bearer")
    assert (await site.post("/v1/webhooks/fresh", READY, site.bearer("fresh"))).status == 202


async def test_a_source_that_does_not_open_is_told_to_come_back(site: Site) -> None:
    """Not 401, which partners take for final; its records would carry another receipt key, so none is written."""
    await add_sealed(site, "signing")
    await add_sealed(site, "bearing", auth="bearer")
    assert_problem(await site.send("signing", READY), 503, "unavailable")
    assert_problem(await site.post("/v1/webhooks/bearing", READY, site.bearer("bearing")), 503, "unavailable")
    order = {"order_id": "O", "restaurant": "R"}
    assert_problem(await site.post("/v1/orders", order, site.bearer("bearing")), 503, "unavailable")
    assert_problem(await site.post("/v1/webhooks/bearing", READY), 401, "unauthenticated")
    assert isinstance(site.log, FakeLog)
    assert site.log.records("mealtrail.received.v1") == []
    assert (await site.call("GET", "/v1/orders", headers=site.bearer("bearing"))).status == 200
    await site.parts.refusals.flush()
    assert [(row.reason, row.count) for row in await site.sources.refusals("signing")] == [("key_missing", 1)]


async def test_what_does_not_open_is_named_once(site: Site) -> None:
    """Source and key id in the log, once and not with every load, and in the readiness of a face that stays ready."""
    with structlog.testing.capture_logs() as lines:
        await add_sealed(site, "another")
        await site.parts.source_cache.refresh()
    (line,) = [line for line in lines if line["event"] == "source_secrets_sealed"]
    assert (line["log_level"], line["source"], line["problems"]) == ("error", "another", ["key 'knew' missing"])
    status, parts = await parts_of(site)
    assert (status, parts["sources"]) == (200, "degraded: key 'knew' missing for source another")
    await site.sources.disable("another", actor="test")
    await site.parts.source_cache.refresh()
    assert await site.parts.source_cache.probe() is None


async def test_a_log_that_answers_and_stores_nothing_is_down(site: Site) -> None:
    """As with a full disk: every webhook is 503, so this process is not ready."""
    log = site.log
    assert isinstance(log, FakeLog)
    log.stalled, log._publish_limit_s = True, 0.01
    assert (await site.post("/v1/webhooks/courier", READY, site.bearer("courier"))).status == 503
    status, parts = await parts_of(site)
    assert (status, parts["log"]) == (503, "down: log_unavailable")


def test_an_append_speaks_for_the_log_for_a_while() -> None:
    """A failure counts for ten seconds, or until an append succeeds."""
    now = 100.0
    outcome = AppendOutcome(lambda: now)
    outcome.check()
    outcome.failed()
    with pytest.raises(LogUnavailable):
        outcome.check()
    outcome.stored()
    outcome.check()
    outcome.failed()
    now += APPEND_FAILURE_COUNTS_S
    outcome.check()
