"""The HTTP face on a SQLite store, served on a port of its own, with partners that sign and post as real ones do."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from standardwebhooks.webhooks import Webhook

from backbone.clocks import SYSTEM_CLOCK, Clock
from backbone.eventlog.port import EventLog
from backbone.metrics import Metrics
from backbone.settings import Settings
from backbone.store.definitions import NewSource
from backbone.store.engine import Store
from backbone.store.migration import migrate
from backbone.store.opening import open_store
from backbone.store.secrets import SecretBox
from backbone.store.sources import SourceRepository
from backbone.store.tokens import TokenRepository
from schemas.statuses import Role
from schemas.topics import topic_specs
from service.app import Face, Parts, make_parts, start_face
from tests.support.fake_log import FakeLog

PARTITIONS = 3


@dataclass(frozen=True)
class Reply:
    """An answer, read whole."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return orjson.loads(self.raw)


@dataclass
class Site:
    """A served face with what stands behind it."""

    settings: Settings
    log: EventLog
    store: Store
    parts: Parts
    face: Face
    http: aiohttp.ClientSession
    sources: SourceRepository
    tokens: TokenRepository
    secrets: dict[str, str] = field(default_factory=dict)

    async def add_source(self, name: str, role: Role = Role.PLATFORM, **options: Any) -> str:
        """Makes a source and returns its secret or token; the face knows it at once."""
        _, secret = await self.sources.add(NewSource(name=name, role=role, **options), actor="test")
        self.secrets[name] = secret
        await self.parts.source_cache.refresh()
        return secret

    async def add_token(self, name: str = "reader") -> dict[str, str]:
        """Makes an access token and returns the header that carries it."""
        token = await self.tokens.add(name, "read", actor="test")
        await self.parts.token_cache.refresh()
        return {"Authorization": f"Bearer {token}"}

    def bearer(self, name: str) -> dict[str, str]:
        """The header with this source's token."""
        return {"Authorization": f"Bearer {self.secrets[name]}"}

    async def call(self, method: str, path: str, **options: Any) -> Reply:
        """One request on the public port."""
        async with self.http.request(method, self.face.public.url + path, **options) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """Posts JSON."""
        merged = {"Content-Type": "application/json", **(headers or {})}
        return await self.call("POST", path, data=orjson.dumps(body), headers=merged)

    async def send(self, name: str, body: Any, **changes: Any) -> Reply:
        """Posts a signed webhook as a partner would."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        headers = sign(self.secrets[name], raw, **changes)
        return await self.call("POST", f"/v1/webhooks/{name}", data=raw, headers=headers)


def sign(secret: str, raw: bytes, *, event_id: str = "msg_1", at: float | None = None) -> dict[str, str]:
    """Headers that the official library makes for this body."""
    moment = datetime.fromtimestamp(int(time.time() if at is None else at), tz=UTC)
    return {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(event_id, moment, raw.decode()),
    }


@asynccontextmanager
async def serve_site(
    data_dir: Path, *, log: EventLog | None = None, clock: Clock = SYSTEM_CLOCK, **options: Any
) -> AsyncIterator[Site]:
    """A face on a migrated SQLite store and the given log (a fake one unless given), until the block ends."""
    settings = Settings(data_dir=data_dir, port=0, admin_port=0, partitions=PARTITIONS, **options)
    log = log if log is not None else FakeLog(now_ms=clock.now_ms)
    await migrate(settings)
    store = open_store(settings, purpose="service")
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=PARTITIONS, replication=1, min_insync=1))
    box = SecretBox.parse("k1:" + base64.b64encode(bytes(32)).decode())
    parts = make_parts(settings, log, store, box, metrics=Metrics(), clock=clock)
    face = await start_face(parts)
    async with aiohttp.ClientSession() as http:
        try:
            yield Site(
                settings=settings,
                log=log,
                store=store,
                parts=parts,
                face=face,
                http=http,
                sources=SourceRepository(store, box, now_ms=clock.now_ms),
                tokens=TokenRepository(store, now_ms=clock.now_ms),
            )
        finally:
            await face.stop()
            await log.stop()
            await store.close()


@asynccontextmanager
async def serve_beside(site: Site, ring: str = "k1:" + base64.b64encode(bytes(32)).decode()) -> AsyncIterator[Site]:
    """A second face on the log and the store of a served one, with caches and a port of its own, perhaps other keys."""
    box = SecretBox.parse(ring)
    parts = make_parts(site.settings, site.log, site.store, box, metrics=Metrics())
    face = await start_face(parts)
    try:
        yield replace(site, parts=parts, face=face)
    finally:
        await face.stop()
