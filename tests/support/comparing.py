"""Trail rows in the oracle's words, so that the two can be compared line by line."""

from __future__ import annotations

from collections import Counter

from consumers.ledger import Ledger
from schemas.outcomes import TrailRow
from tests.support.oracle import Line, Oracle


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def as_line(row: TrailRow) -> Line:
    """The part of a row that the oracle foretells; the rest is copied from the record, or numbers and hashes it."""
    return Line(
        offset=row.offset,
        event_id=row.event_id,
        order_id=row.order_id,
        verdict=str(row.verdict),
        reason=_text(row.reason),
        from_status=_text(row.from_status),
        to_status=_text(row.to_status),
        inferred=row.inferred,
        foreign=row.foreign,
        decided_ms=row.decided_ms,
        mark=_text(row.occurred_mark),
        previous_ms=row.previous_received_ms,
        parties=(row.restaurant, row.courier, row.marketplace),
        fulfilment=_text(row.fulfilment),
    )


def check_agreement(ledger: Ledger, oracle: Oracle, *, about: str = "") -> None:
    """The model's trail, waiting events, dead letters and receipts are what the oracle expects."""
    assert [as_line(row) for row, _ in ledger.changes.rows] == oracle.lines, about
    assert {offset: (held.deadline_ms, str(held.kind)) for offset, held in ledger.held.items()} == {
        offset: (wait.deadline, wait.why) for offset, wait in oracle.waiting.items()
    }, about
    assert [
        (letter.pair, letter.order_id, str(letter.parks), str(letter.state)) for letter in ledger.dead_letters.values()
    ] == [(pair, letter.order_id, letter.parks, letter.state) for pair, letter in oracle.letters.items()], about
    assert [letter.seq for letter in ledger.dead_letters.values()] == list(range(1, ledger.dead_seq + 1)), about
    assert ledger.changes.ahead_of_cancelled == oracle.moved_ahead_of_cancellation, about
    assert ledger.watermark_ms == oracle.watermark
    repeats_of_reused = Counter(event.receipt_key for event, is_repeat in ledger.changes.reused if is_repeat)
    receipts = {
        (receipt.source_uid, receipt.order_id, receipt.event_id): (
            str(receipt.state),
            _text(receipt.verdict),
            _text(receipt.reason),
            receipt.first_offset,
            receipt.last_offset,
            receipt.repeats + repeats_of_reused[receipt_key],
        )
        for receipt_key, receipt in ledger.receipts.items()
    }
    assert receipts == {
        key: (
            fate.state,
            fate.verdict if fate.state == "final" else None,
            fate.reason if fate.state == "final" else None,
            fate.attempt.first,
            fate.attempt.offset,
            fate.repeats,
        )
        for key, fate in oracle.fates.items()
    }, about
    assert ledger.changes.repeats == sum(fate.repeats for fate in oracle.fates.values())
    assert {key[1]: str(order.status) for key, order in ledger.orders.items()} == {
        order_id: story.now.after for order_id, story in oracle.stories.items() if story.known
    }
