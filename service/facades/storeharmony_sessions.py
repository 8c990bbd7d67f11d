"""Session tokens of the StoreHarmony API, looked up so that guessing costs the store next to nothing.

A token that has opened something in this process is read by itself, each time, so that a disabled account is out at
once. All others stand in line together: one statement at a time asks for everybody who waits, at most every 250 ms. A
flood of guesses is four reads a second on one connection, whatever its pace, and a good token that is new here waits
behind it for less than a second. Nothing is answered from memory.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from backbone.store.accounts import AccountRepository, Session
from backbone.store.secrets import hash_token
from schemas.errors import Unavailable

READ_EVERY_S = 0.25
MOST_WAITING = 1000
"""Different tokens in line, and in one statement."""
MOST_KNOWN = 10_000


@dataclass(eq=False, slots=True)
class _Asked:
    """One token in line, and what came of it. Shared by all who send the same."""

    is_answered: bool = False
    session: Session | None = None
    error: Exception | None = None


class Sessions:
    """Finds sessions. One per application."""

    def __init__(self, accounts: AccountRepository, monotonic: Callable[[], float]) -> None:
        self._accounts = accounts
        self._monotonic = monotonic
        self._known: OrderedDict[str, None] = OrderedDict()
        self._waiting: dict[str, _Asked] = {}
        self._turn = asyncio.Lock()
        self._begun = float("-inf")

    async def find(self, token: str) -> Session | None:
        """What the token opens; None when it opens nothing. Raises StoreUnavailable, or Unavailable: too many."""
        token_hash = hash_token(token)
        if token_hash not in self._known:
            return await self._find_in_line(token_hash)
        session = await self._accounts.session(token)
        self._remember(token_hash, session)
        return session

    async def _find_in_line(self, token_hash: str) -> Session | None:
        asked = self._waiting.get(token_hash)
        if asked is None:
            if len(self._waiting) >= MOST_WAITING:
                raise Unavailable("too many session tokens wait to be looked up")
            asked = self._waiting[token_hash] = _Asked()
        async with self._turn:
            # Who comes first asks for all. One that is cancelled meanwhile leaves that to the next.
            if not asked.is_answered:
                await self._answer_all()
        if asked.error is not None:
            raise asked.error
        return asked.session

    async def _answer_all(self) -> None:
        pause = self._begun + READ_EVERY_S - self._monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        self._begun = self._monotonic()
        batch = list(self._waiting)
        found: dict[str, Session] = {}
        failure: Exception | None = None
        try:
            found = await self._accounts.sessions(batch)
        except Exception as error:  # noqa: BLE001 - passed on to everybody who waits, the one who asked among them
            failure = error
        for token_hash in batch:
            asked = self._waiting.pop(token_hash)
            asked.is_answered, asked.session, asked.error = True, found.get(token_hash), failure
            if failure is None:
                self._remember(token_hash, asked.session)

    def _remember(self, token_hash: str, session: Session | None) -> None:
        if session is None:
            self._known.pop(token_hash, None)
            return
        self._known[token_hash] = None
        self._known.move_to_end(token_hash)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
