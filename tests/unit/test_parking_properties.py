"""Random trouble: whatever is set aside, replayed, discarded and erased, the oracle agrees and promises are kept."""

from __future__ import annotations

import os
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.fold import fold, fold_steps
from consumers.ledger import Ledger
from consumers.ledger_entries import HoldKind
from schemas.outcomes import TrailRow
from schemas.records import EventRecord, OperatorRecord
from tests.support.comparing import check_agreement
from tests.support.model import FAILURE, apply_all, understood
from tests.support.oracle import DEFAULT_LIMITS, Limits, Oracle
from tests.support.received import discarded, logged
from tests.support.troubled_logs import Trouble, healed, random_trouble

IN_CI = os.environ.get("CI") == "true"
SETTINGS = settings(
    max_examples=150,
    derandomize=IN_CI,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
FEW = Limits(holds_per_source=3, parked_per_source=2, expiries_per_record=2)
"""Limits that short logs meet."""

troubles = st.builds(
    random_trouble,
    st.randoms(use_true_random=False),
    records=st.integers(5, 60),
    orders=st.integers(1, 3),
    share=st.sampled_from([0.03, 0.1, 0.25]),
)


def trail_of(ledger: Ledger, orders: set[str]) -> list[TrailRow]:
    """The rows of these orders as they would be numbered anywhere."""
    return [row._replace(seq=0) for row, _ in ledger.changes.rows if row.order_id in orders]


def check_oracle(trouble: Trouble, limits: Limits = DEFAULT_LIMITS) -> Ledger:
    """Both read the log; their answers are the same. Returns the model's."""
    ledger = apply_all(logged(trouble.log), aside=trouble.aside)
    check_agreement(ledger, Oracle(limits=limits, aside=trouble.aside).read(trouble.log))
    return ledger


def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service has the few places too."""
    monkeypatch.setattr("consumers.deciding.HOLDS_PER_SOURCE", FEW.holds_per_source)
    monkeypatch.setattr("consumers.waiting.PARKED_PER_SOURCE", FEW.parked_per_source)
    monkeypatch.setattr("consumers.fold.EXPIRIES_PER_RECORD", FEW.expiries_per_record)


@SETTINGS
@given(troubles)
def test_the_oracle_agrees_whatever_is_set_aside(trouble: Trouble) -> None:
    """Rows, waiting events, dead letters, receipts."""
    check_oracle(trouble)


@pytest.mark.parametrize("seed", range(60))
def test_the_oracle_agrees_on_seeded_trouble(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same logs in every run, longer ones, and with limits that they meet."""
    narrow(monkeypatch)
    check_oracle(random_trouble(Random(seed), records=250, orders=1 + seed % 7), FEW)


@SETTINGS
@given(troubles)
def test_every_accepted_event_has_one_verdict_or_waits_for_a_reason(trouble: Trouble) -> None:
    """A row, a repeat that was counted, a hold, or an open dead letter: one of them, for each event of the log."""
    ledger = apply_all(logged(trouble.log), aside=trouble.aside)
    verdicts = Counter(row.offset for row, _ in ledger.changes.rows if not row.inferred)
    assert set(verdicts.values()) <= {1}
    letters = [letter.event_offset for letter in ledger.dead_letters.values() if letter.is_open and letter.digest]
    places = [*verdicts, *ledger.held, *letters]
    assert len(places) == len(set(places))
    events = {at for at, (item, _) in enumerate(trouble.log) if isinstance(item, EventRecord | OperatorRecord)}
    assert set(places) <= events
    assert len(places) + ledger.changes.repeats == len(events)
    for held in ledger.held.values():
        key, uid = held.logged.order_key, held.logged.record.source.uid
        assert (held.kind is HoldKind.PARKED) == ledger.is_parked(key, uid)
        assert (held.kind is HoldKind.PARKED) == (held.deadline_ms is None)
        assert held.deadline_ms is None or held.deadline_ms > ledger.watermark_ms
    counted = Counter(h.logged.record.source.uid for h in ledger.held.values() if h.kind is not HoldKind.PARKED)
    assert +ledger.held_by_source == counted
    parked = Counter(
        (h.logged.order_key, h.logged.record.source.uid) for h in ledger.held.values() if h.kind is HoldKind.PARKED
    )
    assert parked == +Counter(
        {(key, uid): count for key, by_source in ledger.parked_by_source.items() for uid, count in by_source.items()}
    )


@SETTINGS
@given(troubles)
def test_when_all_is_replayed_nothing_waits_behind_a_dead_letter(trouble: Trouble) -> None:
    """Every event is decided or waits for its order or its steps, as if nothing had ever failed."""
    ledger = check_oracle(healed(trouble))
    assert not [letter for letter in ledger.dead_letters.values() if letter.is_open]
    assert not [held for held in ledger.held.values() if held.kind is HoldKind.PARKED]
    assert not [receipt for receipt in ledger.receipts.values() if receipt.state == "set_aside"]


@SETTINGS
@given(troubles)
def test_other_orders_go_on_as_if_nothing_had_failed(trouble: Trouble) -> None:
    """Orders of which no event was set aside have the rows that they have without the list."""
    ledger = apply_all(logged(trouble.log), aside=trouble.aside)
    unreadable = {pair for pair in trouble.aside if ledger.dead_letters[pair].source_uid is None}
    untouched = {f"order-{n}" for n in range(3)} - {letter.order_id for letter in ledger.dead_letters.values()}
    without = apply_all(logged(trouble.log), aside=unreadable)
    assert trail_of(ledger, untouched) == trail_of(without, untouched)


@SETTINGS
@given(troubles, st.data())
def test_what_is_set_aside_and_discarded_moves_nothing(trouble: Trouble, data: st.DataObject) -> None:
    """Its one row is a rejection, from a status to the same."""
    ledger = apply_all(logged(trouble.log), aside=trouble.aside)
    letters = [letter for letter in ledger.dead_letters.values() if letter.is_open and letter.digest is not None]
    if not letters:
        return
    letter = data.draw(st.sampled_from(letters))
    log = [*trouble.log, (discarded(letter.pair, order=letter.order_id), 0)]
    after = check_oracle(Trouble(log, trouble.aside))
    [row] = [row for row, _ in after.changes.rows if row.offset == letter.event_offset]
    assert (row.verdict, row.reason, row.from_status) == ("rejected", "discarded", row.to_status)


@SETTINGS
@given(troubles, st.data())
def test_a_ledger_written_and_loaded_between_records_decides_the_same(
    monkeypatch: pytest.MonkeyPatch, trouble: Trouble, data: st.DataObject
) -> None:
    """Where a batch ends does not matter, and the changes of both parts say what waits in between."""
    narrow(monkeypatch)
    log, failures = logged(trouble.log), dict.fromkeys(trouble.aside, FAILURE)
    whole = apply_all(log, aside=trouble.aside)
    cut = data.draw(st.integers(0, len(log)))
    first = apply_all(log[:cut], aside=trouble.aside)
    waited, rows = dict(first.held), list(first.changes.rows)
    second = Ledger(
        partition=0,
        watermark_ms=first.watermark_ms,
        seq=first.seq,
        hash=first.hash,
        dead_seq=first.dead_seq,
        orders=dict(first.orders),
        receipts=first.receipts,
        details=first.details,
        held_by_source=Counter(first.held_by_source),
        parked_by_source={key: Counter(counts) for key, counts in first.parked_by_source.items()},
    )
    for held in first.held.values():
        second.load(held)
    for letter in first.dead_letters.values():
        second.load_dead_letter(letter)
    for record in log[cut:]:
        fold(second, understood(record), failures)
    assert rows + second.changes.rows == whole.changes.rows
    assert second.held == whole.held
    assert second.dead_letters == whole.dead_letters
    changes = second.changes
    assert changes.released == set(waited) - set(whole.held)
    assert changes.held == set(whole.held) - set(waited)
    assert {at for at in waited if at in whole.held and whole.held[at] != waited[at]} <= changes.reheld
    assert changes.reheld <= set(waited) & set(whole.held)


@SETTINGS
@given(troubles)
def test_steps_name_every_event_before_it_is_decided(trouble: Trouble) -> None:
    """A pair that is set aside was yielded first; and walking the steps does what folding does."""
    ledger = Ledger(partition=0)
    failures = dict.fromkeys(trouble.aside, FAILURE)
    yielded = set()
    for record in logged(trouble.log):
        for offset in fold_steps(ledger, understood(record), failures):
            assert ledger.deciding == offset
            yielded.add((record.offset, offset))
    assert set(ledger.dead_letters) <= yielded
    assert ledger.hash == apply_all(logged(trouble.log), aside=trouble.aside).hash
    assert trouble.aside == set(ledger.dead_letters)
