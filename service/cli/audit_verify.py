"""`mealtrail audit verify`: recomputes the trail's hash chains and names the first row that is not what was written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from backbone.store.anchoring import marks_of, verify_acts
from backbone.store.anchors import Anchor
from backbone.store.audit import ChainsReport, verify_chains
from backbone.store.audit_pages import UNREADABLE, StateReport
from backbone.store.audit_receipts import verify_receipts
from backbone.store.audit_report import BadRow, sort_findings
from backbone.store.audit_state import verify_orders
from backbone.store.audit_topic import TopicReport, TopicSpan, verify_topic
from backbone.store.audit_workers import FEWEST_ROWS, AuditWorkers, processors
from backbone.store.kept_settings import keep_partitions
from backbone.store.readings import Readings
from service.cli.applied import started_log
from service.cli.audit_anchor import read_anchors
from service.cli.exits import ExitCode
from service.cli.interrupts import run_command
from service.cli.options import AsJson
from service.cli.output import print_document, print_line, print_remark
from service.cli.parts import Parts, command_settings, open_parts
from service.cli.progress import Bars, progress_bars


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """All that one run compared. None is what was not asked for, or has no sense after what was found before."""

    chains: ChainsReport
    seconds: float
    anchors: Sequence[Anchor] = ()
    orders: StateReport | None = None
    receipts: StateReport | None = None
    topic: TopicReport | None = None
    acts: tuple[BadRow, ...] = ()

    @property
    def bad(self) -> tuple[BadRow, ...]:
        """All findings by partition and row, those of the acts last."""
        others = [report.bad for report in (self.orders, self.receipts, self.topic) if report is not None]
        return sort_findings([*self.chains.bad, *(bad for found in others for bad in found), *self.acts])


def verify(
    anchors: Annotated[
        list[Path] | None,
        typer.Option("--anchor", metavar="FILE", help="Compare with this anchor too; may be repeated."),
    ] = None,
    public_keys: Annotated[
        list[str] | None,
        typer.Option("--public-key", metavar="ID:BASE64", help="Check anchors with this key, not with the ring's."),
    ] = None,
    topic: Annotated[bool, typer.Option("--topic", help="Compare with the outcomes topic too.")] = False,
    receipts: Annotated[bool, typer.Option("--receipts", help="Compare every receipt with its row too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recompute every partition's hash chain, and compare orders with it. Exits 1 when something was changed.

    Exits 8 when an anchor cannot be used.
    """

    async def run() -> Verified:
        async with open_parts(command_settings()) as parts:
            held = await read_anchors(parts, anchors or [], public_keys or [])
            rows = await _expected_rows(Readings(parts.store))
            with progress_bars() as bars:
                return await _verify(parts, held, rows=rows, bars=bars, topic=topic, receipts=receipts)

    found = run_command(run)
    bad = found.bad
    if as_json:
        print_document(_document(found, bad))
    else:
        _print(found, bad)
    if bad:
        raise typer.Exit(ExitCode.NEGATIVE)


async def _verify(
    parts: Parts, anchors: Sequence[Anchor], *, rows: int, bars: Bars | None, topic: bool, receipts: bool
) -> Verified:
    began = time.monotonic()

    def advance(done: int) -> None:
        if bars is not None:
            bars.reach("rows", done, rows or None)

    def step(name: str) -> Callable[[int], None] | None:
        return None if bars is None else partial(bars.advance, name)

    crew = AuditWorkers(processors()) if rows >= FEWEST_ROWS and processors() > 1 else None
    chains = await verify_chains(parts.store, marks=marks_of(anchors), crew=crew, progress=advance)
    seconds = time.monotonic() - began
    if chains.bad and not chains.partitions:  # a table is missing: nothing else could be read
        return Verified(chains=chains, seconds=seconds, anchors=anchors)

    good = chains.good
    bad = {found["partition"] for found in chains.bad if found["partition"] is not None} - good
    # Where the kept settings are damaged nobody can say how many partitions the topic should have.
    topic = topic and all(found["partition"] is not None for found in chains.bad)
    return Verified(
        chains=chains,
        seconds=seconds,
        anchors=anchors,
        orders=await verify_orders(parts.store, good, bad=bad, progress=step("orders")),
        receipts=await verify_receipts(parts.store, good, bad=bad, progress=step("receipts")) if receipts else None,
        topic=await _compare_topic(parts, step("topic records")) if topic else None,
        acts=await verify_acts(parts.store, anchors),
    )


async def _compare_topic(parts: Parts, progress: Callable[[int], None] | None) -> TopicReport:
    partitions = await keep_partitions(parts.store, parts.settings)
    async with started_log(parts.settings) as log:
        name = parts.settings.topics.outcomes
        return await verify_topic(parts.store, log, name, range(partitions), progress=progress)


async def _expected_rows(readings: Readings) -> int:
    try:
        return sum((await readings.heads()).values())
    except UNREADABLE:  # what is broken there is for the verification to name
        return 0


def _rate(found: Verified) -> int:
    return round(found.chains.rows / found.seconds) if found.seconds > 0 else 0


def _document(found: Verified, bad: Sequence[BadRow]) -> dict[str, Any]:
    chains, topic = found.chains, found.topic
    return {
        "rows": chains.rows,
        "partitions": chains.partitions,
        "ok": not bad,
        "first_bad": bad[0] if bad else None,
        "bad": list(bad),
        "heads": {str(p): {"seq": seq, "hash": head} for p, (seq, head) in chains.heads.items()},
        "payloads": asdict(chains.payloads),
        "orders": None if found.orders is None else found.orders.compared,
        "receipts": None if found.receipts is None else found.receipts.compared,
        "anchors": [
            {"made_at": held.made_at, "key_id": held.key_id, "rows": held.rows, "deployment": held.deployment}
            for held in found.anchors
        ],
        "topic": None if topic is None else {str(span.partition): _span(span) for span in topic.spans},
        "seconds": round(found.seconds, 3),
        "rows_per_second": _rate(found),
    }


def _span(span: TopicSpan) -> dict[str, int | None]:
    return {"first": span.first, "last": span.last, "head": span.head, "records": span.records}


def _print(found: Verified, bad: Sequence[BadRow]) -> None:
    chains, counts = found.chains, found.chains.payloads
    if not bad:
        print_line(f"ok: {chains.rows} rows in {chains.partitions} partitions, every hash fits")
    for number, finding in enumerate(bad):
        where = "" if finding["partition"] is None else f"partition {finding['partition']}, "
        where += "" if finding["seq"] is None else f"row {finding['seq']}: "
        print_line(f"{'also:' if number else 'NOT ok:'} {where}{finding['problem']}")
    if any(asdict(counts).values()):
        kept = f"{counts.checked} payloads fit their digests" if not bad else f"{counts.checked} payloads compared"
        print_line(f"    {kept}, {counts.without_body} events had none of their own, {counts.erased} are erased")
    if found.orders is not None and found.orders.compared:
        print_line(f"    {found.orders.compared} orders compared with their last moves")
    if found.receipts is not None:
        print_line(f"    {found.receipts.compared} receipts compared with their rows")
    for held in found.anchors:
        print_line(f"    anchor of {held.made_at}: {held.rows} rows, key {held.key_id}")
    if found.topic is not None:
        _print_topic(found.topic)
    print_remark(f"{chains.rows} rows in {found.seconds:.1f} s, {_rate(found):,} rows/s")


def _print_topic(topic: TopicReport) -> None:
    compared = sum(span.records for span in topic.spans)
    print_line(f"    {compared} records of the outcomes topic compared")
    for span in topic.spans:
        if span.first is None or span.last is None:
            if span.head:
                print_line(f"    partition {span.partition}: the topic holds none of {span.head} rows")
        elif span.first > 1 or span.last < span.head:
            print_line(
                f"    partition {span.partition}: the topic holds rows {span.first} to {span.last} of {span.head}"
            )
