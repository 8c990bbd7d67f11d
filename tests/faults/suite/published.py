"""Half of the judgement: the trail in the store and the trail in the topic are one, gapless, chained and complete.

Hashes are recomputed from the published fields, as `docs/outcomes.md` tells readers to.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime

from tests.faults.suite.evidence import Evidence, Message, Row

GENESIS = "00" * 32
_SAME = (
    "order_id",
    "event_id",
    "source_uid",
    "verdict",
    "reason",
    "from_status",
    "to_status",
    "inferred",
    "offset",
)


def check_trail(evidence: Evidence, counts: Counter[str]) -> Iterator[str]:
    """What is wrong, in sentences. Counts rows that were published again, which is allowed."""
    trail: dict[int, list[Row]] = defaultdict(list)
    for row in sorted(evidence.tables["trail"], key=lambda row: row["seq"]):
        trail[row["partition"]].append(row)
    offsets = {row["partition"]: row for row in evidence.tables["offsets"]}
    for partition, messages in evidence.received.items():
        stored = trail[partition]
        taken: dict[int, Row] = {}
        yield from _check_topic(partition, evidence.outcomes[partition], taken, counts)
        yield from _compare(partition, stored, taken)
        head = stored[-1]["hash"].hex() if stored else GENESIS
        yield from _check_offsets(partition, messages, offsets.get(partition), len(stored), head)


def chained(previous: str, row: Row) -> str:
    """The hash of an outcome, given the one before it."""
    fields = {name: value for name, value in row.items() if name != "hash"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(bytes.fromhex(previous) + text.encode()).hexdigest()


def _check_topic(partition: int, published: list[Row], taken: dict[int, Row], counts: Counter[str]) -> Iterator[str]:
    """Gapless, in order, chained; fills `taken` with the rows, each once."""
    last, head = 0, GENESIS
    for row in published:
        if row["seq"] <= last:
            counts["published_again"] += 1
            if row != taken.get(row["seq"]):
                yield f"outcomes {partition}: seq {row['seq']} was published in two versions"
            continue
        if row["seq"] != last + 1:
            yield f"outcomes {partition}: seq {row['seq']} follows {last}"
        if chained(head, row) != row["hash"]:
            yield f"outcomes {partition}: the hash of seq {row['seq']} does not follow from the one before"
        taken[row["seq"]] = row
        last, head = row["seq"], row["hash"]


def _compare(partition: int, stored: list[Row], taken: dict[int, Row]) -> Iterator[str]:
    """The store's rows are the topic's."""
    if [row["seq"] for row in stored] != list(range(1, len(stored) + 1)):
        yield f"trail {partition}: numbers have gaps"
    if [(row["seq"], row["hash"].hex()) for row in stored] != [(row["seq"], row["hash"]) for row in taken.values()]:
        yield f"partition {partition}: {len(stored)} rows in the store, {len(taken)} others in the topic"
    for row in stored:
        if (published := taken.get(row["seq"])) is None:
            continue
        if [row[name] for name in _SAME] != [published[name] for name in _SAME]:
            yield f"row {partition}-{row['seq']} differs between store and topic"
        if (row["received_ms"], row["decided_ms"]) != (_ms(published["received_at"]), _ms(published["decided_at"])):
            yield f"row {partition}-{row['seq']} has other times in the store than in the topic"


def _check_offsets(partition: int, messages: list[Message], row: Row | None, rows: int, head: str) -> Iterator[str]:
    """Everything is applied, and the offset row says so."""
    if row is None:
        if messages:
            yield f"partition {partition} has records and no offset row"
        return
    if row["next"] != len(messages):
        yield f"partition {partition}: {row['next']} of {len(messages)} records are applied"
    if (row["seq"], row["hash"].hex()) != (rows, head):
        yield f"partition {partition}: the offset row's head is not the trail's"
    if row["published"] > row["seq"]:
        yield f"partition {partition}: published up to {row['published']} of {row['seq']}"
    if messages and row["watermark_ms"] != max(message.log_ms for message in messages):
        yield f"partition {partition}: the watermark is not the latest log time"


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
