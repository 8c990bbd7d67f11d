"""Verifying partitions in other processes, for hashing is work for a processor and Python uses one at a time.

Each worker is this module run as a program: it reads its tasks as JSON from standard input, opens the store by the same
environment, verifies one partition after the other with the function that a single process would use, and tells rows
done and results as lines of JSON. A worker that fails in any way is no failure of the audit: what it left undone is
done again by whoever asked, and shows there what is wrong.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import orjson
import structlog

from backbone.logs import configure_logs
from backbone.settings import load_settings
from backbone.store.audit_chain import Mark, PartitionResult, PartitionTask, verify_partition
from backbone.store.audit_report import PayloadCounts
from backbone.store.opening import open_store

FEWEST_ROWS = 200_000
"""Below this a single process is done before the others have started."""
MOST_WORKERS = 8
_log = structlog.get_logger("mealtrail.audit")


def processors() -> int:
    """How many workers this machine has use for: one a processor that we may use, at most MOST_WORKERS."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, MOST_WORKERS)


class AuditWorkers:
    """A crew of so many processes. The environment must hold the settings that the store was opened by."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def verify(
        self, tasks: Sequence[PartitionTask], rows: Mapping[int, int], advance: Callable[[int], None]
    ) -> dict[int, PartitionResult]:
        """Results by partition; none of those whose worker failed. Cancelled, it ends its workers."""
        shares = _deal(tasks, rows, self._number)
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(_employ(share, advance)) for share in shares]
        return {result.partition: result for task in running for result in task.result()}


def _deal(tasks: Sequence[PartitionTask], rows: Mapping[int, int], number: int) -> list[list[PartitionTask]]:
    """The tasks in shares of about as many rows: the longest first, each to who has least."""
    shares: list[list[PartitionTask]] = [[] for _ in range(number)]
    loads = [0] * number
    for task in sorted(tasks, key=lambda task: -rows.get(task.partition, 0)):
        least = loads.index(min(loads))
        shares[least].append(task)
        loads[least] += rows.get(task.partition, 0) + 1
    return [share for share in shares if share]


async def _employ(share: Sequence[PartitionTask], advance: Callable[[int], None]) -> list[PartitionResult]:
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us, and we end it
    )
    results: list[PartitionResult] = []
    told = 0
    try:
        assert worker.stdin is not None
        assert worker.stdout is not None
        with suppress(ConnectionError):  # it is gone already: seen below
            worker.stdin.write(_dump_tasks(share))
            await worker.stdin.drain()
        worker.stdin.close()
        async for line in worker.stdout:
            message = orjson.loads(line)
            if "rows" in message:
                told += message["rows"]
                advance(message["rows"])
            else:
                results.append(_load_result(message))
        await worker.wait()
    except orjson.JSONDecodeError:  # it died in the middle of a line
        _log.warning("audit_worker_unreadable")
    finally:
        if worker.returncode is None:
            with suppress(ProcessLookupError):
                worker.kill()
            await worker.wait()
    if len(results) < len(share):
        _log.warning("audit_worker_failed", exit_code=worker.returncode)
        advance(sum(result.seq for result in results) - told)
    return results


def _dump_tasks(share: Sequence[PartitionTask]) -> bytes:
    return orjson.dumps(
        [[task.partition, [[mark.seq, mark.hash.hex(), mark.made_at] for mark in task.marks]] for task in share]
    )


def _load_tasks(text: bytes) -> list[PartitionTask]:
    return [
        PartitionTask(partition, tuple(Mark(seq, bytes.fromhex(digest), made_at) for seq, digest, made_at in marks))
        for partition, marks in orjson.loads(text)
    ]


def _load_result(message: Mapping[str, Any]) -> PartitionResult:
    return PartitionResult(
        partition=message["partition"],
        seq=message["seq"],
        hash=message["hash"],
        payloads=PayloadCounts(**message["payloads"]),
        bad=tuple(message["bad"]),
    )


async def _work() -> None:
    settings = load_settings()
    configure_logs(settings.model_copy(update={"log_level": "ERROR"}), only_ours=True)
    tasks = await asyncio.to_thread(lambda: _load_tasks(sys.stdin.buffer.read()))
    store = open_store(settings, purpose="service")
    try:
        for task in tasks:
            _tell(asdict(await verify_partition(store, task, lambda rows: _tell({"rows": rows}))))
    finally:
        await store.close()


def _tell(message: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    asyncio.run(_work())
