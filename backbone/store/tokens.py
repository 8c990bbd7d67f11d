"""Access tokens: what people and programs read with. Stored as hashes, shown once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from backbone.store.acts import record_act
from backbone.store.admin_tables import tokens
from backbone.store.definitions import name_problem
from backbone.store.engine import Store
from backbone.store.secrets import hash_token, new_token
from schemas.errors import ConflictingName, DefinitionInvalid, NotFound
from schemas.identifiers import DEFAULT_WORKSPACE

Scope = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """One token as it is kept. Times in wall-clock milliseconds; revoked_at is None while it is good."""

    workspace: str
    name: str
    scope: Scope
    token_hash: str = field(repr=False)
    created_at: int
    revoked_at: int | None


class TokenRepository:
    """The access tokens of one workspace. All methods raise StoreUnavailable."""

    def __init__(self, store: Store, *, workspace: str = DEFAULT_WORKSPACE, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._workspace = workspace
        self._now_ms = now_ms

    async def add(self, name: str, scope: Scope, *, actor: str) -> str:
        """Make a token and return its text, which is never shown again. Raises DefinitionInvalid, ConflictingName."""
        problems = [problem] if (problem := name_problem(name)) else []
        if scope not in SCOPES:
            problems.append(f"the scope must be one of {', '.join(SCOPES)}")
        if problems:
            raise DefinitionInvalid("; ".join(problems))
        token, now = new_token("mta"), self._now_ms()
        row = {"workspace": self._workspace, "name": name, "scope": scope, "created_at": now}
        try:
            async with self._store.transaction() as connection:
                await connection.execute(tokens.insert().values(row | {"token_hash": hash_token(token)}))
                await record_act(
                    connection,
                    workspace=self._workspace,
                    at=now,
                    actor=actor,
                    act="token.add",
                    subject=name,
                    detail={"scope": scope},
                )
        except IntegrityError as error:
            raise ConflictingName(f"there is a token {name!r} already") from error
        return token

    async def all(self) -> list[AccessToken]:
        """All tokens by name, revoked ones too."""
        async with self._store.reading() as connection:
            rows = await connection.execute(
                select(tokens).where(tokens.c.workspace == self._workspace).order_by(tokens.c.name)
            )
            return [AccessToken(**row) for row in rows.mappings()]

    async def revoke(self, name: str, *, actor: str) -> None:
        """Let the token open nothing any more. May be repeated. Raises NotFound."""
        now = self._now_ms()
        mine = (tokens.c.workspace == self._workspace, tokens.c.name == name)
        async with self._store.transaction() as connection:
            found = (await connection.execute(select(tokens.c.revoked_at).where(*mine).with_for_update())).one_or_none()
            if found is None:
                raise NotFound(f"there is no token {name!r}")
            if found.revoked_at is not None:
                return
            await connection.execute(update(tokens).where(*mine).values(revoked_at=now))
            await record_act(
                connection,
                workspace=self._workspace,
                at=now,
                actor=actor,
                act="token.revoke",
                subject=name,
                detail={},
            )
