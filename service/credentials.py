"""Credentials in memory: sources and access tokens, so that no request waits for the store.

A cache loads everything every two seconds, so a rotation, a disabling or a revocation takes effect well within five.
While the store is away the last load goes on serving. Authentication that fails asks for one load more before it
answers, known name or not: a credential made a moment ago works at once, and a known name with a bad signature takes
as long as an unknown one. Such loads are shared by all who ask and start at most every 250 ms, so guessing costs the
store four reads a second, whatever its pace.
"""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from backbone.store.sources import Source
from backbone.store.tokens import AccessToken
from schemas.errors import MealtrailError, StoreUnavailable

REFRESH_EVERY_S = 2.0
MISS_EVERY_S = 0.25
MISS_WAIT_S = 1.0
"""How long a failing authentication waits for its extra load, at most."""
STOP_WAIT_S = 3.0

_log = structlog.get_logger("mealtrail.credentials")


class SourceListing(Protocol):
    """Where sources come from: `backbone.store.sources.SourceRepository`."""

    async def all(self, *, include_disabled: bool = False) -> list[Source]:
        """All sources with their live credentials."""


class TokenListing(Protocol):
    """Where access tokens come from: `backbone.store.tokens.TokenRepository`."""

    async def all(self) -> list[AccessToken]:
        """All access tokens, revoked ones perhaps among them."""


class _Cache(ABC):
    """A loop that loads, and the extra loads on demand."""

    def __init__(self, what: str, monotonic: Callable[[], float]) -> None:
        self._what = what
        self._monotonic = monotonic
        self._loop_task: asyncio.Task[None] | None = None
        self._loading: asyncio.Task[None] | None = None
        self._begun = float("-inf")
        self._failure: str | None = None
        self.loaded = False
        """Whether a load ever succeeded."""
        self.loaded_at = float("-inf")
        """Monotonic time of the newest load that succeeded."""

    @abstractmethod
    async def _load(self) -> None:
        """Reads the store and replaces what is kept, all at once."""

    async def start(self) -> None:
        """Loads once (a store that is away is not an error) and begins to refresh."""
        await self.refresh()
        self._loop_task = asyncio.create_task(self._refresh_for_ever(), name=f"refresh {self._what}")

    async def stop(self) -> None:
        """Ends refreshing, within a few seconds. May be repeated.

        A load that runs may end: cancelled in the midst of connecting, a driver leaves a connection that nobody closes.
        """
        loop_task, loading = self._loop_task, self._loading
        self._loop_task = self._loading = None
        if loop_task is not None:
            loop_task.cancel()
            await asyncio.gather(loop_task, return_exceptions=True)
        if loading is not None:
            await asyncio.wait((loading,), timeout=STOP_WAIT_S)
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)

    async def refresh(self) -> None:
        """One load, shared with everybody who asks while it runs. Never raises; a failure is logged once."""
        if self._loading is None or self._loading.done():
            self._begun = self._monotonic()
            self._loading = asyncio.create_task(self._load_safely(), name=f"load {self._what}")
        await asyncio.shield(self._loading)

    async def refresh_after_miss(self) -> bool:
        """An extra load, unless one began within the last 250 ms; waits for it at most a second.

        Returns whether there was a load to wait for, so that looking again may find more.
        """
        running = self._loading is not None and not self._loading.done()
        if not running and self._monotonic() - self._begun < MISS_EVERY_S:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(MISS_WAIT_S):
                await self.refresh()
        return True

    async def _load_safely(self) -> None:
        try:
            await self._load()
        except MealtrailError as error:
            if self._failure is None:
                _log.warning("credentials_not_refreshed", what=self._what, exc_info=error)
            self._failure = error.code
        except Exception as error:  # noqa: BLE001 - the loop must outlive a bug in one load; what is kept goes on serving
            _log.error("credentials_not_refreshed", what=self._what, exc_info=error)
            self._failure = type(error).__name__
        else:
            if self._failure is not None:
                _log.info("credentials_refreshed_again", what=self._what)
            self._failure = None
            self.loaded = True
            self.loaded_at = self._monotonic()

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_EVERY_S)
            await self.refresh()

    def check_loaded(self) -> None:
        """Raises StoreUnavailable until a load succeeded: before that, not being here means nothing."""
        if not self.loaded:
            raise StoreUnavailable(f"{self._what} were never loaded")

    async def probe(self) -> str | None:
        """For readiness: raises StoreUnavailable until a load succeeded; a remark while loads fail."""
        self.check_loaded()
        if self._failure is None:
            return None
        if self._failure == StoreUnavailable.code:
            return "kept from before the store went away"
        return f"degraded: not refreshed, {self._failure}"


class SourceCache(_Cache):
    """Sources by name and by token hash; disabled ones are known by name only, so that refusals can name them."""

    def __init__(self, repository: SourceListing, monotonic: Callable[[], float]) -> None:
        super().__init__("sources", monotonic)
        self._repository = repository
        self._by_name: dict[str, Source] = {}
        self._by_uid: dict[str, Source] = {}
        self._by_token: dict[str, Source] = {}
        self._sealed: dict[str, tuple[str, ...]] = {}

    async def _load(self) -> None:
        sources = await self._repository.all(include_disabled=True)
        self._tell_sealed(
            {source.name: source.sealed for source in sources if source.sealed and not source.disabled_at}
        )
        self._by_name = {source.name: source for source in sources}
        self._by_uid = {source.uid: source for source in sources if source.disabled_at is None}
        self._by_token = {
            token: source for source in sources if source.disabled_at is None for token in source.token_hashes
        }

    def _tell_sealed(self, sealed: dict[str, tuple[str, ...]]) -> None:
        """Logs each source whose secrets do not open, once a change and not once a load."""
        for name, problems in sealed.items():
            if self._sealed.get(name) != problems:
                _log.error("source_secrets_sealed", source=name, problems=list(problems))
        for name in self._sealed.keys() - sealed.keys():
            _log.info("source_secrets_open_again", source=name)
        self._sealed = sealed

    async def probe(self) -> str | None:
        """As for any cache; the live sources whose secrets do not open are a remark, for the others work."""
        remark = await super().probe()
        if remark is not None or not self._sealed:
            return remark
        name, problems = next(iter(self._sealed.items()))
        more = f" (and of {len(self._sealed) - 1} more)" if len(self._sealed) > 1 else ""
        return f"degraded: {', '.join(problems)} for source {name}{more}"

    def by_name(self, name: str) -> Source | None:
        """The source of that name, disabled ones too; O(1)."""
        return self._by_name.get(name)

    def by_uid(self, uid: str) -> Source | None:
        """The live source with this uid; O(1)."""
        return self._by_uid.get(uid)

    def by_token(self, token_hash: str) -> Source | None:
        """The live source that this token speaks for; O(1)."""
        return self._by_token.get(token_hash)


class AccessTokenCache(_Cache):
    """Live access tokens by hash."""

    def __init__(self, repository: TokenListing, monotonic: Callable[[], float]) -> None:
        super().__init__("access tokens", monotonic)
        self._repository = repository
        self._by_hash: dict[str, AccessToken] = {}

    async def _load(self) -> None:
        tokens: Sequence[AccessToken] = await self._repository.all()
        self._by_hash = {token.token_hash: token for token in tokens if token.revoked_at is None}

    def by_hash(self, token_hash: str) -> AccessToken | None:
        """The live access token with this hash; O(1)."""
        return self._by_hash.get(token_hash)
