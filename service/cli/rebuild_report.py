"""What a rebuild did, in words and as a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consumers.rebuild_store import NOT_REBUILT
from consumers.rebuilt import Rebuilt, RebuiltPartition


def rebuild_document(done: Rebuilt, store: str) -> dict[str, Any]:
    """The one document of `mealtrail rebuild --json`."""
    return {
        "ok": done.same,
        "store": store,
        "resumed": done.resumed,
        "let_go": done.let_go,
        "records": done.records,
        "rows": sum(partition.seq for partition in done.partitions),
        "dead_letters": sum(partition.dead_letters for partition in done.partitions),
        "not_rebuilt": list(NOT_REBUILT),
        "partitions": [_partition_document(partition) for partition in done.partitions],
    }


def _partition_document(done: RebuiltPartition) -> dict[str, Any]:
    comparison, first = done.comparison, done.comparison.first
    return {
        "partition": done.partition,
        "ok": done.same,
        "next": done.next,
        "seq": done.seq,
        "dead_letters": done.dead_letters,
        "unlike_list": done.unlike_list,
        "left_to_consumers": done.left,
        "same_chain": not done.is_other_chain,
        "published": comparison.last_seq,
        "compared": comparison.compared,
        "compared_from": comparison.first_seq or None,
        "missing_in_topic": comparison.missing,
        "strangers": comparison.strangers,
        "differing": comparison.differing,
        "first_different_seq": comparison.first_hash,
        "first_difference": None
        if first is None
        else {
            "seq": first.seq,
            "order_id": first.order_id,
            "event_id": first.event_id,
            "published": first.published,
            "rebuilt": first.rebuilt,
        },
    }


def rebuild_lines(done: Rebuilt, store: str) -> list[str]:
    """The same for people."""
    rows = sum(partition.seq for partition in done.partitions)
    compared = sum(partition.comparison.compared for partition in done.partitions)
    dead = sum(partition.dead_letters for partition in done.partitions)
    verb = "went on with" if done.resumed else "rebuilt"
    lines = [f"{verb} {store}: {done.records} records applied, {rows} rows, {dead} dead letters"]
    lines += [line for partition in done.partitions for line in _partition_lines(partition)]
    if done.same and not compared and rows:
        lines.append(
            "ok: the log could be applied; NOTHING was compared, for the outcomes topic has none of these rows"
        )
    elif done.same and done.beside:
        lines.append(f"ok: {compared} published outcomes and the heads of the store at work compared, all the same")
    elif done.same:
        lines.append(f"ok: {compared} published outcomes compared, all the same; consumers may start")
    elif done.let_go:
        lines.append("NOT the same as what was published; consumers may start, as you accepted that")
    else:
        lines += [
            "NOT the same as what was published. Nobody starts on this store: rebuild into an empty one with the",
            "release that published the outcomes, or run this again with --accept-differences",
        ]
    if not done.beside:
        lines.append("not in the log, restore from a backup: " + ", ".join(NOT_REBUILT))
    return lines


def _partition_lines(done: RebuiltPartition) -> list[str]:
    comparison, lines = done.comparison, []
    name = f"  partition {done.partition}"
    if comparison.first_seq > 1:
        lines.append(f"{name}: the outcomes topic begins at row {comparison.first_seq}; earlier rows are not compared")
    if comparison.missing:
        lines.append(f"{name}: the outcomes topic leaves out {comparison.missing} rows from {comparison.first_missing}")
    if comparison.first is not None:
        first = comparison.first
        lines += [
            f"{name}: {comparison.differing} rows differ, the first one is row {first.seq}:",
            f"    published {_told(first.published)}",
            f"    rebuilt   {_told(first.rebuilt)}",
        ]
    elif comparison.first_hash is not None:
        lines.append(f"{name}: from row {comparison.first_hash} on the hashes differ and the rows say the same")
    if comparison.strangers:
        lines.append(f"{name}: {comparison.strangers} records in the outcomes topic are no outcomes; who writes there?")
    if done.is_other_chain:
        lines.append(f"{name}: the configured store's chain ends otherwise at the same offset, {done.next}")
    if done.unlike_list:
        lines.append(f"{name}: {done.unlike_list} events are set aside otherwise than listed")
    if done.left is not None:
        lines.append(f"{name}: applied up to offset {done.left}, where a decision fails; consumers take it from there")
    return lines


def _told(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "no such row"
    step = f"{row['from_status'] or '-'} -> {row['to_status'] or '-'}"
    reason = f": {row['reason']}" if row["reason"] else ""
    return f"order {row['order_id']!r}, event {row['event_id']!r}, {row['verdict']}{reason}, {step}"
