"""Reads of one store, through `mealtrail serve` as it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from backbone.clocks import SYSTEM_CLOCK
from backbone.store.opening import open_store
from backbone.store.tokens import TokenRepository
from benchmarks.growth.fill import Filled
from benchmarks.growth.queries import ORDER, make_paths
from benchmarks.latencies import percentile
from benchmarks.parts import Parts, make_prefix, settings_of
from benchmarks.processes import MeasurementError, Process, listening
from kafka_broker import free_port
from service.cli.migrate import migrate_all
from tests.support.postgres_databases import DatabaseUrls

_MOST = 2000


@dataclass(slots=True)
class StoreRead:
    """One database and all that was asked of it."""

    parts: Parts
    urls: DatabaseUrls
    filled: Filled
    name: str
    rounds: list[dict[str, list[float]]] = field(default_factory=list)
    """Of each round the latencies of each kind of read, in milliseconds."""
    _environment: dict[str, str] = field(default_factory=dict)
    _token: str = ""
    _port: int = 0

    async def measure(self, *, seconds: float) -> None:
        """One round: a server is started, asked for so long with each kind of read, and ended.

        Raises MeasurementError when anything but 200 is answered.
        """
        if not self._token:
            await self._set_up()
        server = Process("service.cli", "serve", environment=self._environment, cores=self.parts.cores.measured)
        with server:
            await listening(server, self._port)
            questions = orjson.dumps(make_paths(self.filled, count=_MOST)).decode()
            options = [f"--port={self._port}", f"--seconds={seconds}", f"--most={_MOST}"]
            reader = Process(
                "benchmarks.growth.reader",
                *options,
                environment={},
                cores=self.parts.cores.others,
                stdin=f"{self._token}\n{questions}",
            )
            with reader:
                printed = await reader.result(600)
            server.check_alive()
        found = orjson.loads(printed)
        refused = {kind: answers["refused"] for kind, answers in found.items() if answers["refused"]}
        if refused:
            raise MeasurementError(f"reads at {self.name} were refused: {refused}\n{server.last_words()}")
        self.rounds.append({kind: answers["took_ms"] for kind, answers in found.items()})

    def kinds(self) -> list[str]:
        """All kinds of reads."""
        return list(self.rounds[0])

    def percentiles(self, kind: str, share: float) -> list[float]:
        """Of each round, the latency that so large a share of the reads of this kind stayed below."""
        return [percentile(measured[kind], share) for measured in self.rounds]

    def order_p99s(self) -> list[float]:
        """The p99 of reading an order, of each round."""
        return self.percentiles(ORDER, 0.99)

    async def _set_up(self) -> None:
        """Topics that `serve` asks for, and a token that may read everything."""
        self._port = free_port()
        self._environment = self.parts.environment(self.urls, prefix=make_prefix("reads"), port=self._port)
        settings = settings_of(self._environment)
        await migrate_all(settings)
        store = open_store(settings, purpose="service")
        try:
            tokens = TokenRepository(store, now_ms=SYSTEM_CLOCK.now_ms)
            self._token = await tokens.add("bench", "read", actor="benchmark")
        finally:
            await store.close()
