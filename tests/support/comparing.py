"""Trail rows in the oracle's words, so that the two can be compared line by line."""

from __future__ import annotations

from schemas.outcomes import TrailRow
from tests.support.oracle import Line


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
