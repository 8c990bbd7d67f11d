from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.records import EventRecord, load_record
from schemas.statuses import Role
from schemas.topics import RECEIVED
from service.dialects import registry
from service.dialects.port import Answer
from service.ingress.verdict_answers import render
from tests.integration.test_http_webhooks import assert_problem
from tests.support.courierese import Courierese
from tests.support.fake_log import FakeLog
from tests.support.http_face import Site, serve_site


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
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return await site.call("POST", "/v1/webhooks/speedy", data=raw, headers=headers)


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
    plain = await send(site, [], **{"Content-Type": "text/plain"})
    assert (plain.status, plain.json["reason"]) == (
        415,
        "The body must be a courier's list, sent as text/x-courier.",
    )
    wrong = await send(site, [], Authorization="Bearer nonsense")
    assert (wrong.status, wrong.json) == (401, {"reason": "token"})
    assert wrong.headers["X-Request-Id"]
    assert isinstance(site.log, FakeLog)
    site.log.down = True
    outage = await send(site, ["A"])
    assert (outage.status, outage.raw, outage.headers["Content-Type"]) == (500, b"again", "text/plain; charset=utf-8")
    stranger = await site.call("POST", "/v1/webhooks/nobody", data=b"[]", headers=site.bearer("speedy"))
    assert_problem(stranger, 401, "unauthenticated")


@pytest.mark.parametrize(
    "body",
    [b"", b"no JSON", b"[", [None], [{}], [True], [1.5], ["A", ["B"]], ["x" * 70_000], ["  "], ["A\u0000"]]
    + [["A", {"id": "B", "remark": remark}] for remark in ("x" * 501, 5, ["y"])],
)  # fmt: skip
async def test_what_a_dialect_lets_through_is_refused_and_not_logged(site: Site, body: Any) -> None:
    """Ids and texts that cannot be kept are a 400, never a 500, although the dialect checks neither."""
    assert (await send(site, body)).status == 400
    assert isinstance(site.log, FakeLog)
    assert site.log.records(RECEIVED) == []


async def test_one_order_has_one_key_however_a_dialect_names_it(site: Site) -> None:
    """Outer spaces and a number's type are no part of an id, in the record or in its key."""
    assert (await send(site, ["  A  ", 17])).status == 200
    assert isinstance(site.log, FakeLog)
    logged = [(record.key, load_record(record.value)) for record in site.log.records(RECEIVED)]
    assert {(key, record.order_id) for key, record in logged if isinstance(record, EventRecord)} == {
        (b"default:A", "A"),
        (b"default:17", "17"),
    }


def test_answers_are_written_as_their_type_says() -> None:
    """JSON types are made into JSON, others are sent as they stand, and anything else is a fault of the dialect."""
    assert render(Answer(200, "ok")).body == b'"ok"'
    assert render(Answer(200, {"a": 1}, content_type="application/problem+json; charset=utf-8")).body == b'{"a":1}'
    assert render(Answer(200, "ök", content_type="text/plain; charset=utf-8")).body == "ök".encode()
    assert render(Answer(200, b"<ok/>", content_type="application/xml")).body == b"<ok/>"
    assert render(Answer(204, None)).body is None
    with pytest.raises(TypeError, match="text/plain"):
        render(Answer(200, {"a": 1}, content_type="text/plain"))
