"""A worker in a process of its own that ends while it parses or decides the events of one order, or writes their rows.

    python -m tests.support.dying_worker LOG_DIRECTORY ORDER reading|deciding|writing|nothing [DATABASE_URL]

Works on an embedded log of one partition, and on the store beside it or in PostgreSQL. Exits 0 once everything in the
log is applied, and 9 when it dies.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.eventlog.opening import open_event_log
from backbone.metrics import Metrics
from backbone.store.opening import open_store
from consumers import applier, deciding, ledger_writing, logged_event
from consumers.composition import running
from consumers.ledger import Ledger
from consumers.lifecycle import Decision, Situation, decide
from consumers.runner import Runner, RunnerConfig
from schemas.records import AnyRecord, EventRecord, load_record
from schemas.topics import RECEIVED, TopicNames
from tests.support.postgres_databases import DatabaseUrls
from tests.support.stores import embedded_settings, postgres_settings
from tests.support.waiting import wait_until

DIED = 9


async def work(directory: Path, database_url: str | None) -> None:
    """Applies the whole log."""
    log = open_event_log(embedded_settings(directory))
    in_files = database_url is None
    urls = DatabaseUrls(database_url or "", database_url or "")
    store = open_store(embedded_settings(directory) if in_files else postgres_settings(urls), purpose="consumer")
    await log.start()
    config = RunnerConfig(
        topics=TopicNames.with_prefix(""),
        group="workers",
        idle_s=0.1,
        batch_size=4,
        retry_pause_s=0.0,
    )
    runner = Runner(log=log, store=store, config=config, metrics=Metrics())
    end = (await log.bounds(RECEIVED, [0]))[0].end

    def is_done() -> bool:
        worker = runner._workers().get(0)
        return worker is not None and worker.next_offset == end

    try:
        async with running(runner, stop_timeout_s=5.0):
            await wait_until(is_done, timeout=30.0, what="everything to be applied")
    finally:
        await log.stop()
        await store.close()


def main(directory: str, order_id: str, doing: str, database_url: str | None = None) -> None:
    """See the top."""
    write = ledger_writing.write_changes

    def decide_or_die(situation: Situation) -> Decision:
        if situation.order_id == order_id:
            os._exit(DIED)
        return decide(situation)

    async def write_or_die(connection: AsyncConnection, ledger: Ledger) -> None:
        await write(connection, ledger)
        waiting = (held.logged.record.order_id for held in ledger.held.values())
        if order_id in {*waiting, *(row.order_id for row, _ in ledger.changes.rows)}:
            os._exit(DIED)

    def load_or_die(value: bytes) -> AnyRecord:
        record = load_record(value)
        if isinstance(record, EventRecord) and record.order_id == order_id:
            os._exit(DIED)
        return record

    with pytest.MonkeyPatch.context() as patch:
        if doing == "reading":
            patch.setattr(logged_event, "load_record", load_or_die)
        elif doing == "writing":
            patch.setattr(applier, "write_changes", write_or_die)
        elif doing == "deciding":
            patch.setattr(deciding, "decide", decide_or_die)
        asyncio.run(work(Path(directory), database_url))


if __name__ == "__main__":
    main(*sys.argv[1:])
