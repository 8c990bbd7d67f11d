"""Setting a record aside: the dead letter, its receipt, and who waits behind it.

This runs when a decision has failed, so it asks for as little as it can: nothing is merged, moved or measured.

A failed event of somebody whose order it is keeps the whole order waiting: what comes later may build on it. One of a
stranger keeps that stranger's events of the order waiting and nobody else's, or strangers could stop any order.
"""

from __future__ import annotations

from typing import NamedTuple

from consumers.dead_letter import Aside, DeadLetter, Failure, Pair
from consumers.ledger import Ledger
from consumers.ledger_entries import HeldEvent, HoldKind
from consumers.lifecycle import Situation
from consumers.lifecycle.table import MAY_ANNOUNCE, same_event_again
from consumers.logged_event import LoggedControl, LoggedEvent, OrderKey, Unreadable
from consumers.situations import new_receipt, situation_of
from schemas.dead_letters import Parks
from schemas.identifiers import DEFAULT_WORKSPACE
from schemas.records import TickRecord, dump_record
from schemas.statuses import Role
from schemas.verdicts import ReceiptState

_SPEAKS_FOR_UNKNOWN_ORDERS = MAY_ANNOUNCE | {Role.OPERATOR}


class InHand(NamedTuple):
    """The record in hand: its offset, and all pairs that are set aside."""

    offset: int
    aside: Aside

    def failure_of(self, offset: int) -> Failure | None:
        """Why the event logged at that offset is not to be decided under this record; None if it is."""
        return self.aside.get((self.offset, offset))


def set_aside_event(ledger: Ledger, hand: InHand, logged: LoggedEvent, failure: Failure) -> None:
    """The event gets no verdict: it waits for a person, and others behind it. A copy leaves its receipt as it is."""
    if logged.offset in ledger.held:
        ledger.release(logged.offset)
    situation = situation_of(ledger, logged)
    receipt = ledger.receipts.get(logged.receipt_key)
    if receipt is None:
        receipt = new_receipt(ledger, logged)
    if receipt.is_of(logged) or same_event_again(situation) is None:
        receipt.last_offset = logged.offset
        receipt.reset(ReceiptState.SET_ASIDE, foreign=situation.foreign)
        ledger.changes.receipts.add(logged.receipt_key)
    record = logged.record
    letter = DeadLetter(
        in_hand_offset=hand.offset,
        event_offset=logged.offset,
        seq=ledger.dead_seq + 1,
        workspace=record.workspace,
        order_id=record.order_id,
        event_id=record.event_id,
        parks=scope_of(situation),
        source_uid=record.source.uid,
        digest=record.receipt_digest,
        content_digest=logged.content,
        received_ms=logged.log_ms,
        set_aside_ms=ledger.watermark_ms,
        error=failure.error,
        attempts=failure.attempts,
        record=dump_record(record),
    )
    ledger.set_aside(letter)
    _park(ledger, letter)


def set_aside_control(ledger: Ledger, hand: InHand, control: LoggedControl, failure: Failure) -> None:
    """A person's act that could not be done. Nobody waits behind it."""
    record = control.record
    if isinstance(record, TickRecord):
        key = DEFAULT_WORKSPACE, record.event_id
    else:
        key = record.workspace, record.order_id
    _set_aside_bytes(ledger, (hand.offset, control.offset), control, key, Parks.NOTHING, dump_record(record), failure)


def set_aside_unreadable(ledger: Ledger, hand: InHand, entry: Unreadable, failure: Failure) -> None:
    """Bytes that nobody can read keep the order that their key names waiting; without such a key, nobody."""
    key, parks = entry.order_key, Parks.ORDER
    if key is None:
        key, parks = (DEFAULT_WORKSPACE, entry.event_id), Parks.NOTHING
    _set_aside_bytes(ledger, (hand.offset, entry.offset), entry, key, parks, entry.value, failure)


def _set_aside_bytes(
    ledger: Ledger,
    pair: Pair,
    entry: LoggedControl | Unreadable,
    key: OrderKey,
    parks: Parks,
    value: bytes,
    failure: Failure,
) -> None:
    letter = DeadLetter(
        in_hand_offset=pair[0],
        event_offset=pair[1],
        seq=ledger.dead_seq + 1,
        workspace=key[0],
        order_id=key[1],
        event_id=entry.event_id,
        parks=parks,
        source_uid=None,
        digest=None,
        content_digest=None,
        received_ms=entry.log_ms,
        set_aside_ms=ledger.watermark_ms,
        error=failure.error,
        attempts=failure.attempts,
        record=value,
    )
    ledger.set_aside(letter)
    _park(ledger, letter)


def _park(ledger: Ledger, letter: DeadLetter) -> None:
    """Whoever waits in the letter's scope waits behind it from now on, without deadline."""
    for held in ledger.held_of(letter.order_key, HoldKind.FOREIGN, HoldKind.AHEAD):
        if letter.is_parking(held.logged.record.source.uid):
            ledger.hold(HeldEvent(held.logged, None, HoldKind.PARKED))


def scope_of(situation: Situation) -> Parks:
    """Who waits behind such an event once it is set aside: the whole order, or of a stranger's that source alone."""
    if situation.order is None:
        return Parks.ORDER if situation.source.role in _SPEAKS_FOR_UNKNOWN_ORDERS else Parks.SOURCE
    return Parks.SOURCE if situation.foreign else Parks.ORDER
