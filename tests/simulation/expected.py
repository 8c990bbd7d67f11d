"""What must lie in the store when a run has grown quiet, table by table, according to the model.

The model never erases a row: it keeps what arrived and what was erased, in two lists. An erasure takes from all that
was logged before it, whenever it came to be written, so the second list is laid over the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from consumers.ledger import Ledger
from consumers.ledger_reading import DEAD_LETTER_COLUMNS, RECEIPT_COLUMNS
from consumers.ledger_writing import (
    HELD_COLUMNS,
    PARTY_COLUMNS,
    PAYLOAD_COLUMNS,
    TRAIL_COLUMNS,
    held_row,
    payload_row,
)
from consumers.order_rows import ORDER_COLUMNS, order_row
from schemas.records import Erasable

_OWN = '"partition" = ?'
_OF_OWN_ORDERS = '"order_id" IN (SELECT order_id FROM orders WHERE "partition" = ?)'
_ERASED: dict[Erasable, dict[str, Any]] = {
    Erasable.PAYLOADS: {"payload": None, "salt": None},
    Erasable.PERSONAL: {"comment": None, "cancel_reason": None, "attributes": "[]"},
}
"""What is left of an event's erasable columns."""


class Table(NamedTuple):
    """The rows of one partition in one table, in the order of `by`. `condition` has one parameter, the partition."""

    name: str
    columns: tuple[str, ...]
    by: str
    rows: list[tuple[Any, ...]]
    condition: str = _OWN


def expected_tables(model: Ledger, *, end: int) -> Iterator[Table]:
    """All tables that come from the log. `end` is the number of records in it."""
    changes = model.changes
    trail = [(*(getattr(row, name) for name in TRAIL_COLUMNS), row_hash) for row, row_hash in changes.rows]
    yield Table("trail", (*TRAIL_COLUMNS, "hash"), "seq", trail)
    head = [(end, model.watermark_ms, model.seq, model.hash, model.dead_seq)]
    yield Table("offsets", ("next", "watermark_ms", "seq", "hash", "dead_seq"), "next", head)
    letters = sorted(model.dead_letters.values(), key=lambda letter: letter.seq)
    rows = [tuple(getattr(letter, name) for name in DEAD_LETTER_COLUMNS) for letter in letters]
    yield Table("dead_letters", DEAD_LETTER_COLUMNS, "seq", rows)
    held = [held_row(model.partition, model.held[offset]) for offset in sorted(model.held)]
    yield Table("held_events", HELD_COLUMNS, '"offset"', held)
    yield from _orders(model)
    receipts = sorted(
        (key[1], *(getattr(receipt, name) for name in RECEIPT_COLUMNS)) for key, receipt in model.receipts.items()
    )
    yield Table("receipts", ("digest", *RECEIPT_COLUMNS), "digest", receipts)
    yield Table("event_payloads", PAYLOAD_COLUMNS, '"offset"', _payloads(model))
    reused = sorted((logged.offset, logged.content, repeat) for logged, repeat in changes.reused)
    yield Table("reused_event_ids", ("offset", "content_digest", "repeat"), '"offset"', reused)
    # What was counted at offsets that are passed is never read again, so it may lie there.
    to_come = f"{_OWN} AND in_hand_offset >= {end}"
    yield Table("attempts", ("in_hand_offset",), "in_hand_offset", [], to_come)


def _orders(model: Ledger) -> Iterator[Table]:
    rows = sorted(order_row(order, model.partition, model.is_parked(key)) for key, order in model.orders.items())
    yield Table("orders", ORDER_COLUMNS, "workspace, order_id", rows)
    yield Table("order_parties", PARTY_COLUMNS, "workspace, slot, party, order_id", _parties(model), _OF_OWN_ORDERS)
    external = sorted((other, key[1]) for key, details in model.details.items() for other in details.external_ids)
    columns = ("external_id", "order_id")
    yield Table("order_external_ids", columns, "external_id, order_id", external, _OF_OWN_ORDERS)
    details = sorted(
        (key[1], orjson.dumps(details.content).decode(), details.erased)
        for key, details in model.details.items()
        if key in model.changes.details
    )
    yield Table("order_details", ("order_id", "details", "erased"), "order_id", details, _OF_OWN_ORDERS)


def _parties(model: Ledger) -> list[tuple[Any, ...]]:
    """Every party that an order names or named, once; one that came back is no former one."""
    rows = []
    for (workspace, order_id), order in model.orders.items():
        former = {(slot, party) for slot, gone in order.former.items() for party in gone}
        named = set(order.parties.items())
        rows += [
            (workspace, slot, party, order_id, (slot, party) not in named, order.announced_ms)
            for slot, party in former | named
        ]
    return sorted(rows)


def _payloads(model: Ledger) -> list[tuple[Any, ...]]:
    """One row an accepted event, as it first came, without what was erased since."""
    rows: dict[int, dict[str, Any]] = {}
    for logged in model.changes.arrivals:
        row = dict(zip(PAYLOAD_COLUMNS, payload_row(model.partition, logged), strict=True))
        rows.setdefault(logged.offset, row)
    for erasure in model.changes.erasures:
        for offset, row in rows.items():
            if offset < erasure.offset and (row["workspace"], row["order_id"]) == erasure.order_key:
                for named in erasure.classes:
                    row.update(_ERASED[named])
    return [tuple(row.values()) for _, row in sorted(rows.items())]
