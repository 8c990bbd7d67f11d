"""The outcomes topic shows what a store that fits itself hides; on the embedded log and on Kafka."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from backbone.eventlog.port import NewRecord
from backbone.store.audit import verify_chains
from backbone.store.audit_topic import TopicReport, verify_topic
from backbone.store.engine import Store
from backbone.store.migration import migrate
from backbone.store.opening import open_store
from backbone.store.tables import offsets
from consumers.relay import outcome_record
from schemas.canonical import GENESIS
from schemas.errors import LogUnavailable
from schemas.outcomes import TrailRow, hash_row
from schemas.topics import topic_specs
from tests.support.audited import moved_earlier, story, without_order
from tests.support.chains import rewrite_trail, tamper, write_trail
from tests.support.fake_log import FakeLog
from tests.support.fake_topics import FakeTopics
from tests.support.logs import LogUnderTest, event_log
from tests.support.stores import embedded_settings

__all__ = ["event_log"]

PARTITIONS = range(3)


def records(rows: Sequence[TrailRow]) -> list[NewRecord]:
    """The rows of one partition as the relay publishes them."""
    head, found = GENESIS, []
    for row in rows:
        head = hash_row(head, row)
        found.append(outcome_record(row, head))
    return found


async def acknowledge(store: Store, partition: int, seq: int) -> None:
    """Remember that the topic took the rows up to this one."""
    async with store.transaction() as connection:
        await connection.execute(offsets.update().where(offsets.c.partition == partition).values(published=seq))


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[Store]:
    """A store with `story` in partitions 0 and 2, opened as its owner."""
    (tmp_path / "store").mkdir()
    settings = embedded_settings(tmp_path / "store")
    await migrate(settings)
    store = open_store(settings, purpose="owner")
    for partition in (0, 2):
        await write_trail(store, story(partition))
    yield store
    await store.close()


@pytest.fixture
async def published(filled: Store, event_log: LogUnderTest) -> LogUnderTest:
    """A topic that has all of it."""
    for partition in (0, 2):
        await event_log.log.append(event_log.outcomes, records(story(partition)))
        await acknowledge(filled, partition, 12)
    return event_log


async def compared(store: Store, under_test: LogUnderTest) -> TopicReport:
    """The report of a run."""
    return await verify_topic(store, under_test.log, under_test.outcomes, PARTITIONS)


async def test_a_true_store_is_its_topic(filled: Store, published: LogUnderTest) -> None:
    """From the first row to the last, with repeats, and the rows told as they come."""
    await published.log.append(published.outcomes, records(story(2))[7:])
    told: list[int] = []
    report = await verify_topic(filled, published.log, published.outcomes, PARTITIONS, progress=told.append)
    assert report.bad == ()
    spans = {span.partition: (span.first, span.last, span.head, span.records) for span in report.spans}
    assert spans == {0: (1, 12, 12, 12), 1: (None, None, 0, 0), 2: (1, 12, 12, 17)}
    assert sum(told) == 29


async def test_a_relay_that_is_behind_is_no_finding(filled: Store, event_log: LogUnderTest) -> None:
    """The report says how far it went."""
    await event_log.log.append(event_log.outcomes, records(story(0))[:5])
    await acknowledge(filled, 0, 4)
    report = await compared(filled, event_log)
    assert report.bad == ()
    span = report.spans[0]
    assert (span.first, span.last, span.head) == (1, 5, 12)


async def test_a_cut_tail_is_found(filled: Store, published: LogUnderTest) -> None:
    """The first row that was published and is gone."""
    await rewrite_trail(filled, 2, story(2)[:9])
    assert not (await verify_chains(filled)).bad
    [bad] = (await compared(filled, published)).bad
    assert (bad["partition"], bad["seq"], bad["check"]) == (2, 10, "topic")
    assert "does not have it" in bad["problem"]


async def test_a_removed_order_is_found_at_its_first_row(filled: Store, published: LogUnderTest) -> None:
    """Everything after it was hashed anew and fits itself."""
    await rewrite_trail(filled, 0, without_order(story(0), "o2-0"))
    assert not (await verify_chains(filled)).bad
    [bad] = (await compared(filled, published)).bad
    assert (bad["partition"], bad["seq"]) == (0, 2)
    assert "order_id" in bad["problem"]


async def test_a_wholly_rewritten_chain_is_found(filled: Store, published: LogUnderTest) -> None:
    """From its first row on."""
    await rewrite_trail(filled, 0, moved_earlier(story(0), 1))
    assert not (await verify_chains(filled)).bad
    [bad] = (await compared(filled, published)).bad
    assert (bad["partition"], bad["seq"]) == (0, 1)
    assert "received_at" in bad["problem"]


async def test_the_first_of_each_partition_is_named(filled: Store, published: LogUnderTest) -> None:
    """One finding does not hide another partition's."""
    for partition, changed in ((0, 7), (2, 4)):
        rows = story(partition)
        rows[changed - 1] = rows[changed - 1]._replace(reason="x")
        await rewrite_trail(filled, partition, rows)
    report = await compared(filled, published)
    assert [(bad["partition"], bad["seq"]) for bad in report.bad] == [(0, 7), (2, 4)]


async def test_a_gap_in_the_topic_is_found(filled: Store, event_log: LogUnderTest) -> None:
    """Readers would miss those rows."""
    published = records(story(0))
    await event_log.log.append(event_log.outcomes, [*published[:3], *published[5:]])
    [bad] = (await compared(filled, event_log)).bad
    assert (bad["partition"], bad["seq"]) == (0, 4)
    assert "lacks rows 4 to 5" in bad["problem"]


async def test_a_repeat_with_other_content_is_found(filled: Store, published: LogUnderTest) -> None:
    """A reader that starts late would take it for the row."""
    forged = records([row._replace(order_id="another") for row in story(0)])
    await published.log.append(published.outcomes, [forged[4]])
    [bad] = (await compared(filled, published)).bad
    assert (bad["partition"], bad["seq"]) == (0, 5)


@pytest.fixture
async def trimmed(filled: Store) -> AsyncIterator[LogUnderTest]:
    """A topic of which retention took the first six rows of partition 0."""
    topics = FakeTopics()
    under_test = LogUnderTest(FakeLog(now_ms=lambda: 0, topics=topics), "", 3)
    await under_test.log.start()
    await under_test.log.create_topics(topic_specs(prefix="", partitions=3, replication=1, min_insync=1))
    await under_test.log.append(under_test.outcomes, records(story(0)))
    topics.partition(under_test.outcomes, 0).trim(6)
    yield under_test
    await under_test.log.stop()


async def test_rows_before_the_topics_first_one_are_proven_by_its_hash(filled: Store, trimmed: LogUnderTest) -> None:
    """The topic begins at row 7, and only row 3 was changed before the chain was computed anew."""
    report = await compared(filled, trimmed)
    assert (report.bad, report.spans[0].first) == ((), 7)
    rows = story(0)
    rows[2] = rows[2]._replace(reason="x")
    await rewrite_trail(filled, 0, rows)
    [bad] = (await compared(filled, trimmed)).bad
    assert (bad["partition"], bad["seq"]) == (0, 7)
    assert "which the topic no longer has" in bad["problem"]


async def test_a_topic_that_has_its_first_record_has_the_first_row(filled: Store, event_log: LogUnderTest) -> None:
    """Retention took nothing, and the first rows are not there: the topic was made anew."""
    await event_log.log.append(event_log.outcomes, records(story(0))[6:])
    [bad] = (await compared(filled, event_log)).bad
    assert (bad["partition"], bad["seq"]) == (0, 1)
    assert "that is row 7" in bad["problem"]


@pytest.mark.parametrize("value", [b"", b"x", b"[]", b"{}", b'{"partition":1,"seq":1}', b'{"partition":0,"seq":"1"}'])
async def test_a_record_that_is_no_outcome_is_found(filled: Store, event_log: LogUnderTest, value: bytes) -> None:
    """Somebody else wrote to the topic."""
    await event_log.log.append(event_log.outcomes, [*records(story(0))[:2], NewRecord(0, None, value)])
    [bad] = (await compared(filled, event_log)).bad
    assert (bad["partition"], bad["seq"]) == (0, 3)
    assert "offset 2" in bad["problem"]


async def test_a_topic_that_lost_what_it_acknowledged_is_found(filled: Store, event_log: LogUnderTest) -> None:
    """Made anew and empty, or ending too early."""
    await acknowledge(filled, 0, 12)
    await acknowledge(filled, 2, 12)
    await event_log.log.append(event_log.outcomes, records(story(2))[:10])
    report = await compared(filled, event_log)
    assert [(bad["partition"], bad["seq"]) for bad in report.bad] == [(0, 1), (2, 11)]


async def test_retention_that_overtakes_the_reader_is_no_finding(filled: Store) -> None:
    """The start moves between the look at the bounds and the read: go on from where the topic now begins."""
    topics = FakeTopics()
    log = FakeLog(now_ms=lambda: 0, topics=topics)
    under_test = LogUnderTest(log, "", 3)
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=3, replication=1, min_insync=1))
    await log.append(under_test.outcomes, records(story(0)))
    found = log.tail

    async def tail(topic: str, start: dict[int, int]) -> object:
        topics.partition(topic, 0).trim(8)
        return await found(topic, start)

    log.tail = tail  # type: ignore[method-assign,assignment]
    report = await compared(filled, under_test)
    assert report.bad == ()
    assert (report.spans[0].first, report.spans[0].last) == (9, 12)
    await log.stop()


async def test_a_topic_that_is_not_there_is_an_outage(filled: Store, event_log: LogUnderTest) -> None:
    """Nothing is said about the store."""
    with pytest.raises(LogUnavailable):
        await verify_topic(filled, event_log.log, "another-topic", PARTITIONS)


async def test_a_foreign_row_in_the_store_alone_is_the_chains_matter(filled: Store, published: LogUnderTest) -> None:
    """A row beyond the topic's end is not yet published; the chain judges it."""
    await tamper(filled, ["UPDATE offsets SET seq = 13 WHERE partition = 0"])
    report = await compared(filled, published)
    assert report.bad == ()
    assert (await verify_chains(filled)).bad
