"""One record in, rows out: how the received log becomes the trail. Pure; the store is somewhere else.

The order of things for each record is fixed. The watermark takes the record's log time if that is later. Holds whose
deadline it has reached expire, in (deadline, offset) order, up to a limit: what is due beyond it expires under the
records that follow, and this one does not wait for it. Then the record itself is decided by the verdict table, or done
if it is a person's act; `consumers.deciding` and `consumers.parking` say what follows from it. All of it depends on
nothing but the ledger, the record and the list of pairs set aside, so any batch size, any crash and any owner give the
same rows.

An event whose decision failed is named by a pair: the record in hand, and where the event was logged. Whoever folds
again with that pair in the list finds the event set aside at that very point, and everything else as it would be.
"""

from __future__ import annotations

from collections import deque
from typing import assert_never

from consumers.dead_letter import NOTHING_ASIDE, Aside
from consumers.deciding import Steps, arrive, expire
from consumers.ledger import EXPIRIES_PER_RECORD, Ledger
from consumers.logged_event import LogEntry, LoggedControl, LoggedEvent, Unreadable
from consumers.parking import discard, replay
from consumers.setting_aside import InHand, set_aside_control, set_aside_unreadable
from consumers.stripping import erase
from schemas.errors import RecordUnappliable
from schemas.records import DiscardRecord, EraseRecord, ReplayRecord, TickRecord


def fold(ledger: Ledger, entry: LogEntry, aside: Aside = NOTHING_ASIDE) -> None:
    """Takes one record of the log into the ledger. Records come in offset order, each once.

    Raises RecordUnappliable for a record that nobody can read and that is not set aside, and whatever a decision
    raises: the ledger is then of no more use, but `ledger.deciding` tells which event it was.
    """
    deque(fold_steps(ledger, entry, aside), maxlen=0)


def fold_steps(ledger: Ledger, entry: LogEntry, aside: Aside = NOTHING_ASIDE) -> Steps:
    """`fold` step by step: yields the offset of each event just before it is decided (of the record in hand itself too,
    whatever it is). Events that are set aside are yielded as well.
    """
    hand = InHand(entry.offset, aside)
    ledger.deciding = entry.offset
    ledger.watermark_ms = max(ledger.watermark_ms, entry.log_ms)
    for _ in range(EXPIRIES_PER_RECORD):
        if (held := ledger.next_due()) is None:
            break
        yield from expire(ledger, hand, held)
    if isinstance(entry, LoggedEvent):
        yield from arrive(ledger, hand, entry)
        return
    ledger.deciding = entry.offset
    yield entry.offset
    if isinstance(entry, LoggedControl):
        yield from _act(ledger, hand, entry)
    else:
        _give_up(ledger, hand, entry)


def _act(ledger: Ledger, hand: InHand, control: LoggedControl) -> Steps:
    """Does what a person asked for. A tick has done its work by its log time."""
    failure = hand.failure_of(control.offset)
    if failure is not None:
        set_aside_control(ledger, hand, control, failure)
        return
    match control.record:
        case TickRecord():
            pass
        case ReplayRecord() as act:
            yield from replay(ledger, hand, act)
        case DiscardRecord() as act:
            yield from discard(ledger, hand, act)
        case EraseRecord() as act:
            erase(ledger, hand, act)
        case unknown:
            assert_never(unknown)


def _give_up(ledger: Ledger, hand: InHand, entry: Unreadable) -> None:
    failure = hand.failure_of(entry.offset)
    if failure is None:
        raise RecordUnappliable(f"the record at offset {entry.offset} cannot be read: {entry.problem}")
    set_aside_unreadable(ledger, hand, entry, failure)
