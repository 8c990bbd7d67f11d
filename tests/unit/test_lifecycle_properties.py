"""Random lives of orders: what the service decides against what the oracle reads in the design, row by row."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backbone.eventlog.port import LogRecord
from consumers.fold import fold
from consumers.ledger import Ledger
from schemas.canonical import GENESIS
from schemas.events import AnyEvent, FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.outcomes import TrailRow, hash_row
from schemas.records import ApplicableRecord, SourceStamp, TickRecord
from schemas.statuses import Fulfilment, OrderStatus
from schemas.times import TimeMark, rfc3339_micros
from tests.support.comparing import check_agreement
from tests.support.model import apply_all, understood
from tests.support.oracle import Limits, Oracle
from tests.support.received import START_MS, event_record, logged, source, tick

HOLDS = 2
"""Events one source may have waiting in these tests; the real limit is too far for random walks."""

IN_CI = os.environ.get("CI") == "true"
SETTINGS = settings(
    max_examples=400,
    derandomize=IN_CI,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

Timed = tuple[ApplicableRecord | TickRecord, int]

# --- what may happen --------------------------------------------------------------------------------------------------

MARKETPLACE = source("marketplace", "M1", hold_ms=5_000, skew_ms=500)
PLATFORM = source("platform", hold_ms=7_000, skew_ms=0)
KITCHEN = source("restaurant", "R1", hold_ms=6_000, skew_ms=0)
COURIER = source("courier", "C1", hold_ms=4_000, skew_ms=1_500)
ANY_COURIER = source("courier", uid="any-courier", skew_ms=2_000)
OPERATOR = source("operator", uid="ann", hold_ms=0)
REGULARS = (KITCHEN, KITCHEN, COURIER, COURIER, ANY_COURIER, MARKETPLACE, PLATFORM, OPERATOR, OPERATOR)
STRANGERS = (
    *(KITCHEN, COURIER, MARKETPLACE, PLATFORM, OPERATOR),
    source("restaurant", "R2", "R3", hold_ms=12_000),
    source("courier", "C2", hold_ms=20_000),
    source("marketplace", "M2", hold_ms=0),
    source("marketplace", "M3", "M2", hold_ms=8_000),
    source("marketplace", uid="any-marketplace", hold_ms=9_000),
)
STRICT = (
    source("marketplace", "M1", uid="strict-marketplace", policy="strict", ahead_hold_ms=6_000),
    source("restaurant", "R1", uid="strict-kitchen", policy="strict", hold_ms=6_000, ahead_hold_ms=4_000),
    source("courier", "C1", "C2", uid="strict-courier", policy="strict", hold_ms=9_000, ahead_hold_ms=9_000),
    source("restaurant", "R2", uid="impatient-kitchen", policy="strict", hold_ms=9_000, ahead_hold_ms=0),
    *(KITCHEN, COURIER, PLATFORM, OPERATOR),
)
"""Little time passes between records: holds both expire and are released, and allowances are as short."""

STATUSES: dict[str, list[str]] = {
    "restaurant": ["ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "READY", "TAKEN_BY_COURIER", "DELIVERED", "CANCELLED"],
    "courier": ["TAKEN_BY_COURIER", "TAKEN_BY_COURIER", "DELIVERED", "CANCELLED", "READY"],
    "operator": ["NEW", "ACCEPTED_BY_RESTAURANT", "COOKING", "COOKING", "READY", "DELIVERED", "CANCELLED"],
}
"""What a role mostly says; anybody may say anything."""

SLOTS: dict[str, list[str]] = {"restaurant": ["R1", "R2"], "courier": ["C1", "C2"], "marketplace": ["M1", "M2"]}
OFFSETS_US = st.sampled_from(
    [0, -1, 1, -900_000, 900_000, -2_500_000, -6_000_000, -60_000_000, -120_000_000, 3_000_000, -400_000_000_000]
)


@st.composite
def times(draw: st.DrawFn, log_ms: int) -> dict[str, Any]:
    """A sender's time: missing, naive, implausible, from 1937, or about when it was logged."""
    kind = draw(
        st.sampled_from(["missing", "missing", "naive", "1937", "ahead", "edge", "near", "near", "near", "near"])
    )
    near = (START_MS + log_ms) * 1000 + draw(OFFSETS_US)
    claims: dict[str, dict[str, Any]] = {
        "missing": {"occurred_mark": TimeMark.MISSING},
        "naive": {"occurred_us": near, "occurred_mark": TimeMark.NAIVE},
        "1937": {"occurred_us": -1_041_337_172_130_000},
        "ahead": {"occurred_us": (START_MS + log_ms) * 1000 + 86_400_000_001},
        "edge": {"occurred_us": (START_MS + log_ms) * 1000 + 86_400_000_000},
        "near": {"occurred_us": near},
    }
    return claims[kind]


def parties(*, may_take_off: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Some parties of an order; an amendment may also take one off."""
    nobody: list[str | None] = [None] if may_take_off else []
    return st.fixed_dictionaries({}, optional={slot: st.sampled_from([*ids, *nobody]) for slot, ids in SLOTS.items()})


FULFILMENTS = st.none() | st.sampled_from(list(Fulfilment))


@st.composite
def events(draw: st.DrawFn, by: SourceStamp, log_ms: int) -> AnyEvent:
    """Anything a source may say, statuses most of all."""
    may_amend = by in (MARKETPLACE, PLATFORM, OPERATOR, STRICT[0])
    kinds = ["status"] * 10 + ["fact", "announcement"] + ["amendment"] * (6 if may_amend else 1)
    kind = draw(st.sampled_from(kinds))
    when = draw(times(log_ms))
    if kind == "announcement" and by is not OPERATOR:
        told = {"parties": draw(parties(may_take_off=False)), "fulfilment": draw(FULFILMENTS), **when}
        return OrderPlaced.model_validate(told)
    if kind == "amendment":
        named = draw(st.just({}) | parties(may_take_off=True))
        details = {"remarks": draw(st.text("ab"))}
        told = {"parties": named, "fulfilment": draw(FULFILMENTS), "details": details, **when}
        return OrderAmended.model_validate(told)
    if kind == "fact" and by is not OPERATOR:
        return FactEvent(code="courier_assigned", **when)
    usual = STATUSES.get(by.role, list(OrderStatus))
    return StatusEvent(status=OrderStatus(draw(st.sampled_from([*usual, *usual, *OrderStatus]))), **when)


@st.composite
def lives(draw: st.DrawFn) -> list[Timed]:
    """One partition's log: one or two orders, many senders, repeats with the same and with other content, ticks."""
    log: list[Timed] = []
    sent: list[ApplicableRecord] = []
    now = 0
    senders = draw(st.sampled_from([REGULARS, STRANGERS, STRICT]))
    orders = draw(st.sampled_from(["A", "A", "A", "AB"]))
    if senders is not STRANGERS or draw(st.booleans()):
        for order_id in orders:
            named = OrderPlaced(
                parties={"restaurant": "R1", "courier": "C1", "marketplace": "M1"},
                fulfilment=draw(FULFILMENTS),
                occurred_mark=TimeMark.MISSING,
            )
            log.append((event_record(order_id, named, PLATFORM, event_id="first"), now))
    for number in range(draw(st.integers(3, 30))):
        now += draw(st.sampled_from([0, 0, 1, 700, 2_000, 5_000, -800]))
        choice = draw(st.sampled_from(["event"] * 8 + ["again", "again", "other", "tick"]))
        if choice == "tick":
            log.append((tick(), now))
            continue
        if choice == "event" or not sent:
            by = draw(st.sampled_from(senders))
            record = event_record(draw(st.sampled_from(orders)), draw(events(by, now)), by, event_id=f"e{number}")
        else:
            earlier = draw(st.sampled_from(sent))
            event = earlier.event if choice == "again" else draw(events(earlier.source, now))
            record = event_record(earlier.order_id, event, earlier.source, event_id=earlier.event_id)
        sent.append(record)
        log.append((record, now))
    return log


# --- how the two are compared -----------------------------------------------------------------------------------------


def rows_of(ledger: Ledger) -> list[TrailRow]:
    """The whole trail, without hashes."""
    return [row for row, _ in ledger.changes.rows]


def told(log: list[Timed]) -> str:
    """The log in a form that a failing example can be read in."""
    lines = []
    for offset, (record, ms) in enumerate(log):
        if isinstance(record, TickRecord):
            lines.append(f"{offset:3} +{ms} tick")
            continue
        event = record.event
        when = rfc3339_micros(event.occurred_us)[11:] if event.occurred_us is not None else "-"
        said = event.model_dump(exclude_defaults=True, exclude={"occurred_us", "occurred_mark"})
        lines.append(
            f"{offset:3} +{ms} {record.order_id} {record.event_id} {record.source.name} {event.type} {said} at {when}"
        )
    return "\n".join(lines)


@pytest.fixture(autouse=True)
def few_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on holds that a short log can reach."""
    monkeypatch.setattr("consumers.deciding.HOLDS_PER_SOURCE", HOLDS)


@SETTINGS
@given(lives())
def test_the_trail_is_what_the_oracle_reads_in_the_design(log: list[Timed]) -> None:
    """Row by row, and what is still held, how repeats were counted and what receipts say at the end."""
    ledger = apply_all(logged(log))
    check_agreement(ledger, Oracle(limits=Limits(holds_per_source=HOLDS)).read(log), about=told(log))


@SETTINGS
@given(lives())
def test_whatever_comes_the_trail_keeps_its_promises(log: list[Timed]) -> None:
    """Gapless numbers, a chain that verifies, one final verdict an attempt, time that never goes back, and more."""
    records = logged(log)
    ledger = apply_all(records)
    rows = ledger.changes.rows
    head = GENESIS
    for expected, (row, row_hash) in enumerate(rows, 1):
        assert row.seq == expected
        assert row_hash == hash_row(head, row)
        head = row_hash
    assert (ledger.seq, ledger.hash) == (len(rows), head)

    decided = [row.decided_ms for row, _ in rows]
    assert decided == sorted(decided)
    assert all(row.decided_ms >= row.received_ms for row, _ in rows)

    verdicts = Counter(row.offset for row, _ in rows if not row.inferred)
    arrived = {event.offset for event in ledger.changes.arrivals}
    assert set(verdicts) | set(ledger.held) == arrived, told(log)
    assert not set(verdicts) & set(ledger.held)
    assert set(verdicts.values()) <= {1}
    events_in_log = sum(not isinstance(record, TickRecord) for record, _ in log)
    assert len(arrived) + ledger.changes.repeats == events_in_log
    assert ledger.changes.held == set(ledger.held)
    assert not ledger.changes.released, "the log began empty, so nothing waited before it"
    assert +ledger.held_by_source == Counter(held.logged.record.source.uid for held in ledger.held.values())

    status: dict[str, str | None] = {}
    for row in rows_of(ledger):
        if row.foreign:
            assert (row.from_status, row.to_status, row.restaurant) == (None, None, None)
            assert row.verdict == "rejected"
            continue
        assert row.from_status == status.get(row.order_id), told(log)
        if row.verdict != "applied":
            assert row.from_status == row.to_status
        elif row.from_status == "CANCELLED":
            assert row.role == "operator", told(log)
        status[row.order_id] = row.to_status


@SETTINGS
@given(lives(), st.data())
def test_a_ledger_written_and_loaded_between_records_decides_the_same(log: list[Timed], data: st.DataObject) -> None:
    """Where a batch ends does not matter: holds reloaded in any order leave the same rows and are let go the same."""
    whole = apply_all(logged(log))
    cut = data.draw(st.integers(0, len(log)))
    first = apply_all(logged(log)[:cut])
    second = Ledger(
        partition=0,
        watermark_ms=first.watermark_ms,
        seq=first.seq,
        hash=first.hash,
        orders=dict(first.orders),
        receipts=first.receipts,
        details=first.details,
        held_by_source=Counter(first.held_by_source),
    )
    for offset in data.draw(st.permutations(sorted(first.held))):
        second.load(first.held[offset])
    rest: list[LogRecord] = logged(log)[cut:]
    for record in rest:
        fold(second, understood(record))
    assert first.changes.rows + second.changes.rows == whole.changes.rows
    assert set(second.held) == set(whole.held)
    assert second.changes.released == set(first.held) - set(whole.held)
    assert second.changes.held == set(whole.held) - set(first.held)
    assert second.watermark_ms == whole.watermark_ms
