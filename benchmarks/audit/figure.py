"""The figure: how fast `mealtrail audit verify` goes through a trail, on both databases."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import orjson

from backbone.clocks import SYSTEM_CLOCK
from backbone.store.migration import migrate
from backbone.store.opening import open_store
from benchmarks.apply.prepared import PreparedBatch
from benchmarks.audit.chains import fill_chains
from benchmarks.durable_postgres import plain_url
from benchmarks.growth.fill import make_base
from benchmarks.model import Cell, Figure, Listing, TargetLine
from benchmarks.parts import PARTITIONS, Parts, make_prefix, settings_of
from benchmarks.plans import Options, Plan, Work
from benchmarks.processes import MeasurementError, Process
from benchmarks.rounds import Report
from benchmarks.summary import in_turn, summarise

ROWS, ROWS_FULL = 200_000, 1_000_000
TARGET = 100_000
_MOST_ROUNDS = 3
_FILLED_PER_S, _VERIFIED_PER_S = 25_000, 60_000


@dataclass(slots=True)
class AuditedStore:
    """One filled store, and what its verification took in each round."""

    name: str
    environment: dict[str, str]
    rows: int
    rates: list[float] = field(default_factory=list)
    """Rows a second, as the command tells it: reading and hashing all chains."""
    whole_s: list[float] = field(default_factory=list)
    """The whole command: interpreter started, chains, orders."""


async def measure_audit(parts: Parts, options: Options, report: Report, *, rows: int | None = None) -> Figure:
    """Fills a store in each database and verifies it, again and again. Raises MeasurementError."""
    wanted = rows or (ROWS_FULL if options.full else ROWS)
    rounds = min(options.rounds, _MOST_ROUNDS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = stack.enter_context(parts.database())
        base = make_base(partitions=PARTITIONS, now_ms=SYSTEM_CLOCK.now_ms())
        on_postgres = parts.environment(urls, prefix=make_prefix("audit"))
        stores = [
            await _filled("PostgreSQL", on_postgres, base, wanted, report),
            await _filled("SQLite", {"MEALTRAIL_DATA_DIR": str(folder)}, base, wanted, report),
        ]
        await _analyse(urls.owner)
        for number in range(rounds):
            for store in in_turn(stores, number):
                await _verify(parts, store)
                report(f"round {number + 1}  {store.name:<12} {store.rates[-1]:>9,.0f} rows/s")
    return _figure(stores)


def _figure(stores: list[AuditedStore]) -> Figure:
    columns = ("audit verify", "rows", "rows/s, chains", "whole command, s")
    listed: tuple[tuple[Cell, ...], ...] = tuple(
        (store.name, float(store.rows), summarise(store.rates), summarise(store.whole_s)) for store in stores
    )
    return Figure(
        name="audit",
        title="Audit: every hash of the trail computed again, payloads held against their digests",
        listings=[Listing("", columns, listed)],
        targets=[
            TargetLine(text=f"audit verify, {store.name}", value=summarise(store.rates), wanted=TARGET, unit="rows/s")
            for store in stores
        ],
        notes=["on all cores, as the command has it; PostgreSQL shares them"],
    )


async def _filled(
    name: str, environment: dict[str, str], base: Sequence[PreparedBatch], rows: int, report: Report
) -> AuditedStore:
    settings, began = settings_of(environment), time.monotonic()
    await migrate(settings)
    store = open_store(settings, purpose="owner")
    try:
        done = await fill_chains(store, base, rows=rows)
    finally:
        await store.close()
    report(f"filled {name} with {done:,} rows in {time.monotonic() - began:.0f} s")
    return AuditedStore(name, environment, done)


async def _verify(parts: Parts, store: AuditedStore) -> None:
    """One run of the command. Raises MeasurementError when it finds anything wrong or does not see all rows."""
    began = time.monotonic()
    every = parts.cores.measured | parts.cores.others
    with Process("service.cli", "audit", "verify", "--json", environment=store.environment, cores=every) as process:
        found = orjson.loads(await process.result(600))
    if found["rows"] != store.rows or not found["ok"]:
        raise MeasurementError(f"{store.name}: {store.rows} rows were filled, and verified: {found}")
    store.whole_s.append(time.monotonic() - began)
    store.rates.append(found["rows_per_second"])


async def _analyse(url: str) -> None:
    connection = await asyncpg.connect(plain_url(url), timeout=10)
    try:
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close(timeout=10)


def _work(options: Options) -> Work:
    rows, rounds = ROWS_FULL if options.full else ROWS, min(options.rounds, _MOST_ROUNDS)
    return Work(2 + 2 * rounds, 2 * rows / _FILLED_PER_S + 2 * rounds * (2 + rows / _VERIFIED_PER_S))


AUDIT = Plan(
    name="audit", title="audit verify: rows a second on PostgreSQL and SQLite", measure=measure_audit, work=_work
)
