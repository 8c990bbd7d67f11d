"""Access tokens, and counts of what was refused at the door, on both databases."""

import pytest
from sqlalchemy import select

from backbone.store.admin_tables import admin_acts
from backbone.store.engine import Store
from backbone.store.secrets import SecretBox, hash_token
from backbone.store.sources import NewSource, Refusal, SourceRepository
from backbone.store.tokens import TokenRepository
from schemas.errors import ConflictingName, DefinitionInvalid, NotFound
from schemas.statuses import Role
from tests.support.clocks import Clock
from tests.support.stores import KEYS, store

__all__ = ["store"]


@pytest.fixture
def clock() -> Clock:
    """A clock for the repositories."""
    return Clock()


@pytest.fixture
def repository(store: Store, clock: Clock) -> SourceRepository:
    """Sources of the default workspace."""
    return SourceRepository(store, SecretBox.parse(KEYS), now_ms=clock)


@pytest.fixture
def tokens(store: Store, clock: Clock) -> TokenRepository:
    """Access tokens of the default workspace."""
    return TokenRepository(store, now_ms=clock)


async def _acts(store: Store) -> list[tuple[str, str, str]]:
    async with store.reading() as connection:
        columns = admin_acts.c
        rows = await connection.execute(select(columns.act, columns.subject, columns.actor).order_by(columns.at))
        return [(act, subject, actor) for act, subject, actor in rows]


def _refusal(source: str, reason: str, count: int, first: int, last: int, remote: str | None) -> Refusal:
    return Refusal(source=source, reason=reason, count=count, first_at=first, last_at=last, last_remote=remote)


async def test_refusals_are_counted_in_a_bounded_table(repository: SourceRepository) -> None:
    """Counts add up over calls and within one; names that are no source's share one row."""
    await repository.add(NewSource(name="a", role=Role.COURIER), actor="anna")
    await repository.record_refusals([])
    await repository.record_refusals(
        [
            _refusal("x1", "unknown", 1, 10, 10, "10.0.0.1"),
            _refusal("a", "signature", 2, 20, 25, "10.0.0.2"),
            _refusal("x2", "unknown", 3, 5, 12, "10.0.0.3"),
        ]
    )
    await repository.record_refusals(
        [_refusal("a", "signature", 1, 15, 24, "10.0.0.9"), _refusal("a", "age", 1, 1, 1, None)]
    )
    assert await repository.refusals(None) == [
        _refusal("a", "signature", 3, 15, 25, "10.0.0.2"),
        _refusal("?", "unknown", 4, 5, 12, "10.0.0.3"),
        _refusal("a", "age", 1, 1, 1, None),
    ]
    assert [refusal.reason for refusal in await repository.refusals("a")] == ["signature", "age"]


async def test_access_tokens_live_until_revoked(tokens: TokenRepository, store: Store, clock: Clock) -> None:
    """Shown once, kept as a hash, revoked for good, each act on record."""
    text = await tokens.add("board", "read", actor="anna")
    assert text.startswith("mta_")
    (token,) = await tokens.all()
    assert (token.name, token.scope, token.token_hash, token.revoked_at) == ("board", "read", hash_token(text), None)
    assert token.token_hash not in repr(token)
    with pytest.raises(ConflictingName, match="'board'"):
        await tokens.add("board", "admin", actor="anna")
    clock.ms += 5
    await tokens.revoke("board", actor="bob")
    clock.ms += 5
    await tokens.revoke("board", actor="bob")
    (token,) = await tokens.all()
    assert token.revoked_at == 1_000_005
    assert await _acts(store) == [("token.add", "board", "anna"), ("token.revoke", "board", "bob")]


async def test_a_wrong_token_is_refused(tokens: TokenRepository) -> None:
    """Name and scope are both said."""
    with pytest.raises(DefinitionInvalid, match=r"name.*; the scope"):
        await tokens.add("No", "root", actor="anna")  # type: ignore[arg-type]


async def test_an_unknown_token_is_not_found(tokens: TokenRepository) -> None:
    """The message says which name."""
    with pytest.raises(NotFound, match="'x'"):
        await tokens.revoke("x", actor="a")
