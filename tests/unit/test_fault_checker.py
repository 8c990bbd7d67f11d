"""The judge of the fault suite finds what it is there to find: each broken promise, planted in good evidence."""

from __future__ import annotations

import base64
import copy
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.records import ApplicableRecord, TickRecord, dump_record
from tests.faults.suite.checker import Checker
from tests.faults.suite.evidence import Evidence, Message, Row
from tests.faults.suite.published import GENESIS, chained
from tests.support.oracle import Oracle
from tests.support.received import START_MS, discarded, erased, event_record, placed, replayed, source, status, tick

MARKET = source("marketplace", "M1", uid="market")
KITCHEN = source("restaurant", "R1", uid="kitchen")
NOBODY = source("restaurant", "R9", uid="nobody")
LOG: list[tuple[ApplicableRecord | TickRecord, int]] = [
    (event_record("A", status("COOKING"), KITCHEN, event_id="cooking"), 0),  # early: waits for the announcement
    (event_record("A", placed(restaurant="R1"), MARKET, event_id="new"), 10),
    (event_record("A", status("COOKING"), KITCHEN, event_id="cooking"), 20),  # a repeat
    (event_record("A", status("READY"), NOBODY, event_id="foreign"), 30),  # held: not its order
    (tick(), 40),
    (event_record("A", status("READY"), KITCHEN, event_id="ready"), 50),
]
UIDS = {stamp.uid: stamp.name for stamp in (MARKET, KITCHEN, NOBODY)}


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def good_evidence() -> Evidence:
    """What a faultless run over this log leaves behind."""
    oracle = Oracle().read(LOG)
    events = {offset: record for offset, (record, _) in enumerate(LOG) if not isinstance(record, TickRecord)}
    outcomes: list[Row] = []
    trail: list[Row] = []
    head = GENESIS
    for seq, line in enumerate(oracle.lines, 1):
        by = events[line.offset].source
        common: Row = {
            "partition": 0,
            "seq": seq,
            "source": by.name,
            "source_uid": by.uid,
            "occurred_mark": line.mark,
            "restaurant": line.parties[0],
            "courier": line.parties[1],
            "marketplace": line.parties[2],
        }
        same = (
            "offset",
            "event_id",
            "order_id",
            "verdict",
            "reason",
            "from_status",
            "to_status",
            "inferred",
            "foreign",
        )
        common |= {name: getattr(line, name) for name in same} | {"fulfilment": line.fulfilment}
        received = START_MS + LOG[line.offset][1]
        outcome = {**common, "received_at": _instant(received), "decided_at": _instant(line.decided_ms)}
        outcome["hash"] = head = chained(head, outcome)
        outcomes.append(outcome)
        times = {"received_ms": received, "decided_ms": line.decided_ms, "previous_received_ms": line.previous_ms}
        trail.append({**common, **times, "hash": bytes.fromhex(head)})
    receipts = [
        {
            "source_uid": uid,
            "order_id": order_id,
            "event_id": event_id,
            "digest": event_id,
            "partition": 0,
            "state": fate.state,
            "verdict": fate.verdict,
            "reason": fate.reason,
            "repeats": fate.repeats,
        }
        for (uid, order_id, event_id), fate in oracle.fates.items()
    ]
    held = [
        {
            "partition": 0,
            "offset": offset,
            "digest": waiting.event.record.event_id,
            "deadline_ms": waiting.deadline,
            "kind": waiting.why,
        }
        for offset, waiting in oracle.waiting.items()
    ]
    watermark = START_MS + LOG[-1][1]
    tables = {
        "trail": trail,
        "offsets": [
            {
                "partition": 0,
                "next": len(LOG),
                "seq": len(trail),
                "hash": bytes.fromhex(head),
                "published": len(trail),
                "watermark_ms": watermark,
            }
        ],
        "receipts": receipts,
        "held_events": held,
        "orders": [{"order_id": "A", "status": "READY", "restaurant": "R1", "courier": None, "marketplace": "M1"}],
        "dead_letters": [],
        "reused_event_ids": [],
    }
    received_topic = [
        Message(offset, START_MS + after_ms, None, dump_record(record)) for offset, (record, after_ms) in enumerate(LOG)
    ]
    answers = [
        {
            "partner": record.source.name,
            "order_id": record.order_id,
            "event_id": record.event_id,
            "body": "{}",
            "status": 202,
            "receipt_id": base64.urlsafe_b64encode(struct.pack(">BIQ16s", 1, 0, offset, bytes(16))).decode(),
        }
        for offset, record in events.items()
    ]
    return Evidence(answers, {0: received_topic}, {0: outcomes}, tables, watermark)


def test_good_evidence_is_not_blamed() -> None:
    """A faultless run has nothing wrong, and a row published twice is no fault."""
    evidence = good_evidence()
    evidence.outcomes[0].insert(1, copy.deepcopy(evidence.outcomes[0][0]))
    assert Checker(evidence).check() == []


def _forget_a_row(evidence: Evidence) -> None:
    evidence.tables["trail"].pop()
    evidence.outcomes[0].pop()


def _decide_twice(evidence: Evidence) -> None:
    again = {**evidence.tables["trail"][-1], "seq": len(evidence.tables["trail"]) + 1}
    evidence.tables["trail"].append(again)


def _skip_a_seq(evidence: Evidence) -> None:
    del evidence.outcomes[0][1]


def _change_a_row(evidence: Evidence) -> None:
    evidence.tables["trail"][0]["to_status"] = evidence.outcomes[0][0]["to_status"] = "COOKING"


def _table(name: str, **changes: Any) -> Callable[[Evidence], None]:
    return lambda evidence: evidence.tables[name][0].update(changes)


def _answer(**changes: Any) -> Callable[[Evidence], None]:
    return lambda evidence: evidence.answers[0].update(changes)


def _lose_a_record(evidence: Evidence) -> None:
    evidence.received[0].pop()


def _invent_a_record(evidence: Evidence) -> None:
    evidence.answers.pop()


def _act_unasked(evidence: Evidence) -> None:
    for act in (erased("A"), discarded((1, 1), order="A"), replayed(LOG[1][0], (1, 1), order="A")):
        offset = len(evidence.received[0])
        evidence.received[0].append(Message(offset, START_MS + 50, None, dump_record(act)))


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (_forget_a_row, "no verdict in the trail"),
        (_decide_twice, "2 verdicts"),
        (_skip_a_seq, "follows 1"),
        (_change_a_row, "does not follow from the one before"),
        (_lose_a_record, "no record of it lies at"),
        (_invent_a_record, "more often than it was sent"),
        (_act_unasked, "a discard of A lies in the log"),
        (_answer(status=500, problem="oops"), "was answered 500"),
        (_answer(status=503, retry_after=None), "without Retry-After"),
        (_table("orders", status="COOKING"), "the oracle says READY"),
        (_table("offsets", next=3), "3 of 6 records are applied"),
        (_table("offsets", watermark_ms=1), "watermark"),
        (_table("offsets", hash=bytes(32)), "head is not the trail's"),
        (_table("offsets", published=99), "published up to 99"),
        (_table("receipts", repeats=7), "its receipt says 7"),
        (_table("receipts", state="held"), "is held according to its receipt"),
        (_table("receipts", state="pending"), "its receipt says pending"),
        (_table("held_events", deadline_ms=1), "past its deadline"),
        (_table("held_events", offset=5), "order is known and names R1"),
        (_table("held_events", kind="parked"), "for no reason that can be named"),
        (lambda evidence: evidence.tables["dead_letters"].append({}), "were set aside"),
        (lambda evidence: evidence.tables["receipts"].pop(), "0 receipts"),
    ],
)
def test_each_broken_promise_is_named(plant: Callable[[Evidence], None], words: str) -> None:
    """One promise broken at a time: the judge says which."""
    evidence = good_evidence()
    plant(evidence)
    found = Checker(evidence).check()
    assert any(words in sentence for sentence in found), found
