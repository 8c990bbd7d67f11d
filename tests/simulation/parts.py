"""What all runs of one process share because it is slow to make: stores, metrics, the empty database.

None of it remembers anything of a run. Each worker has a Store of its own, without a pool: sessions are the run's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import event, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from backbone.clocks import Clock
from backbone.metrics import Metrics
from backbone.store.engine import Store, _set_pragmas
from consumers.runner import Runner, RunnerConfig
from schemas.topics import DEAD_LETTERS, OUTCOMES, RECEIVED, TopicNames, topic_specs
from tests.simulation.database import Connection, Database, Files
from tests.support.fake_topics import FakeTopics

if TYPE_CHECKING:
    from tests.simulation.event_log import SimulatedLog

RECEIVED_TOPIC, OUTCOMES_TOPIC, DEAD_LETTERS_TOPIC = RECEIVED, OUTCOMES, DEAD_LETTERS
SPECS = {count: topic_specs(prefix="", partitions=count, replication=1, min_insync=1) for count in (1, 2)}
MOST_WORKERS = 3
IDLE_S = 2.0


class Parts:
    """Stores for as many workers as a run may have, all on the database of the run that is going on."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.metrics = Metrics()
        self._database: Database | None = None
        self._stores = [self._make_store() for _ in range(MOST_WORKERS)]

    def _make_store(self) -> Store:
        engine = create_async_engine(
            "sqlite+aiosqlite:///simulated", poolclass=pool.NullPool, async_creator=self._connect, hide_parameters=True
        )
        store = Store(engine, "sqlite")
        event.remove(engine.sync_engine, "connect", _set_pragmas)  # the simulated server has its settings already
        store._writer = None  # writers wait at the database, as on PostgreSQL, not in line in their process
        return store

    async def _connect(self, *_: object, **__: object) -> Connection:
        if self._database is None:
            raise RuntimeError("no run is going on")
        return await self._database.connect()

    def begin(self, database: Database) -> None:
        """From now on all stores are on this database, which is empty."""
        self.files.empty()
        self._database = database

    async def warm_up(self) -> None:
        """Lets the stores do what they do only once, so that all runs take the same steps."""
        for store in self._stores:
            async with store.reading() as connection:
                await connection.execute(text("SELECT 1"))

    def make_runner(self, slot: int, log: SimulatedLog, clock: Clock, *, batch_size: int) -> Runner:
        """The real worker on the simulated world."""
        return Runner(
            log=log,
            store=self._stores[slot],
            config=RunnerConfig(
                topics=TopicNames(received=RECEIVED_TOPIC, outcomes=OUTCOMES_TOPIC, dead_letters=DEAD_LETTERS_TOPIC),
                group="workers",
                batch_size=batch_size,
                idle_s=IDLE_S,
                stop_timeout_s=5.0,
            ),
            metrics=self.metrics,
            clock=clock,
        )

    def missing(self, topics: FakeTopics, partitions: int, log_ms: int) -> str | None:
        """What is still to be done, in words; None when all is quiet."""
        rows = self.files.reader.execute('SELECT "partition", next, seq, dead_seq FROM offsets').fetchall()
        stand = {row[0]: row[1:] for row in rows}
        for partition in range(partitions):
            end = topics.partition(RECEIVED_TOPIC, partition).bounds.end
            if partition not in stand:
                return f"partition {partition} had no owner yet"
            upcoming, seq, dead_seq = stand[partition]
            if upcoming != end:
                return f"partition {partition} is at offset {upcoming} of {end}"
            for topic, written in ((OUTCOMES_TOPIC, seq), (DEAD_LETTERS_TOPIC, dead_seq)):
                published = len({record.headers for record in topics.partition(topic, partition).records})
                if published < written:
                    return f"partition {partition} has published {published} of {written} rows to {topic}"
        due = self.files.reader.execute("SELECT MIN(deadline_ms) FROM held_events").fetchone()[0]
        if due is not None:
            return f"an event is held until {due - log_ms} ms from now"
        return None
