"""Sources and their credentials. Every change writes its act of administration in the same transaction.

A source keeps its uid and its receipt key for life. Its credentials come and go: a rotation adds one and lets the
others live on for a grace period, so that the partner can change over without a refused request.
"""

from __future__ import annotations

import secrets as random
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from sqlalchemy import RowMapping, delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.acts import record_act
from backbone.store.admin_tables import source_credentials, sources
from backbone.store.definitions import Credential, NewSource, check_source, make_credential
from backbone.store.engine import Store
from backbone.store.refusals import UNKNOWN_SOURCE, Refusal, read_refusals, record_refusals
from backbone.store.secrets import SecretBox
from backbone.store.source_rows import Source, read_source
from schemas.errors import ConfigurationError, ConflictingName, DefinitionInvalid, NotFound, SecretSealed
from schemas.identifiers import DEFAULT_WORKSPACE

__all__ = ["NewSource", "Refusal", "Source", "SourceRepository", "has_sources"]

_RECEIPT_KEY_BYTES = 32


class SourceRepository:
    """The sources of one workspace. `now_ms` is the wall clock of administration; no decision reads it.

    All methods raise StoreUnavailable. A source whose secrets do not open, since the key ring lacks their key, is
    listed like any other, without them (`Source.sealed`): one bad row must not keep others from taking effect.
    """

    def __init__(
        self, store: Store, box: SecretBox, *, workspace: str = DEFAULT_WORKSPACE, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._box = box
        self._workspace = workspace
        self._now_ms = now_ms

    async def add(self, new: NewSource, *, actor: str) -> tuple[Source, str]:
        """Make a source. Returns it with the text of its secret or token, which is never shown again.

        Raises DefinitionInvalid with all that is wrong, and ConflictingName.
        """
        parties = check_source(new)
        credential = make_credential(new.auth, new.secret)
        now, uid = self._now_ms(), uuid.uuid4().hex
        receipt_key = random.token_bytes(_RECEIPT_KEY_BYTES)
        sealed, key_id = self._box.seal(receipt_key, bound_to=self._bound_to(uid, "receipt-key"))
        public: dict[str, Any] = {
            "role": new.role.value,
            "dialect": new.dialect,
            "auth": new.auth,
            "policy": new.policy.value,
            "hold_ms": new.hold_ms,
            "ahead_hold_ms": new.ahead_hold_ms,
            "skew_ms": new.skew_ms,
            "rate": new.rate,
            "url": new.url,
            "id_prefix": new.id_prefix,
            "stores": orjson.dumps(dict(new.stores)).decode() if new.stores else None,
            "zone": new.zone,
        }
        row = public | {
            "workspace": self._workspace,
            "uid": uid,
            "name": new.name,
            "parties": None if parties is None else orjson.dumps(parties).decode(),
            "receipt_key": sealed,
            "receipt_key_id": key_id,
            "created_at": now,
        }
        try:
            async with self._store.transaction() as connection:
                await connection.execute(sources.insert().values(row))
                await self._insert_credential(connection, uid, credential, now)
                detail = public | {"uid": uid, "parties": parties, "secret": "issued" if new.secret else "generated"}
                await self._record(connection, now, actor, "source.add", new.name, detail)
        except IntegrityError as error:
            raise _conflict(error, new.name) from error
        source = Source(
            workspace=self._workspace,
            uid=uid,
            name=new.name,
            dialect=new.dialect,
            role=new.role,
            parties=parties,
            policy=new.policy,
            hold_ms=new.hold_ms,
            skew_ms=new.skew_ms,
            rate=new.rate,
            auth=new.auth,
            url=new.url,
            receipt_key=receipt_key,
            secrets=() if credential.key is None else (credential.key,),
            token_hashes=() if credential.token_hash is None else (credential.token_hash,),
            created_at=now,
            disabled_at=None,
            ahead_hold_ms=new.ahead_hold_ms,
            id_prefix=new.id_prefix,
            stores=dict(new.stores),
            zone=new.zone,
        )
        return source, credential.shown

    async def rotate(
        self, name: str, *, grace_ms: int, secret: bytes | str | None = None, actor: str
    ) -> tuple[Source, str]:
        """Give the source a new credential (its partner's, if one is given); the others end after `grace_ms`.

        A credential that ends earlier already keeps its end. Returns the source with all live credentials, and the new
        text, which is never shown again. Raises NotFound (a disabled source too), DefinitionInvalid, ConflictingName,
        and ConfigurationError when its receipt key does not open: no credential would make the source work then.
        """
        if grace_ms < 0:
            raise DefinitionInvalid("the grace period must not be negative")
        now = self._now_ms()
        live = source_credentials.c
        try:
            async with self._store.transaction() as connection:
                row = await self._find(connection, name)
                if row["disabled_at"] is not None:
                    raise NotFound(f"the source {name!r} is disabled; first: mealtrail source enable {name}")
                uid = row["uid"]
                credential = make_credential(row["auth"], secret)
                own = (live.workspace == self._workspace, live.source_uid == uid)
                await connection.execute(delete(source_credentials).where(*own, live.expires_at <= now))
                await connection.execute(
                    update(source_credentials)
                    .where(*own, or_(live.expires_at.is_(None), live.expires_at > now + grace_ms))
                    .values(expires_at=now + grace_ms)
                )
                await self._insert_credential(connection, uid, credential, now)
                detail = {"uid": uid, "grace_ms": grace_ms, "secret": "issued" if secret else "generated"}
                await self._record(connection, now, actor, "source.rotate", name, detail)
                (source,) = await self._load(connection, now, sources.c.uid == uid)
                if not source.receipt_key:
                    raise ConfigurationError(
                        f"the receipt key of the source {name!r} does not open: {', '.join(source.sealed)}; "
                        "complete MEALTRAIL_SECRET_KEYS, or make a new source"
                    )
        except IntegrityError as error:
            raise _conflict(error, name) from error
        return source, credential.shown

    async def disable(self, name: str, *, actor: str) -> None:
        """Take no more of the source's requests. May be repeated. Raises NotFound."""
        now = self._now_ms()
        async with self._store.transaction() as connection:
            row = await self._find(connection, name)
            if row["disabled_at"] is not None:
                return
            mine = (sources.c.workspace == self._workspace, sources.c.uid == row["uid"])
            await connection.execute(update(sources).where(*mine).values(disabled_at=now))
            await self._record(connection, now, actor, "source.disable", name, {"uid": row["uid"]})

    async def enable(self, name: str, *, actor: str) -> None:
        """Take a disabled source's requests again, with the credentials it had. May be repeated. Raises NotFound."""
        now = self._now_ms()
        async with self._store.transaction() as connection:
            row = await self._find(connection, name)
            if row["disabled_at"] is None:
                return
            mine = (sources.c.workspace == self._workspace, sources.c.uid == row["uid"])
            await connection.execute(update(sources).where(*mine).values(disabled_at=None))
            await self._record(connection, now, actor, "source.enable", name, {"uid": row["uid"]})

    async def all(self, *, include_disabled: bool = False) -> list[Source]:
        """All sources by name, each with those of its credentials that are live now."""
        conditions = () if include_disabled else (sources.c.disabled_at.is_(None),)
        async with self._store.reading() as connection:
            return await self._load(connection, self._now_ms(), *conditions)

    async def record_refusals(self, refusals: Sequence[Refusal]) -> None:
        """Add counts of refused requests; names that are no source's are counted under `?`."""
        await record_refusals(self._store, self._workspace, refusals)

    async def refusals(self, name: str | None) -> list[Refusal]:
        """Counts of refused requests, latest first: of one source (`?` are names that are no source's), or (None) of
        all. Raises NotFound for a name that is no source's.
        """
        if name not in {None, UNKNOWN_SOURCE}:
            mine = (sources.c.workspace == self._workspace, sources.c.name == name)
            async with self._store.reading() as connection:
                if await connection.scalar(select(sources.c.uid).where(*mine)) is None:
                    raise NotFound(f"there is no source {name!r}")
        return await read_refusals(self._store, self._workspace, name)

    def _bound_to(self, uid: str, what: str) -> str:
        return f"{self._workspace}/{uid}/{what}"

    async def _record(
        self, connection: AsyncConnection, now: int, actor: str, act: str, name: str, detail: dict[str, Any]
    ) -> None:
        await record_act(
            connection, workspace=self._workspace, at=now, actor=actor, act=act, subject=name, detail=detail
        )

    async def _find(self, connection: AsyncConnection, name: str) -> RowMapping:
        """The source's row, locked against another rotation (SQLite has one writer anyway)."""
        mine = (sources.c.workspace == self._workspace, sources.c.name == name)
        found = await connection.execute(
            select(sources.c.uid, sources.c.auth, sources.c.disabled_at).where(*mine).with_for_update()
        )
        row = found.mappings().one_or_none()
        if row is None:
            raise NotFound(f"there is no source {name!r}")
        return row

    async def _insert_credential(self, connection: AsyncConnection, uid: str, credential: Credential, now: int) -> None:
        credential_id = uuid.uuid4().hex
        sealed, key_id = None, None
        if credential.key is not None:
            sealed, key_id = self._box.seal(credential.key, bound_to=self._bound_to(uid, f"secret/{credential_id}"))
        await connection.execute(
            source_credentials.insert().values(
                workspace=self._workspace,
                source_uid=uid,
                credential_id=credential_id,
                secret=sealed,
                key_id=key_id,
                token_hash=credential.token_hash,
                created_at=now,
            )
        )

    async def _load(self, connection: AsyncConnection, now: int, *conditions: Any) -> list[Source]:
        found = await connection.execute(
            select(sources).where(sources.c.workspace == self._workspace, *conditions).order_by(sources.c.name)
        )
        live = source_credentials.c
        credentials = await connection.execute(
            select(live.source_uid, live.credential_id, live.secret, live.key_id, live.token_hash)
            .where(live.workspace == self._workspace, or_(live.expires_at.is_(None), live.expires_at > now))
            # The newest has no end; among those that end, the one made last.
            .order_by(live.expires_at.is_not(None), live.created_at.desc(), live.credential_id)
        )
        keys: dict[str, list[bytes]] = defaultdict(list)
        hashes: dict[str, list[str]] = defaultdict(list)
        sealed_by: dict[str, list[str]] = defaultdict(list)
        rows = found.mappings().all()
        wanted = {row["uid"] for row in rows}

        def unseal(uid: str, what: str, sealed: bytes, key_id: str) -> bytes:
            try:
                return self._box.open(sealed, key_id, bound_to=self._bound_to(uid, what))
            except SecretSealed as error:
                if error.problem not in sealed_by[uid]:
                    sealed_by[uid].append(error.problem)
                return b""

        for uid, credential_id, sealed, key_id, token_hash in credentials:
            if uid not in wanted:
                continue
            if sealed is not None and (key := unseal(uid, f"secret/{credential_id}", sealed, key_id)):
                keys[uid].append(key)
            if token_hash is not None:
                hashes[uid].append(token_hash)
        loaded = []
        for row in rows:
            uid = row["uid"]
            receipt_key = unseal(uid, "receipt-key", row["receipt_key"], row["receipt_key_id"])
            loaded.append(read_source(row, receipt_key, tuple(keys[uid]), tuple(hashes[uid]), tuple(sealed_by[uid])))
        return loaded


async def has_sources(store: Store) -> bool:
    """Whether there is any source, of whatever workspace, disabled ones too. Raises StoreUnavailable."""
    async with store.reading() as connection:
        return await connection.scalar(select(sources.c.uid).limit(1)) is not None


def _conflict(error: IntegrityError, name: str) -> ConflictingName:
    if "token_hash" in str(error.orig):
        return ConflictingName("this token is in use already")
    return ConflictingName(f"there is a source {name!r} already")
