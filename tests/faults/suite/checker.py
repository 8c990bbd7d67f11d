"""The judge. It reads evidence and says, in sentences, every promise that was broken.

It is written from the documents and shares no code with what it judges: chains are recomputed from the published fields
(`published`), receipts are taken apart by their layout, and decisions are compared with the oracle's, which reads the
received topic from its beginning. `schemas` is used for one thing: to read the records.
"""

from __future__ import annotations

import base64
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from schemas.records import AnyRecord, ApplicableRecord, EventRecord, OperatorRecord, TickRecord, load_record
from tests.faults.suite.evidence import Evidence, Row
from tests.faults.suite.published import check_trail
from tests.support.oracle import Line, Oracle
from tests.support.received import START_MS

MOST_SENTENCES = 40
Key = tuple[str, str, str]
"""Partner, order, event id: what a partner calls one callback."""


class Checker:
    """One run's judgement. `check` returns what is wrong, an empty list when nothing is."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._tables = evidence.tables
        self._records: dict[tuple[int, int], Any] = {}
        self._wrong: list[str] = []
        self.counts: Counter[str] = Counter()

    def check(self) -> list[str]:
        """Everything that is wrong, at most forty sentences of it."""
        self._read_records()
        self._check_answers()
        self._check_log()
        self._check_verdicts()
        self._wrong += check_trail(self._evidence, self.counts)
        self._check_against_oracle()
        return self._wrong[:MOST_SENTENCES]

    def _broken(self, sentence: str) -> None:
        self._wrong.append(sentence)

    def _read_records(self) -> None:
        for partition, messages in self._evidence.received.items():
            for expected, message in enumerate(messages):
                if message.offset != expected:
                    self._broken(f"received {partition}: offset {message.offset} where {expected} should be")
                self._records[partition, message.offset] = load_record(message.value)

    # --- Every 202 is kept ---------------------------------------------------------------------------------------

    def _check_answers(self) -> None:
        """Only 202, 503 (which says when to come again) and silence; and a receipt points at the event's record."""
        for answer in self._evidence.answers:
            status, key = answer["status"], _key(answer)
            self.counts[f"answers_{status or 'unknown'}"] += 1
            if status == 202:
                where = _place(answer["receipt_id"])
                if _record_key(self._records.get(where)) != key:
                    self._broken(f"{key} was answered 202, and no record of it lies at {where}")
            elif status == 503:
                if not (answer.get("retry_after") or "").isdigit():
                    self._broken(f"{key} was answered 503 without Retry-After")
            elif status is not None:
                self._broken(f"{key} was answered {status}: {answer.get('problem')}")

    def _check_log(self) -> None:
        """Nothing in the log without a request, and nothing more often than it was sent."""
        sent = Counter((*_key(answer), answer["body"]) for answer in self._evidence.answers)
        for where, record in self._records.items():
            if isinstance(record, TickRecord):
                self.counts["ticks"] += 1
                continue
            if not isinstance(record, EventRecord | OperatorRecord):
                self._broken(
                    f"a {record.kind} of {record.order_id} lies in the log at {where}, and nobody asked for it"
                )
                continue
            event = _event_key(record)
            self.counts["records"] += 1
            request = (*event, base64.b64decode(record.payload or "").decode())
            sent[request] -= 1
            if sent[request] == -1:
                self._broken(f"{event} lies in the log at {where} more often than it was sent")

    # --- Exactly one verdict -------------------------------------------------------------------------------------

    def _check_verdicts(self) -> None:
        promised = {_key(answer) for answer in self._evidence.answers if answer["status"] == 202}
        asked = {_key(answer) for answer in self._evidence.answers}
        rows = self._rows_by_key()
        receipts: dict[Key, list[Row]] = defaultdict(list)
        names = {record.source.uid: record.source.name for record in self._events()}
        for row in self._tables["receipts"]:
            receipts[names.get(row["source_uid"], "?"), row["order_id"], row["event_id"]].append(row)
        for key in sorted((set(rows) | set(receipts)) - asked):
            self._broken(f"{key} has a verdict or a receipt, and nobody sent it")
        logged = {_event_key(record) for record in self._events()}
        for key in sorted(promised | logged):
            self._check_fate(key, receipts[key], rows.get(key, []))
        if self._tables["dead_letters"]:
            self._broken(f"{len(self._tables['dead_letters'])} events were set aside, and none of them is at fault")

    def _check_fate(self, key: Key, receipts: list[Row], rows: list[Row]) -> None:
        """One receipt; final with a row that says the same, or held for a reason that can be named."""
        if len(receipts) != 1:
            self._broken(f"{key} has {len(receipts)} receipts")
            return
        receipt = receipts[0]
        attempts = [row for row in rows if row["reason"] != "event_id_reused"]
        if receipt["state"] == "held":
            self.counts["held"] += 1
            self._check_hold(key, receipt)
            attempts = [*attempts, {"verdict": None}]
        elif receipt["state"] != "final":
            self._broken(f"{key} was accepted, and its receipt says {receipt['state']}")
            return
        else:
            self.counts["verdicts"] += 1
            if not attempts:
                self._broken(f"{key} has no verdict in the trail")
                return
            if [attempts[-1][name] for name in ("verdict", "reason")] != [receipt["verdict"], receipt["reason"]]:
                self._broken(f"{key}: the receipt says {receipt['verdict']}, the trail {attempts[-1]['verdict']}")
        if any(row["verdict"] != "rejected" for row in attempts[:-1]):
            self._broken(f"{key} has more than one final verdict: {[row['verdict'] for row in attempts]}")

    def _check_hold(self, key: Key, receipt: Row) -> None:
        """It waits for a reason that can be named, and the wait has not run out."""
        held = [row for row in self._tables["held_events"] if row["digest"] == receipt["digest"]]
        if len(held) != 1:
            self._broken(f"{key} is held according to its receipt, and {len(held)} times in fact")
            return
        source = self._records[held[0]["partition"], held[0]["offset"]].source
        order = next((row for row in self._tables["orders"] if row["order_id"] == key[1]), None)
        named = None if order is None else order[str(source.role)]
        is_its_own = order is not None and (source.parties is None or named in source.parties)
        match held[0]["kind"]:
            case "foreign":
                if is_its_own:
                    self._broken(f"{key} is held as foreign, and its order is known and names {named}")
            case "ahead":
                if not is_its_own or source.policy != "strict":
                    self._broken(f"{key} is held as ahead, and its source is {source.policy}")
            case other:
                self._broken(f"{key} is held for no reason that can be named here: {other}")
        if held[0]["deadline_ms"] is None or held[0]["deadline_ms"] < self._evidence.now_ms:
            self._broken(f"{key} is held past its deadline")

    def _rows_by_key(self) -> dict[Key, list[Row]]:
        """The trail's verdicts (no inferred steps) in the order of their numbers."""
        found: dict[Key, list[Row]] = defaultdict(list)
        seen: Counter[tuple[int, int]] = Counter()
        for row in sorted(self._tables["trail"], key=lambda row: row["seq"]):
            if row["inferred"]:
                continue
            found[row["source"], row["order_id"], row["event_id"]].append(row)
            seen[row["partition"], row["offset"]] += 1
            record = self._records.get((row["partition"], row["offset"]))
            if _record_key(record) != (row["source"], row["order_id"], row["event_id"]):
                self._broken(f"row {row['partition']}-{row['seq']} is of no record in the log")
        for where, times in seen.items():
            if times > 1:
                self._broken(f"the record at {where} has {times} verdicts")
        return found

    # --- A second opinion ----------------------------------------------------------------------------------------

    def _check_against_oracle(self) -> None:
        statuses: dict[str, str] = {}
        for partition, messages in self._evidence.received.items():
            oracle = Oracle().read(
                [(self._records[partition, message.offset], message.log_ms - START_MS) for message in messages]
            )
            stored = [row for row in self._tables["trail"] if row["partition"] == partition]
            lines = [_line(row) for row in sorted(stored, key=lambda row: row["seq"])]
            for number, (theirs, ours) in enumerate(zip(lines, oracle.lines, strict=False), 1):
                if theirs != ours:
                    self._broken(f"row {partition}-{number} is {theirs}, the oracle has {ours}")
                    break
            if len(lines) != len(oracle.lines):
                self._broken(f"partition {partition} has {len(lines)} rows, the oracle {len(oracle.lines)}")
            held = {row["offset"] for row in self._tables["held_events"] if row["partition"] == partition}
            if held != set(oracle.waiting):
                self._broken(f"partition {partition} holds {sorted(held)}, the oracle {sorted(oracle.waiting)}")
            self._check_repeats(partition, oracle)
            statuses |= {order_id: story.now.after for order_id, story in oracle.stories.items() if story.known}
        kept = {row["order_id"]: row["status"] for row in self._tables["orders"]}
        self.counts["orders"] = len(kept)
        for order_id in sorted(set(statuses) | set(kept)):
            if statuses.get(order_id) != kept.get(order_id):
                self._broken(f"{order_id} is {kept.get(order_id)}, the oracle says {statuses.get(order_id)}")

    def _check_repeats(self, partition: int, oracle: Oracle) -> None:
        """Every repeat was counted once: a batch that was applied twice leaves the trail as it is, and counts again."""
        kept = {row["digest"]: row for row in self._tables["receipts"] if row["partition"] == partition}
        counted = Counter({digest: row["repeats"] for digest, row in kept.items()})
        counted.update(row["digest"] for row in self._tables["reused_event_ids"] if row["repeat"])
        for digest, row in kept.items():
            fate = oracle.fates.get((row["source_uid"], row["order_id"], row["event_id"]))
            if fate is not None and fate.repeats != counted[digest]:
                self._broken(f"{row['event_id']} was repeated {fate.repeats} times, its receipt says {counted[digest]}")

    def _events(self) -> Iterator[EventRecord | OperatorRecord]:
        return (record for record in self._records.values() if isinstance(record, EventRecord | OperatorRecord))


def _key(answer: Row) -> Key:
    return answer["partner"], answer["order_id"], answer["event_id"]


def _record_key(record: AnyRecord | None) -> Key | None:
    """None for what is no event, and for no record at all."""
    return _event_key(record) if isinstance(record, EventRecord | OperatorRecord) else None


def _event_key(record: ApplicableRecord) -> Key:
    return record.source.name, record.order_id, record.event_id


def _place(receipt_id: str) -> tuple[int, int]:
    """Partition and offset in a receipt id: a version byte, 4 and 8 bytes, then the digest."""
    raw = base64.urlsafe_b64decode(receipt_id + "=" * (-len(receipt_id) % 4))
    _, partition, offset, _ = struct.unpack(">BIQ16s", raw)
    return partition, offset


def _line(row: Row) -> Line:
    """A stored row as the oracle writes it."""
    return Line(
        offset=row["offset"],
        event_id=row["event_id"],
        order_id=row["order_id"],
        verdict=row["verdict"],
        reason=row["reason"],
        from_status=row["from_status"],
        to_status=row["to_status"],
        inferred=row["inferred"],
        foreign=row["foreign"],
        decided_ms=row["decided_ms"],
        mark=row["occurred_mark"],
        previous_ms=row["previous_received_ms"],
        parties=(row["restaurant"], row["courier"], row["marketplace"]),
        fulfilment=row["fulfilment"],
    )
