"""The log is exchanged, cut or grown under a worker and an ingress that are running, on real logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.records_to_delete import RecordsToDelete
from sqlalchemy import select
from structlog.testing import capture_logs

from backbone.clocks import SYSTEM_CLOCK
from backbone.eventlog.port import LogRecord, NewRecord
from backbone.metrics import Metrics
from backbone.settings import Settings
from backbone.store.engine import Store
from backbone.store.kept_settings import keep_partitions
from backbone.store.tables import trail
from consumers.composition import check_parts, runner_config, running
from consumers.log_identity import LogIdentity
from consumers.runner import Runner
from schemas.errors import HistoryLost, LogMismatch, LogUnavailable, TopicMisconfigured
from schemas.statuses import Role
from schemas.topics import topic_specs
from service.ingress.publishing import AppendOutcome
from service.readiness import ingress_checks
from tests.support.kafka import KafkaBroker
from tests.support.logs import LogUnderTest, kafka_settings, started_log
from tests.support.received import event_record, new_record, placed, source
from tests.support.stores import migrated_sqlite
from tests.support.waiting import wait_until

pytestmark = pytest.mark.kafka
PARTITIONS = 3
PLATFORM = source(Role.PLATFORM)


class Site:
    """A store that was filled from a topic on the shared broker, and an administrator of that broker."""

    def __init__(self, log: LogUnderTest, store: Store, settings: Settings, admin: AIOKafkaAdminClient) -> None:
        self.log = log
        self.store = store
        self.settings = settings
        self._admin = admin

    async def fill(self, tag: str, *, per_partition: int = 5) -> None:
        """Announcements in every partition."""
        await self.log.log.append(self.log.received, announcements(tag, per_partition))

    async def rows(self) -> set[str]:
        """The event ids that were decided."""
        async with self.store.reading() as connection:
            return set(await connection.scalars(select(trail.c.event_id)))

    async def make_anew(self, partitions: int = PARTITIONS) -> None:
        """Deletes the received topic, and makes another one under its name."""
        specs = topic_specs(prefix=self.log.prefix, partitions=partitions, replication=1, min_insync=1)
        await self._admin.delete_topics([self.log.received])

        async def made() -> bool:
            try:
                await self.log.log.create_topics([spec for spec in specs if spec.name == self.log.received])
            except (LogUnavailable, TopicMisconfigured):  # the old one is not quite gone yet
                return False
            return True

        await wait_until(made, 20, "the topic to be made anew")

    async def cut(self, before: int) -> None:
        """Makes the broker forget what lies before an offset, in all partitions."""
        await self._admin.delete_records(
            {TopicPartition(self.log.received, number): RecordsToDelete(before) for number in range(PARTITIONS)}
        )

    async def grow(self, partitions: int) -> None:
        """Gives the topic more partitions."""
        await self._admin.create_partitions({self.log.received: NewPartitions(partitions)})

    def runner(self) -> Runner:
        """A worker of this site."""
        return Runner(log=self.log.log, store=self.store, config=runner_config(self.settings), metrics=Metrics())

    async def applied(self, tag: str) -> None:
        """A worker applies what is there, and ends."""
        async with running(self.runner(), stop_timeout_s=5.0):
            await wait_until(lambda: self._has(tag), 30, f"{tag} to be applied")

    async def _has(self, tag: str, per_partition: int = 5) -> bool:
        found = [event_id for event_id in await self.rows() if event_id.startswith(f"{tag}-")]
        return len(found) == per_partition * PARTITIONS


def announcements(tag: str, per_partition: int) -> list[NewRecord]:
    """Announcements for every partition, each with an event id that begins with the tag."""
    return [
        new_record(
            event_record(f"{tag}-{p}-{n}", placed(restaurant="r1"), PLATFORM, event_id=f"{tag}-{p}-{n}"), partition=p
        )
        for p in range(PARTITIONS)
        for n in range(per_partition)
    ]


@pytest.fixture
async def site(kafka_broker: KafkaBroker, topic_prefix: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Fifteen records applied, worker stopped."""
    settings = kafka_settings(
        kafka_broker.bootstrap,
        topic_prefix=topic_prefix,
        partitions=PARTITIONS,
        kafka_session_timeout_ms=6000,
    )
    log = await started_log(settings, prefix=topic_prefix, partitions=PARTITIONS)
    store = await migrated_sqlite(tmp_path)
    await keep_partitions(store, settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_broker.bootstrap)
    await admin.start()
    made = Site(log, store, settings, admin)
    try:
        await check_parts(settings, log.log, store)
        await made.fill("own")
        await made.applied("own")
        yield made
    finally:
        await admin.close()
        await log.log.stop()
        await store.close()


@asynccontextmanager
async def stopping(site: Site) -> AsyncIterator[tuple[Runner, list[Any]]]:
    """A worker at work, and what it logs."""
    runner = site.runner()
    with capture_logs() as logs:
        async with running(runner, stop_timeout_s=5.0):
            yield runner, logs


def stops(logs: Sequence[Any]) -> dict[int, str]:
    """The partitions that stopped, and with what words."""
    return {entry["partition"]: str(entry["exc_info"]) for entry in logs if entry["event"] == "partition_stopped"}


async def test_a_topic_made_anew_and_refilled_while_nobody_looked_stops_every_partition(site: Site) -> None:
    """Past `next`, so that offsets alone would tell nothing; none of its records is applied, and no process starts."""
    await site.make_anew()
    await site.fill("other", per_partition=9)
    async with stopping(site) as (runner, logs):
        await wait_until(lambda: len(runner.status().stopped) == PARTITIONS, 30, "all partitions to stop")
        assert set(runner.status().stopped.values()) == {"log_replaced"}
        assert all("was made anew" in words and "docs/runbook.md" in words for words in stops(logs).values())
    assert not [event_id for event_id in await site.rows() if event_id.startswith("other")]
    with pytest.raises(LogMismatch):
        await LogIdentity(site.log.log, site.store, site.settings.topics).check_process(PARTITIONS)


@pytest.mark.slow
async def test_a_topic_made_anew_under_a_running_worker_stops_it(site: Site) -> None:
    """Deleted, made and refilled while the worker waits for records."""
    async with stopping(site) as (runner, logs):
        await wait_until(lambda: len(runner.status().owned) == PARTITIONS, 30, "owning the partitions")
        await site.make_anew()
        await wait_until(lambda: _refilled(site), 30, "the new topic to take records")
        await wait_until(lambda: len(runner.status().stopped) == PARTITIONS, 60, "all partitions to stop")
        assert set(runner.status().stopped.values()) <= {"log_replaced", "log_gap"}
        assert stops(logs)


async def _refilled(site: Site) -> bool:
    try:
        await site.fill("other", per_partition=9)
    except LogUnavailable:
        return False
    return True


async def test_records_deleted_past_next_stop_their_partitions(site: Site) -> None:
    """What was deleted before it was applied is missed, and counted in the message."""
    await site.fill("late", per_partition=4)
    await site.cut(7)
    async with stopping(site) as (runner, logs):
        await wait_until(lambda: len(runner.status().stopped) == PARTITIONS, 30, "all partitions to stop")
        assert set(runner.status().stopped.values()) == {"log_gap"}
    assert all("2 records expired or were deleted" in words for words in stops(logs).values())


async def test_records_deleted_up_to_next_do_no_harm(site: Site) -> None:
    """All of them were applied."""
    await site.cut(5)
    await site.fill("more")
    await site.applied("more")


@pytest.mark.slow
async def test_a_topic_that_grows_stops_the_new_partitions_alone(site: Site) -> None:
    """Nothing lives there; the others go on, a server is not ready, and none starts."""
    async with stopping(site) as (runner, _):
        await wait_until(lambda: len(runner.status().owned) == PARTITIONS, 30, "owning the partitions")
        await site.grow(PARTITIONS + 1)
        await wait_until(lambda: runner.status().stopped, 60, "the new partition to stop")
        assert runner.status().stopped == {PARTITIONS: "configuration_error"}
        await site.fill("more")
        await wait_until(lambda: site._has("more"), 30, "the others to go on")
    topics = readiness(site)["topics"]
    with pytest.raises(TopicMisconfigured, match="has 4 partitions instead of 3"):
        await topics()
    with pytest.raises(TopicMisconfigured):
        await check_parts(site.settings, site.log.log, site.store)


@pytest.mark.slow
async def test_a_topic_that_has_grown_can_be_drained(site: Site) -> None:
    """Consumers that are started afterwards apply what lies in the remembered partitions; ingress does not start."""
    await site.fill("late")
    await site.grow(PARTITIONS + 1)
    await wait_until(lambda: _has_grown(site), 30, "the broker to tell of the new partition")
    await check_parts(site.settings, site.log.log, site.store, may_have_grown=True)
    await site.applied("late")
    with pytest.raises(TopicMisconfigured):
        await check_parts(site.settings, site.log.log, site.store)


async def _has_grown(site: Site) -> bool:
    try:
        await check_parts(site.settings, site.log.log, site.store)
    except TopicMisconfigured:
        return True
    return False


async def test_readiness_tells_that_the_topic_was_made_anew(site: Site) -> None:
    """A running server is taken out of rotation, also where the new topic looks right in all its settings."""
    topics = readiness(site)["topics"]
    await topics()
    await site.make_anew()
    with pytest.raises(LogMismatch):
        await topics()


async def test_a_new_database_beside_the_old_topics_is_refused(site: Site, tmp_path: Path) -> None:
    """The process ends before it applies anything again."""
    (tmp_path / "new").mkdir()
    empty = await migrated_sqlite(tmp_path / "new")
    try:
        with pytest.raises(HistoryLost):
            await check_parts(site.settings, site.log.log, empty)
    finally:
        await empty.close()


def readiness(site: Site) -> dict[str, Any]:
    """The probes of a server's readiness, by part."""
    unused = cast("Any", SimpleNamespace(probe=None))
    checks = ingress_checks(
        site.settings, site.log.log, site.store, unused, unused, AppendOutcome(SYSTEM_CLOCK.monotonic)
    )
    return {check.part: check.probe for check in checks}


# --- Ingress ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("partitions", [1, 7])
async def test_ingress_never_publishes_to_a_wrong_partition(site: Site, partitions: int) -> None:
    """The topic is made anew with fewer or more partitions under a running server, which goes by the remembered number:
    a record lies in the partition of its order, or nowhere and is answered 503.
    """
    await site.make_anew(partitions)
    wanted = {}
    for number in range(12):
        record = new_record(event_record(f"order-{number}", placed(restaurant="r1"), PLATFORM), partitions=PARTITIONS)
        wanted[record.key] = record.partition
        try:
            await site.log.log.append(site.log.received, [record])
        except LogUnavailable:
            assert record.partition >= partitions, "only what has no partition is refused"
    bounds = await site.log.log.bounds(site.log.received, range(partitions))
    reader = await site.log.log.tail(site.log.received, {p: b.start for p, b in bounds.items()})
    found: list[LogRecord] = []
    count = sum(b.end - b.start for b in bounds.values())
    while len(found) < count:
        found += await reader.read(max_records=100, timeout=2.0)
    await reader.stop()
    assert found
    assert all(wanted[record.key] == record.partition for record in found if record.key is not None)
