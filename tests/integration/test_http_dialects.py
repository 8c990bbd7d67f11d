from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from backbone.store.sources import Source
from schemas.errors import LogUnavailable, MalformedEvent, MealtrailError, NotAuthenticated, RequestRefused
from schemas.events import FactEvent, StatusEvent
from schemas.records import EventRecord, load_record
from schemas.statuses import OrderStatus, Role
from schemas.topics import RECEIVED
from service.dialects import registry
from service.dialects.bearer import verify_token
from service.dialects.port import Answer, Inbound, ParsedEvent, Taken
from tests.integration.test_http_webhooks import assert_problem
from tests.support.fake_log import FakeLog
from tests.support.http_face import Site, serve_site


class Courierese:
    """A partner that sends lists, wants 200 `ok`, and understands errors only as {"reason"}."""

    name = "courierese"

    def authenticate(self, inbound: Inbound, source: Source) -> None:
        """By bearer token."""
        verify_token(inbound.headers, source.token_hashes)

    def takes(self, content_type: str) -> bool:
        """Its own type."""
        return content_type == "text/x-courier"

    def parse(self, inbound: Inbound, source: Source) -> Sequence[ParsedEvent]:  # noqa: ARG002 - part of the port
        """One event a list item."""
        items: Any = orjson.loads(inbound.raw)
        if not isinstance(items, list):
            raise MalformedEvent("a list, please")
        first, others = FactEvent(code="eta"), StatusEvent(status=OrderStatus.DELIVERED)
        return [ParsedEvent(item, f"e{number}", others if number else first) for number, item in enumerate(items)]

    def answer(self, taken: Sequence[Taken], location: str) -> Answer:  # noqa: ARG002 - part of the port
        """All receipts at once."""
        return Answer(200, {"ok": [one.receipt_id for one in taken]})

    def refuse(self, error: MealtrailError) -> Answer | None:
        """In its own shape; too fast is left to the house."""
        if isinstance(error, NotAuthenticated):
            return Answer(401, {"reason": "token"})
        if isinstance(error, LogUnavailable):
            return Answer(500, {"reason": "again"}, {"Retry-After": "1"})
        return Answer(error.status, {"reason": error.detail}) if isinstance(error, RequestRefused) else None


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A face that knows one more dialect, with a source that speaks it."""
    monkeypatch.setitem(registry.DIALECTS, Courierese.name, Courierese())
    async with serve_site(tmp_path) as served:
        await served.add_source("speedy", Role.COURIER, auth="bearer", dialect=Courierese.name)
        yield served


async def send(site: Site, body: Any, **changes: str) -> Any:
    """Posts in the dialect's content type."""
    headers = {"Content-Type": "text/x-courier", **site.bearer("speedy"), **changes}
    return await site.call("POST", "/v1/webhooks/speedy", data=orjson.dumps(body), headers=headers)


async def test_dialect_decides_events_and_answers(site: Site) -> None:
    """Several events of one request are records of their own; the answer is the dialect's."""
    reply = await send(site, ["A", "B", "C"])
    assert (reply.status, len(reply.json["ok"])) == (200, 3)
    assert isinstance(site.log, FakeLog)
    records = [load_record(record.value) for record in site.log.records(RECEIVED)]
    events = {record.order_id: record for record in records if isinstance(record, EventRecord)}
    assert set(events) == {"A", "B", "C"}
    assert [order for order, record in events.items() if record.payload is not None] == ["A"]
    assert len({record.payload_digest for record in events.values()}) == 1


async def test_dialect_decides_how_refusals_are_told(site: Site) -> None:
    """Every refusal of a known source comes in its own words; a stranger gets the constant 401 of the house."""
    assert (await send(site, {})).json == {"reason": "a list, please"}
    assert (await send(site, [str(n) for n in range(101)])).status == 400
    assert (await send(site, [])).status == 400
    assert (await send(site, [], **{"Content-Type": "text/plain"})).status == 415
    wrong = await send(site, [], Authorization="Bearer nonsense")
    assert (wrong.status, wrong.json) == (401, {"reason": "token"})
    assert wrong.headers["X-Request-Id"]
    assert isinstance(site.log, FakeLog)
    site.log.down = True
    assert (await send(site, ["A"])).json == {"reason": "again"}
    stranger = await site.call("POST", "/v1/webhooks/nobody", data=b"[]", headers=site.bearer("speedy"))
    assert_problem(stranger, 401, "unauthenticated")
