"""Taking an order's erasable data away, from what waits and from what is set aside too.

What decisions need stays: status, times, ids, parties, and the digest of the event's own fields, by which row 1 knows a
repeat. Rows of the trail and their hashes are not touched.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, assert_never

from consumers.dead_letter import DeadLetter
from consumers.ledger import Ledger
from consumers.ledger_entries import Details, Erasure, HeldEvent
from consumers.logged_event import LoggedControl, LoggedEvent, Unreadable
from consumers.setting_aside import InHand
from schemas.events import AnyEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.records import (
    ApplicableRecord,
    ControlRecord,
    DiscardRecord,
    Erasable,
    EraseRecord,
    OperatorRecord,
    ReplayRecord,
    TickRecord,
    dump_record,
)

ERASED = "erased"
"""What stands where a person said why, since that may not be empty."""


def erase(ledger: Ledger, hand: InHand, act: EraseRecord) -> None:
    """Takes the classes of data away that the act names, as far as the ledger has them; the rest is the store's to do.

    An order that is known takes no personal details again. Of an unknown one only what waits for it is stripped.
    """
    key = act.workspace, act.order_id
    ledger.changes.erasures.append(Erasure(hand.offset, key, act.classes))
    for held in ledger.held_of(key):
        record = strip(held.logged.record, act.classes)
        ledger.hold(HeldEvent(held.logged._replace(record=record), held.deadline_ms, held.kind))
    for letter in ledger.dead_letters_of(key):
        letter.record = _strip_bytes(letter, act.classes)
        ledger.touch(letter)
    if Erasable.PERSONAL in act.classes and key in ledger.orders:
        ledger.details[key] = Details(erased=True)
        ledger.changes.details.add(key)
        ledger.changes.external_ids = {new for new in ledger.changes.external_ids if (new[0], new[2]) != key}


def strip(record: ApplicableRecord, classes: Collection[Erasable]) -> ApplicableRecord:
    """The record without the data of these classes. It can still be decided, and be written and read again."""
    changed: dict[str, Any] = {}
    if Erasable.PAYLOADS in classes:
        changed |= {"payload": None, "salt": ""}
    if Erasable.PERSONAL in classes:
        changed["event"] = _strip_event(record.event)
        if isinstance(record, OperatorRecord):
            changed["why"] = ERASED
    return record.model_copy(update=changed)


def _strip_event(event: AnyEvent) -> AnyEvent:
    changed: dict[str, Any] = {"comment": None}
    if isinstance(event, StatusEvent):
        changed |= {"reason": None, "attributes": ()}
    elif isinstance(event, OrderPlaced | OrderAmended):
        changed |= {"external_ids": (), "details": {}}
    return event.model_copy(update=changed)


def _strip_bytes(letter: DeadLetter, classes: Collection[Erasable]) -> bytes | None:
    """What is left of a dead letter's bytes; of those that nobody can read, or that killed their reader, nothing."""
    if letter.killed_its_reader:
        return None
    original = letter.original()
    match original:
        case LoggedEvent():
            return dump_record(strip(original.record, classes))
        case LoggedControl():
            return letter.record if _tells_nothing(original.record) else None
        case Unreadable() | None:
            return None
        case unknown:
            assert_never(unknown)


def _tells_nothing(record: ControlRecord) -> bool:
    """Whether a control record holds nothing of its order's erasable data. A replay carries the original."""
    match record:
        case ReplayRecord():
            return False
        case TickRecord() | DiscardRecord() | EraseRecord():
            return True
        case unknown:
            assert_never(unknown)
