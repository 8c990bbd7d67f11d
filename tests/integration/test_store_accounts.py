"""Accounts, stores and sessions on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import repeat
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from backbone.store import accounts as module
from backbone.store.accounts import AccountRepository, Session
from backbone.store.engine import Store
from backbone.store.tables import account_sessions, admin_acts, store_locations
from schemas.errors import ConflictingName, DefinitionInvalid, NotAllowed, NotFound
from tests.support.stores import store

__all__ = ["store"]


def ticking() -> Callable[[], int]:
    """A clock that moves by a millisecond each time it is read."""
    now = iter(range(1_000_000, 2_000_000))
    return lambda: next(now)


@pytest.fixture
def accounts(store: Store) -> AccountRepository:
    """A repository on the migrated store."""
    return AccountRepository(store, now_ms=ticking())


async def rows(store: Store, table: Any) -> list[dict[str, Any]]:
    """All rows of a table."""
    async with store.reading() as connection:
        return [dict(row) for row in (await connection.execute(select(table))).mappings()]


async def test_an_account_has_a_token_that_opens_it(accounts: AccountRepository, store: Store) -> None:
    """The token is good for the account, is kept as a hash, and the act is on record without it."""
    account, token = await accounts.add("chain-9", actor="ann")
    assert await accounts.session(token) == Session(account_id=account.account_id, store_id=None)
    assert await accounts.session(token + "x") is None
    [session] = await rows(store, account_sessions)
    assert token not in str(session)
    [act] = await rows(store, admin_acts)
    assert (act["actor"], act["act"], act["subject"]) == ("ann", "account.add", "chain-9")
    assert orjson.loads(act["detail"]) == {"account_id": account.account_id}


async def test_names_are_checked_and_taken_once(accounts: AccountRepository) -> None:
    """A second account of a name, and a name that is none, are refused."""
    await accounts.add("chain-9", actor="ann")
    with pytest.raises(ConflictingName, match="chain-9"):
        await accounts.add("chain-9", actor="ann")
    with pytest.raises(DefinitionInvalid):
        await accounts.add("Chain 9", actor="ann")


async def test_a_retried_creation_is_the_same_store_with_a_fresh_token(
    accounts: AccountRepository, store: Store
) -> None:
    """One store, two tokens that both open it; another account's same body is another store."""
    account, _ = await accounts.add("chain-9", actor="ann")
    other, _ = await accounts.add("chain-8", actor="ann")
    profile = {"storeName": "Yaba", "storeinfo": {"taxRate": "7.5"}}
    first, first_token, is_new = await accounts.create_location(account.account_id, profile)
    again, second_token, is_new_again = await accounts.create_location(account.account_id, profile)
    assert (first.store_id, first.profile, is_new, is_new_again) == (again.store_id, again.profile, True, False)
    assert first_token != second_token
    for token in (first_token, second_token):
        assert await accounts.session(token) == Session(account_id=account.account_id, store_id=first.store_id)
    theirs, _, _ = await accounts.create_location(other.account_id, profile)
    assert theirs.store_id != first.store_id
    acts = [(act["actor"], act["act"]) for act in await rows(store, admin_acts) if act["act"] != "account.add"]
    assert sorted(acts) == [
        ("account:chain-8", "account.store.add"),
        ("account:chain-9", "account.store.add"),
    ]


async def test_creations_at_once_make_one_store(accounts: AccountRepository, store: Store) -> None:
    """Ten of the same body at the same time: one store, ten tokens that work."""
    account, _ = await accounts.add("chain-9", actor="ann")
    made = await asyncio.gather(*(accounts.create_location(account.account_id, {"storeName": "A"}) for _ in range(10)))
    assert len({location.store_id for location, _, _ in made}) == 1
    assert [is_new for _, _, is_new in made].count(True) == 1
    assert len(await rows(store, store_locations)) == 1
    assert None not in [await accounts.session(token) for _, token, _ in made]


async def test_a_session_opens_its_own_stores(accounts: AccountRepository) -> None:
    """The account's opens all of its stores, a store's that one; another account's none."""
    account, _ = await accounts.add("chain-9", actor="ann")
    other, _ = await accounts.add("chain-8", actor="ann")
    one, _, _ = await accounts.create_location(account.account_id, {"storeName": "A"})
    two, _, _ = await accounts.create_location(account.account_id, {"storeName": "B"})
    whole = Session(account_id=account.account_id, store_id=None)
    only_one = Session(account_id=account.account_id, store_id=one.store_id)
    foreign = Session(account_id=other.account_id, store_id=None)
    assert await accounts.location(whole, one.store_id) == one
    assert await accounts.location(whole, two.store_id) == two
    assert await accounts.location(only_one, one.store_id) == one
    assert await accounts.location(only_one, two.store_id) is None
    assert await accounts.location(foreign, one.store_id) is None
    assert await accounts.location(whole, "st-none") is None


async def test_a_store_keeps_its_newest_tokens(accounts: AccountRepository) -> None:
    """Retries for ever fill no table; the newest tokens go on working."""
    account, account_token = await accounts.add("chain-9", actor="ann")
    tokens = [
        (await accounts.create_location(account.account_id, {"storeName": "A"}))[1]
        for _ in range(module.STORE_TOKENS_KEPT + 3)
    ]
    alive = [await accounts.session(token) is not None for token in tokens]
    assert alive == [False] * 3 + [True] * module.STORE_TOKENS_KEPT
    assert await accounts.session(account_token) is not None


@pytest.mark.parametrize("step_ms", [0, -1000])
async def test_the_newest_tokens_are_so_by_no_clock(store: Store, step_ms: int) -> None:
    """Made in one millisecond, or by clocks that run back: the last ones made are those that stay."""
    now = iter(range(10_000_000, 0, step_ms)) if step_ms else repeat(10_000_000)
    accounts = AccountRepository(store, now_ms=lambda: next(now))
    account, _ = await accounts.add("chain-9", actor="ann")
    tokens = [
        (await accounts.create_location(account.account_id, {"storeName": "A"}))[1]
        for _ in range(module.STORE_TOKENS_KEPT * 2)
    ]
    alive = [await accounts.session(token) is not None for token in tokens]
    assert alive == [False] * module.STORE_TOKENS_KEPT + [True] * module.STORE_TOKENS_KEPT


async def test_a_disabled_account_opens_nothing(accounts: AccountRepository) -> None:
    """Its tokens and its stores' end; it makes no stores; disabling again is fine, an unknown name is not."""
    account, token = await accounts.add("chain-9", actor="ann")
    _, store_token, _ = await accounts.create_location(account.account_id, {})
    await accounts.disable("chain-9", actor="bob")
    await accounts.disable("chain-9", actor="bob")
    assert [await accounts.session(token), await accounts.session(store_token)] == [None, None]
    with pytest.raises(NotFound):
        await accounts.create_location(account.account_id, {})
    with pytest.raises(NotFound):
        await accounts.disable("chain-0", actor="bob")
    [listed] = await accounts.all()
    assert (listed.name, listed.stores, listed.disabled_at is not None) == ("chain-9", 1, True)


async def test_an_account_has_a_bounded_number_of_stores(
    accounts: AccountRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runaway client is refused; what is there can still be found again."""
    monkeypatch.setattr(module, "MOST_STORES", 2)
    account, _ = await accounts.add("chain-9", actor="ann")
    for name in ("A", "B"):
        await accounts.create_location(account.account_id, {"storeName": name})
    with pytest.raises(NotAllowed):
        await accounts.create_location(account.account_id, {"storeName": "C"})
    await accounts.create_location(account.account_id, {"storeName": "A"})
