"""What partners call below their webhook URL: routing, access tokens, and that strangers learn nothing."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import orjson
import pytest
import yarl

from backbone.clocks import SYSTEM_CLOCK, Clock
from backbone.store.definitions import NewSource
from schemas.records import EventRecord, load_record
from schemas.statuses import Role
from schemas.topics import RECEIVED
from service import credentials
from service.dialects.order_status import OrderStatusDialect
from service.facades.order_status_errors import EXPIRED
from tests.integration.test_http_webhooks import assert_problem
from tests.support.fake_log import FakeLog
from tests.support.http_face import Reply, Site, serve_site

URL = "/v1/webhooks/"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TAKEN = {"status": "TAKEN_BY_COURIER", "updatedAt": "2021-01-31T12:00:27.870000+03:00"}
STATUS = "/order/A-1/status"


@dataclass
class Ahead:
    """How far the site's clock runs ahead."""

    ms: int = 0

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return SYSTEM_CLOCK.now_ms() + self.ms


@pytest.fixture
def ahead() -> Ahead:
    """To move the site's clock by."""
    return Ahead()


@pytest.fixture
async def site(tmp_path: Path, ahead: Ahead) -> AsyncIterator[Site]:
    """A face with a source of each dialect that has paths, a native one and a disabled one."""
    async with serve_site(tmp_path, clock=Clock(now_ms=ahead.now_ms)) as served:
        await served.add_source("eats", Role.MARKETPLACE, auth="bearer", dialect="order-status")
        await served.add_source("other-eats", Role.MARKETPLACE, auth="bearer", dialect="order-status")
        await served.add_source("grab", Role.MARKETPLACE, auth="bearer", dialect="grabfood")
        await served.add_source("native", Role.PLATFORM, auth="bearer")
        await served.add_source("gone", Role.MARKETPLACE, auth="bearer", dialect="order-status")
        await served.sources.disable("gone", actor="test")
        await served.parts.source_cache.refresh()
        yield served


def logged(site: Site) -> list[EventRecord]:
    """The events in the log."""
    assert isinstance(site.log, FakeLog)
    records = [load_record(record.value) for record in site.log.records(RECEIVED)]
    return [record for record in records if isinstance(record, EventRecord)]


async def put(site: Site, path: str, body: Any, headers: dict[str, str], method: str = "PUT") -> Reply:
    """A call below the webhook URLs."""
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return await site.call(method, URL + path, data=raw, headers={**JSON, **headers})


def client(site: Site, name: str, **changes: str | None) -> dict[str, str]:
    """The fields with which a partner asks for a token."""
    fields: dict[str, str | None] = {
        "grant_type": "client_credentials",
        "client_id": name,
        "client_secret": site.secrets[name],
        **changes,
    }
    return {field: value for field, value in fields.items() if value is not None}


async def ask(site: Site, path: str, fields: Any, *, form: bool = False) -> Reply:
    """Asks for a token."""
    raw = fields if isinstance(fields, bytes) else urlencode(fields).encode() if form else orjson.dumps(fields)
    return await site.call("POST", URL + path, data=raw, headers=FORM if form else JSON)


def stripped(reply: Reply) -> tuple[int, bytes, dict[str, str]]:
    """An answer without what differs from request to request."""
    own = {"x-request-id", "date"}
    headers = {name: value for name, value in reply.headers.items() if name.lower() not in own}
    return reply.status, reply.raw.replace(reply.headers["X-Request-Id"].encode(), b"?"), headers


async def test_the_webhook_url_itself_is_looked_at_first(site: Site) -> None:
    """Requests are held against paths in their order: those that partners declare below it come after it."""
    paths = [resource.canonical for resource in site.face.public.runner.app.router.resources()]
    ours = [path for path in paths if path.startswith(URL)]
    assert ours[0] == URL + "{source}"
    assert len(ours) > 2


async def test_a_call_below_the_url_is_an_event(site: Site) -> None:
    """Method and path are the dialect's; the order's id is the path's, decoded, and the answer the partner's."""
    reply = await put(site, "eats/order/1%2F2%20%25/status", TAKEN, site.bearer("eats"))
    assert (reply.status, reply.raw) == (204, b"")
    reply = await put(site, "grab/order/state", {"orderID": "G-1", "state": "COLLECTED"}, site.bearer("grab"))
    assert (reply.status, reply.raw) == (200, b"")
    assert [record.order_id for record in logged(site)] == ["1/2 %", "G-1"]


@pytest.mark.parametrize("form", [True, False], ids=["form", "JSON"])
@pytest.mark.parametrize(
    ("name", "path", "scope", "call"),
    [
        ("eats", "/security/oauth/token", "read write", (STATUS, TAKEN, 204)),
        ("grab", "/oauth/token", "food.partner_api", ("/order/state", {"orderID": "G", "state": "FAILED"}, 200)),
    ],
    ids=["order-status", "grabfood"],
)
async def test_a_token_is_fetched_and_used(
    site: Site, form: bool, name: str, path: str, scope: str, call: tuple[str, Any, int]
) -> None:
    """Client credentials, as a form or JSON, with the scope or without it; then the calls with that token."""
    where, body, status = call
    for asked in (scope, None):
        reply = await ask(site, name + path, client(site, name, scope=asked), form=form)
        assert reply.status == 200, reply.raw
        assert reply.headers["Cache-Control"] == "no-store"
        told = reply.json
        assert (told["token_type"], told["expires_in"], told["scope"]) == ("Bearer", 3600, scope)
        bearer = {"Authorization": f"Bearer {told['access_token']}"}
        assert (await put(site, name + where, body, bearer)).status == status
    assert len(logged(site)) == 2


async def test_what_a_token_opens(site: Site, ahead: Ahead) -> None:
    """Its own source's calls, for an hour, while source and secret live; no other source, no other API, no reading."""
    token = (await ask(site, "eats/security/oauth/token", client(site, "eats"))).json["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await put(site, "eats" + STATUS, TAKEN, bearer)).status == 204
    for path in ("other-eats" + STATUS, "native", "grab/order/state", "gone" + STATUS, "nobody" + STATUS):
        method = "POST" if path == "native" else "PUT"
        assert (await put(site, path, TAKEN, bearer, method)).status == 401, path
    assert (await site.call("GET", "/v1/orders/A-1", headers=bearer)).status == 401
    assert (await site.call("PUT", "/order/A-1/status", json=TAKEN, headers=bearer)).status == 401
    facade = await site.call("POST", "/security/oauth/token", data=urlencode(client(site, "eats")), headers=FORM)
    theirs = {"Authorization": f"Bearer {facade.json['access_token']}"}
    assert (await put(site, "eats" + STATUS, TAKEN, theirs)).status == 401
    ahead.ms = 3_600_000
    assert (await put(site, "eats" + STATUS, TAKEN, bearer)).status == 401
    ahead.ms = 0
    await site.sources.disable("eats", actor="test")
    await site.parts.source_cache.refresh()
    assert (await put(site, "eats" + STATUS, TAKEN, bearer)).status == 401


async def test_forged_tokens(site: Site) -> None:
    """No algorithm, another key, a token of the right source that we did not sign."""
    token = (await ask(site, "eats/security/oauth/token", client(site, "eats"))).json["access_token"]
    head, claims, signature = token.split(".")
    said = jwt.decode(token, options={"verify_signature": False})
    kid = jwt.get_unverified_header(token)["kid"]
    forged = [
        jwt.encode(said, "", algorithm="none", headers={"kid": kid}),
        jwt.encode(said, "x" * 32, algorithm="HS256", headers={"kid": kid}),
        jwt.encode(said, site.secrets["eats"].ljust(32, "x"), algorithm="HS256", headers={"kid": "another"}),
        f"{head}.{claims}.",
        f"{head}.{claims}.{signature[:-4]}AAAA",
        "..",
        f"{'a' * 100}.{'b' * 100}.{'c' * 100}",
        "e30.e30.e30",
    ]
    for one in forged:
        reply = await put(site, "eats" + STATUS, TAKEN, {"Authorization": f"Bearer {one}"})
        assert (reply.status, reply.json) == (401, {"reason": EXPIRED}), one


BELOW = (
    STATUS,
    "/order/A-1/courier",
    "/order/state",
    "/security/oauth/token",
    "/oauth/token",
    "/nothing/of/this",
    "/o",
)


@pytest.mark.parametrize("auth", [None, "Bearer nonsense", "Bearer a.b.c", "Basic eDp5"])
async def test_a_stranger_learns_nothing(site: Site, auth: str | None) -> None:
    """The same answer to the byte for every name: one that is there, of whatever dialect, disabled, or nobody's."""
    headers = {} if auth is None else {"Authorization": auth}
    for path, method in itertools.product(BELOW, ("GET", "PUT", "POST", "DELETE")):
        answers = [
            stripped(await put(site, name + path, TAKEN, headers, method))
            for name in ("eats", "grab", "native", "gone", "nobody")
        ]
        assert all(answer == answers[0] for answer in answers), answers
        assert answers[0][0] in ({400, 405} if path.endswith("token") else {401})
    assert not logged(site)


async def test_a_stranger_at_the_url_itself(site: Site) -> None:
    """The constant 401, also of a source whose dialect has words of its own and takes nothing there."""
    for method in ("POST", "PUT"):
        answers = [
            stripped(await put(site, name, TAKEN, {}, method)) for name in ("eats", "grab", "native", "gone", "nobody")
        ]
        assert all(answer == answers[0] for answer in answers), answers
    reply = await put(site, "eats", TAKEN, {}, "DELETE")
    assert_problem(reply, 405, "method_not_allowed")


async def test_a_stranger_who_asks_for_tokens_learns_nothing(site: Site) -> None:
    """A wrong secret, another's secret, a name that does not fit the path, nobody: one answer; and it is counted."""
    path, answers = "/security/oauth/token", []
    asked = [
        ("eats", client(site, "eats", client_secret="x" * 40)),
        ("eats", client(site, "eats", client_id="nobody")),
        ("eats", client(site, "other-eats")),
        ("eats", client(site, "other-eats", client_id="eats")),
        ("other-eats", client(site, "eats")),
        ("grab", client(site, "grab")),
        ("native", client(site, "native")),
        ("gone", client(site, "gone")),
        ("nobody", client(site, "eats", client_id="nobody")),
    ]
    for name, fields in asked:
        answers.append(stripped(await ask(site, name + path, fields)))
    assert all(answer == answers[0] for answer in answers), answers
    status, raw, headers = answers[0]
    assert (status, orjson.loads(raw)[0]["code"]) == (401, 133)
    assert headers["WWW-Authenticate"].startswith("Bearer")
    await site.parts.refusals.flush()
    counted = {(one.source, one.reason) for one in await site.sources.refusals(None)}
    assert {("eats", "bad_token"), ("?", "unknown_source"), ("gone", "source_disabled")} <= counted
    assert ("?", "bad_token") not in counted


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": None}, "invalid_request"),
        ({"client_id": None}, "invalid_request"),
        ({"client_secret": ""}, "invalid_request"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"scope": "read"}, "invalid_scope"),
    ],
)
@pytest.mark.parametrize("form", [True, False], ids=["form", "JSON"])
async def test_a_token_that_is_not_issued(site: Site, form: bool, changes: dict[str, str | None], code: str) -> None:
    """RFC 6749's codes, in the words of the partner: an array for one, the standard's shape for the other."""
    known = {"invalid_request": 130, "unsupported_grant_type": 131, "invalid_scope": 132}
    reply = await ask(site, "eats/security/oauth/token", client(site, "eats", **changes), form=form)
    assert reply.status == 400
    assert [one["code"] for one in reply.json] == [known[code]]
    assert reply.json[0]["description"].startswith(f"{code}: ")
    reply = await ask(site, "grab/oauth/token", client(site, "grab", **changes), form=form)
    assert (reply.status, reply.json["error"]) == (400, code)
    assert reply.json["error_description"]
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"client_id":"\\ud800"}', b'{"a":' + b"9" * 10_000 + b"}",
        b'{"grant_type":"client_credentials","client_id":["eats"],"client_secret":"x"}',
        b'{"grant_type":"client_credentials","client_id":"eats","client_secret":"x","scope":1}',
    ],
    ids=lambda body: str(body[:24]),
)  # fmt: skip
async def test_hostile_bodies_at_the_token_endpoint(site: Site, body: bytes) -> None:
    """No body makes a 500 of it, as JSON or as a form."""
    for form in (True, False):
        reply = await ask(site, "eats/security/oauth/token", body, form=form)
        assert reply.status == 400, reply.raw
        assert reply.json[0]["code"] == 130


@pytest.mark.parametrize(
    "body", ["a=1&a=1", "a", "%ff=1", "a=%ff", "&".join(f"f{n}=1" for n in range(60)), "client_id=é"]
)
async def test_forms_that_are_none(site: Site, body: str) -> None:
    """Fields that are there twice, cannot be decoded, or are too many; also beside all that is needed."""
    for raw in (body, f"{urlencode(client(site, 'grab'))}&{body}"):
        reply = await ask(site, "grab/oauth/token", raw.encode(), form=True)
        assert (reply.status, reply.json["error"]) == (400, "invalid_request")


async def test_other_types_and_methods_at_the_token_endpoint(site: Site) -> None:
    """405 with what it takes, 415 for another type and for a compressed body, 413: each in the partner's shape."""
    reply = await site.call("GET", URL + "eats/security/oauth/token")
    assert (reply.status, reply.headers["Allow"], reply.json[0]["code"]) == (405, "POST", 140)
    for headers in ({"Content-Type": "text/plain"}, {**JSON, "Content-Encoding": "gzip"}, {"Content-Type": ""}):
        reply = await site.call("POST", URL + "eats/security/oauth/token", data=b"{}", headers=headers)
        assert (reply.status, reply.json[0]["code"]) == (415, 143)
    reply = await site.call("POST", URL + "nobody/security/oauth/token", data=b"x" * 300_000, headers=JSON)
    assert (reply.status, reply.json[0]["code"]) == (413, 142)


async def test_a_token_is_a_request_of_its_source(site: Site) -> None:
    """Asking takes of the source's rate, in the partner's shape and with the status that it needs."""
    await site.add_source("slow-eats", Role.MARKETPLACE, auth="bearer", dialect="order-status", rate=1)
    await site.add_source("slow-grab", Role.MARKETPLACE, auth="bearer", dialect="grabfood", rate=1)
    for name, path, status in (("slow-eats", "/security/oauth/token", 429), ("slow-grab", "/oauth/token", 503)):
        replies = [await ask(site, name + path, client(site, name)) for _ in range(5)]
        assert {reply.status for reply in replies} == {200, status}
        assert "Retry-After" in replies[-1].headers
        assert name == "slow-eats" or replies[-1].json["code"] == "rate_limited"


async def test_a_source_made_a_moment_ago(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets its token at the first try, before the next load of the credentials is due."""
    monkeypatch.setattr(credentials, "MISS_EVERY_S", 0.0)
    new = NewSource(name="fresh", role=Role.MARKETPLACE, auth="bearer", dialect="order-status")
    _, site.secrets["fresh"] = await site.sources.add(new, actor="test")
    assert (await ask(site, "fresh/security/oauth/token", client(site, "fresh"))).status == 200


async def test_what_a_proved_source_is_told(site: Site) -> None:
    """Its own words for a path that is not there, another dialect's path, another method, another type, a bad body."""
    eats, grab, native = site.bearer("eats"), site.bearer("grab"), site.bearer("native")
    for path in ("eats", "eats/order/A-1", "eats/order/A-1/status/"):
        reply = await put(site, path, TAKEN, eats, "POST" if path == "eats" else "PUT")
        assert (reply.status, [one["code"] for one in reply.json]) == (404, [100]), path
    assert_problem(await put(site, "eats/order/state", TAKEN, eats), 404, "not_found")
    reply = await put(site, "eats" + STATUS, TAKEN, eats, "DELETE")
    assert (reply.status, reply.headers["Allow"], reply.json[0]["code"]) == (405, "PUT", 140)
    reply = await put(site, "eats" + STATUS, TAKEN, {**eats, "Content-Type": "text/plain"})
    assert (reply.status, reply.json[0]["code"]) == (415, 143)
    reply = await put(site, "eats" + STATUS, {"status": 5, "comment": 5}, eats)
    assert (reply.status, [one["code"] for one in reply.json]) == (400, [101, 101])
    reply = await put(site, "eats" + STATUS, b"x" * 300_000, eats)
    assert (reply.status, reply.json[0]["code"]) == (413, 142)
    assert_problem(await put(site, "native", TAKEN, native), 405, "method_not_allowed")
    assert_problem(await put(site, "native/order/state", TAKEN, native), 404, "not_found")
    assert_problem(await put(site, "grab/nothing", TAKEN, grab), 404, "not_found")
    reply = await put(site, "native" + STATUS, TAKEN, native)
    assert (reply.status, [one["code"] for one in reply.json]) == (404, [100])
    assert not logged(site)


async def test_outages_and_faults_in_the_partners_shape(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is away: 503 with when to come again. A fault of ours: an empty-handed 500."""
    assert isinstance(site.log, FakeLog)
    site.log.down = True
    reply = await put(site, "eats" + STATUS, TAKEN, site.bearer("eats"))
    assert (reply.status, reply.json[0]["code"]) == (503, 151)
    assert "Retry-After" in reply.headers

    def break_down(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(OrderStatusDialect, "parse", break_down)
    reply = await put(site, "eats" + STATUS, TAKEN, site.bearer("eats"))
    assert (reply.status, reply.json[0]["code"]) == (500, 150)
    assert b"boom" not in reply.raw


@pytest.mark.parametrize(
    "segment", ["%00", "%ff", "%", "%2e%2e", "%F0%9F%8D%95", "A%0a", "x" * 129, "%20", "%C0%AF", "{orderId}", "A;b=1"]
)
async def test_hostile_paths(site: Site, segment: str) -> None:
    """Whatever stands for the order's id: taken as an id, or refused in the partner's words; never a 500."""
    target = yarl.URL(f"{site.face.public.url}{URL}eats/order/{segment}/status", encoded=True)
    async with site.http.put(target, data=orjson.dumps(TAKEN), headers={**JSON, **site.bearer("eats")}) as reply:
        raw = await reply.read()
        assert reply.status in {204, 400, 404}, raw
    assert len(logged(site)) == (1 if reply.status == 204 else 0)


async def test_the_calls_are_told_apart_in_metrics_by_their_path(site: Site) -> None:
    """The route's label is the path as declared, never what was sent."""
    await put(site, "eats" + STATUS, TAKEN, site.bearer("eats"))
    await put(site, "eats/nothing/1", TAKEN, {})
    found = {
        sample.labels["route"]
        for metric in site.parts.metrics.registry.collect()
        for sample in metric.samples
        if "route" in sample.labels
    }
    assert {URL + "{source}/order/{orderId}/status", URL + "{source}/{below}"} <= found
