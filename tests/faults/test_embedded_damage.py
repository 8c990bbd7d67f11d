"""The embedded log on a file that is not what it wrote: it says so, and reads nothing wrong."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from backbone.eventlog.embedded import EmbeddedEventLog
from backbone.eventlog.embedded_file import FILE_NAME
from backbone.eventlog.port import NewRecord
from schemas.errors import LogUnusable
from schemas.topics import RECEIVED, topic_specs
from tests.support.logs import embedded_log

RECORDS = 500


async def opened(folder: Path) -> EmbeddedEventLog:
    """A started log with its topics."""
    log = embedded_log(folder)
    await log.start()
    await log.create_topics(topic_specs(prefix="", partitions=1, replication=1, min_insync=1))
    return log


async def written(folder: Path) -> Path:
    """The file of a log with records in it, closed in order."""
    log = await opened(folder)
    await log.append(RECEIVED, [NewRecord(0, b"k", b"%d" % number * 100) for number in range(RECORDS)])
    await log.stop()
    return folder / FILE_NAME


@pytest.mark.parametrize("damage", ["garbage", "truncated", "no database"])
async def test_a_damaged_file_is_not_opened(tmp_path: Path, damage: str) -> None:
    """`start` raises with the path and what to do; it does not wait for what will not mend, and changes nothing."""
    file = await written(tmp_path)
    whole = file.read_bytes()
    broken = {
        "garbage": whole[:100] + b"\xff" * (len(whole) - 100),
        "truncated": whole[: len(whole) // 2],
        "no database": b"not a database at all\n" * 1000,
    }[damage]
    file.write_bytes(broken)
    log = embedded_log(tmp_path)
    with pytest.raises(LogUnusable, match="damaged") as refusal:
        await log.start()
    assert str(file) in str(refusal.value)
    await log.stop()
    assert file.read_bytes() == broken


async def test_a_damaged_page_stops_the_reading_of_it(tmp_path: Path) -> None:
    """The log opens, since its first pages are whole; what cannot be read is an error and never a shorter log."""
    file = await written(tmp_path)
    with sqlite3.connect(file) as peek:
        page_size = peek.execute("PRAGMA page_size").fetchone()[0]
    peek.close()
    content = bytearray(file.read_bytes())
    middle = len(content) // 2 // page_size * page_size
    content[middle : middle + 8 * page_size] = b"\xff" * (8 * page_size)
    file.write_bytes(content)
    log = await opened(tmp_path)
    tail = await log.tail(RECEIVED, {0: 0})
    read: list[int] = []

    async def read_all() -> None:
        while len(read) < RECORDS:
            found = await tail.read(max_records=50, timeout=0)
            assert found, "an empty read before the end"
            read.extend(record.offset for record in found)

    with pytest.raises(LogUnusable, match="damaged"):
        await read_all()
    assert read
    assert read == list(range(len(read)))
    await tail.stop()
    await log.stop()
