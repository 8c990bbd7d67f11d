"""Session tokens are looked up at a bounded cost, and never answered from memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from backbone.store.accounts import AccountRepository, Session
from backbone.store.secrets import hash_token
from schemas.errors import StoreUnavailable, Unavailable
from service.facades import storeharmony_sessions as module
from service.facades.storeharmony_sessions import MOST_WAITING, Sessions
from tests.support.waiting import wait_until

GOOD = Session(account_id="a1", store_id=None)


class Accounts:
    """Sessions by token, a count of statements, a gate before each, and a store that may be away."""

    def __init__(self, **opened: Session) -> None:
        self.opened = opened
        self.reads = 0
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def session(self, token: str) -> Session | None:
        """As the repository."""
        return (await self.sessions([hash_token(token)])).get(hash_token(token))

    async def sessions(self, token_hashes: Sequence[str]) -> dict[str, Session]:
        """As the repository."""
        self.reads += 1
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn
        await self.gate.wait()
        if self.away:
            raise StoreUnavailable("away")
        by_hash = {hash_token(token): session for token, session in self.opened.items()}
        return {key: by_hash[key] for key in token_hashes if key in by_hash}


def over(accounts: Accounts, now: Any = None) -> Sessions:
    """Sessions over them; without a clock, one that never makes anybody wait."""
    ticks = iter(range(10_000))
    return Sessions(cast(AccountRepository, accounts), now or (lambda: float(next(ticks))))


async def test_a_flood_of_guesses_is_a_handful_of_reads() -> None:
    """Five hundred at once are two statements, and a good token among them opens what it should."""
    accounts = Accounts(good=GOOD)
    sessions = over(accounts)
    asked = ["first", *(f"guess-{number}" for number in range(500)), "good"]
    found = await asyncio.gather(*(sessions.find(token) for token in asked))
    assert found == [None] * 501 + [GOOD]
    assert accounts.reads <= 2


async def test_the_reads_of_strangers_keep_their_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next statement begins no sooner than the interval; a token that is known waits for nobody."""
    accounts, pauses = Accounts(good=GOOD), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    sessions = over(accounts, lambda: 100.0)
    assert await sessions.find("good") == GOOD
    monkeypatch.setattr(asyncio, "sleep", pause)
    assert await sessions.find("guess") is None
    assert pauses == [module.READ_EVERY_S]
    assert await sessions.find("good") == GOOD
    assert pauses == [module.READ_EVERY_S]


async def test_what_ended_opens_nothing_at_once() -> None:
    """A known token is read each time; one that ended is a stranger again."""
    accounts = Accounts(good=GOOD)
    sessions = over(accounts)
    assert await sessions.find("good") == GOOD
    del accounts.opened["good"]
    assert [await sessions.find("good"), await sessions.find("good")] == [None, None]
    assert accounts.reads == 3


async def test_the_line_is_bounded() -> None:
    """Who comes when it is full is sent away; the same token stands in it once."""
    accounts = Accounts()
    sessions = over(accounts)
    accounts.gate.clear()
    tokens = [f"guess-{number}" for number in range(MOST_WAITING)]
    waiting = [asyncio.create_task(sessions.find(token)) for token in [*tokens, *tokens]]
    await wait_until(lambda: accounts.reads == 1)
    with pytest.raises(Unavailable):
        await sessions.find("one more")
    accounts.gate.set()
    assert set(await asyncio.gather(*waiting)) == {None}
    assert await sessions.find("one more") is None


async def test_an_outage_is_told_to_all_who_wait() -> None:
    """One read that fails is everybody's answer; the next ones are asked anew."""
    accounts = Accounts(good=GOOD)
    accounts.away = True
    sessions = over(accounts)
    found = await asyncio.gather(*(sessions.find(token) for token in ("good", "b", "c")), return_exceptions=True)
    assert [type(one) for one in found] == [StoreUnavailable] * 3
    accounts.away = False
    assert await sessions.find("good") == GOOD


async def test_who_gives_up_leaves_the_asking_to_the_next() -> None:
    """Cancelling the one whose turn it is ends nobody else's."""
    accounts = Accounts(good=GOOD)
    sessions = over(accounts)
    accounts.gate.clear()
    first = asyncio.create_task(sessions.find("guess"))
    await wait_until(lambda: accounts.reads == 1)
    second = asyncio.create_task(sessions.find("good"))
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    accounts.gate.set()
    assert await second == GOOD
