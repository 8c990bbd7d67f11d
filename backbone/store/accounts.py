"""Accounts of the StoreHarmony API, their store locations, and the session tokens that open them.

An account comes from the command line with its first token. Its locations come from the API; each is a restaurant
party, by its store id. A token is the account's own (good for all its stores, and for making more) or one store's
(good for that store alone). Tokens are stored as hashes and shown once. They do not end by themselves, since the
documented login that would renew them is only listed; disabling the account ends them all.

A creation that is sent again finds its store by the digest of its canonical body, under a unique constraint: two of
them at once make one store too. Each answer has a fresh token; a store keeps its newest ones and the oldest go. Which
are the newest no wall clock decides: each of a store's tokens is dated after the one before it, by a millisecond where
the clock has not moved, or has moved back.
"""

from __future__ import annotations

import secrets as random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.acts import record_act
from backbone.store.definitions import name_problem
from backbone.store.engine import Store
from backbone.store.secrets import hash_token, new_token
from backbone.store.tables import account_sessions, accounts, store_locations
from schemas.canonical import content_digest
from schemas.errors import ConflictingName, DefinitionInvalid, NotAllowed, NotFound
from schemas.identifiers import DEFAULT_WORKSPACE

MOST_STORES = 10_000
"""Of one account: a runaway client fills no table."""
STORE_TOKENS_KEPT = 20
_ID_BYTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account. Times in wall-clock milliseconds; disabled_at is None while it is good."""

    account_id: str
    name: str
    created_at: int
    disabled_at: int | None
    stores: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a session token opens: one store of the account, or (store_id None) the account with all its stores."""

    account_id: str
    store_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLocation:
    """A store as its account described it. `store_id` is the restaurant that orders name."""

    store_id: str
    account_id: str
    profile: dict[str, Any]
    created_at: int


class AccountRepository:
    """The accounts of one workspace. All methods raise StoreUnavailable."""

    def __init__(self, store: Store, *, workspace: str = DEFAULT_WORKSPACE, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._workspace = workspace
        self._now_ms = now_ms

    async def add(self, name: str, *, actor: str) -> tuple[Account, str]:
        """Make an account. Returns it with its first session token, which is never shown again.

        Raises DefinitionInvalid, ConflictingName.
        """
        if problem := name_problem(name):
            raise DefinitionInvalid(problem)
        now = self._now_ms()
        account = Account(account_id=f"ac{random.token_hex(_ID_BYTES)}", name=name, created_at=now, disabled_at=None)
        row = {"workspace": self._workspace, "account_id": account.account_id, "name": name, "created_at": now}
        try:
            async with self._store.transaction() as connection:
                await connection.execute(accounts.insert().values(row))
                token = await self._issue(connection, account.account_id, None, now)
                await self._record(connection, now, actor, "account.add", name, {"account_id": account.account_id})
        except IntegrityError as error:
            raise ConflictingName(f"there is an account {name!r} already") from error
        return account, token

    async def all(self) -> list[Account]:
        """All accounts by name, disabled ones too, each with the number of its stores."""
        own = store_locations.c
        counted = (
            select(func.count())
            .select_from(store_locations)
            .where(own.workspace == accounts.c.workspace, own.account_id == accounts.c.account_id)
            .scalar_subquery()
        )
        mine = accounts.c
        query = (
            select(mine.account_id, mine.name, mine.created_at, mine.disabled_at, counted.label("stores"))
            .where(mine.workspace == self._workspace)
            .order_by(mine.name)
        )
        async with self._store.reading() as connection:
            return [Account(**row) for row in (await connection.execute(query)).mappings()]

    async def disable(self, name: str, *, actor: str) -> None:
        """Let the account's tokens, and those of its stores, open nothing any more, for good.

        May be repeated. Raises NotFound.
        """
        now = self._now_ms()
        mine = (accounts.c.workspace == self._workspace, accounts.c.name == name)
        async with self._store.transaction() as connection:
            query = select(accounts.c.account_id, accounts.c.disabled_at).where(*mine).with_for_update()
            found = (await connection.execute(query)).one_or_none()
            if found is None:
                raise NotFound(f"there is no account {name!r}")
            if found.disabled_at is not None:
                return
            await connection.execute(update(accounts).where(*mine).values(disabled_at=now))
            own = account_sessions.c
            await connection.execute(
                delete(account_sessions).where(own.workspace == self._workspace, own.account_id == found.account_id)
            )
            await self._record(connection, now, actor, "account.disable", name, {"account_id": found.account_id})

    async def session(self, token: str) -> Session | None:
        """What a session token opens; None when it opens nothing."""
        token_hash = hash_token(token)
        return (await self.sessions([token_hash])).get(token_hash)

    async def sessions(self, token_hashes: Sequence[str]) -> dict[str, Session]:
        """What the tokens with these hashes open, by hash, in one statement; those that open nothing are not in it."""
        own = account_sessions.c
        query = select(own.token_hash, own.account_id, own.store_id).where(
            own.token_hash.in_(token_hashes), own.workspace == self._workspace
        )
        async with self._store.reading() as connection:
            rows = (await connection.execute(query)).all()
        return {row.token_hash: Session(account_id=row.account_id, store_id=row.store_id) for row in rows}

    async def location(self, session: Session, store_id: str) -> StoreLocation | None:
        """The store, or None when there is none or this session does not open it."""
        if session.store_id not in {None, store_id}:
            return None
        own = store_locations.c
        async with self._store.reading() as connection:
            return await self._find(connection, own.store_id == store_id, own.account_id == session.account_id)

    async def create_location(self, account_id: str, profile: Mapping[str, Any]) -> tuple[StoreLocation, str, bool]:
        """Make the account's store of this description, or find the one made of it before.

        Returns it with a fresh token and whether it is new. `profile` holds JSON values without floats. May be repeated
        and called at once with the same. Raises NotFound for an account that is not there any more, NotAllowed past
        the number of stores that one account may have.
        """
        digest = content_digest(profile)
        now, own = self._now_ms(), store_locations.c
        row = {
            "workspace": self._workspace,
            "store_id": f"st{random.token_hex(_ID_BYTES)}",
            "account_id": account_id,
            "request_digest": digest,
            "profile": orjson.dumps(dict(profile)).decode(),
            "created_at": now,
        }
        async with self._store.transaction() as connection:
            name = await self._live_name(connection, account_id)
            found = await self._find(connection, own.account_id == account_id, own.request_digest == digest)
            is_new = found is None
            if found is None:
                await self._check_room(connection, account_id)
                await connection.execute(store_locations.insert().values(row))
                found = StoreLocation(
                    store_id=str(row["store_id"]), account_id=account_id, profile=dict(profile), created_at=now
                )
            token = await self._issue(connection, account_id, found.store_id, now)
            if is_new:  # a fresh token for a store that is there is no act: clients ask for them as they like
                detail = {"store_id": found.store_id}
                await self._record(connection, now, f"account:{name}", "account.store.add", name, detail)
        return found, token, is_new

    async def _live_name(self, connection: AsyncConnection, account_id: str) -> str:
        """The account's name; its row stays locked, so that its creations stand in line."""
        mine = accounts.c
        name = await connection.scalar(
            select(mine.name)
            .where(mine.workspace == self._workspace, mine.account_id == account_id, mine.disabled_at.is_(None))
            .with_for_update()
        )
        if name is None:
            raise NotFound("There is no such account.")
        return str(name)

    async def _check_room(self, connection: AsyncConnection, account_id: str) -> None:
        own = store_locations.c
        count = await connection.scalar(
            select(func.count())
            .select_from(store_locations)
            .where(own.workspace == self._workspace, own.account_id == account_id)
        )
        if count is not None and count >= MOST_STORES:
            raise NotAllowed(f"An account has at most {MOST_STORES} stores.")

    async def _find(self, connection: AsyncConnection, *conditions: Any) -> StoreLocation | None:
        own = store_locations.c
        query = select(own.store_id, own.account_id, own.profile, own.created_at).where(
            own.workspace == self._workspace, *conditions
        )
        row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else StoreLocation(**{**row, "profile": orjson.loads(row["profile"])})

    async def _issue(self, connection: AsyncConnection, account_id: str, store_id: str | None, now: int) -> str:
        """A new token; of a store's tokens the newest stay. The account's row must be locked."""
        own, made_at = account_sessions.c, now
        if store_id is not None:
            mine = (own.workspace == self._workspace, own.account_id == account_id, own.store_id == store_id)
            query = select(own.session_id, own.created_at).where(*mine).order_by(own.created_at.desc(), own.session_id)
            earlier = (await connection.execute(query)).all()
            if earlier:
                made_at = max(now, earlier[0].created_at + 1)
            gone = [row.session_id for row in earlier[STORE_TOKENS_KEPT - 1 :]]
            if gone:
                await connection.execute(delete(account_sessions).where(*mine, own.session_id.in_(gone)))
        token = new_token("mtu" if store_id is None else "mtl")
        await connection.execute(
            account_sessions.insert().values(
                workspace=self._workspace,
                session_id=random.token_hex(16),
                account_id=account_id,
                store_id=store_id,
                token_hash=hash_token(token),
                created_at=made_at,
            )
        )
        return token

    async def _record(
        self, connection: AsyncConnection, now: int, actor: str, act: str, subject: str, detail: dict[str, Any]
    ) -> None:
        await record_act(
            connection, workspace=self._workspace, at=now, actor=actor, act=act, subject=subject, detail=detail
        )
