"""What a person does with a dead letter: replay it or discard it; and the release of what waited behind it.

A replayed event is decided as the event that it was, at its own offset and with its first log time. Its bytes are taken
from the dead letter and not from the replay: an erasure may have come between the two. Then, as soon as no dead letter
keeps them any more, the waiting events are taken in log order, each as if it came now. One of all these that fails is
set aside under the offset of the act, and the rest waits on behind it.

One whose bytes killed the process that parsed them is parsed by its replay and nobody else. Where that happens again it
is set aside unread once more, under the offset of the replay.

An act that names no open dead letter of its order does nothing, so acts are safe to repeat. Nobody can have seen one
that is set aside under the act itself, or later: an act that names such a pair does nothing either.
"""

from __future__ import annotations

from typing import assert_never

from consumers.concluding import absorb, conclude
from consumers.dead_letter import DeadLetter, is_unread
from consumers.deciding import Steps, arrive
from consumers.ledger import Ledger
from consumers.ledger_entries import HoldKind
from consumers.lifecycle import Decision
from consumers.logged_event import LogEntry, LoggedControl, LoggedEvent, OrderKey, Unreadable
from consumers.setting_aside import InHand, set_aside_control, set_aside_unreadable
from consumers.situations import situation_of
from consumers.stripping import erase
from consumers.verdict_rows import Ruling, verdict_rows
from schemas.dead_letters import DeadLetterState, Parks
from schemas.errors import RecordUnappliable
from schemas.records import ControlRecord, DiscardRecord, EraseRecord, ReplayRecord, TickRecord
from schemas.verdicts import Reason, Verdict


def replay(ledger: Ledger, hand: InHand, act: ReplayRecord) -> Steps:
    """Tries a dead letter again. One whose bytes were erased altogether can only be discarded, and stays open."""
    letter = _open_letter(ledger, hand, act)
    original = None if letter is None else _original_of(letter, hand)
    if letter is None or original is None:
        return
    letter.state = DeadLetterState.REPLAYED
    ledger.touch(letter)
    if isinstance(original, LoggedEvent) and original.order_key == letter.order_key:
        yield from arrive(ledger, hand, original, is_new=False)
    else:
        yield from _handle_again(ledger, hand, letter, original)
    yield from _release(ledger, hand, letter.order_key)


def discard(ledger: Ledger, hand: InHand, act: DiscardRecord) -> Steps:
    """Gives a dead letter up: its event is rejected, and its copies that wait already are duplicates of it.

    What was no event, or could not be read, gets no verdict.
    """
    letter = _open_letter(ledger, hand, act)
    if letter is None:
        return
    letter.state = DeadLetterState.DISCARDED
    ledger.touch(letter)
    original = None if letter.digest is None else letter.original()
    if isinstance(original, LoggedEvent):
        _reject(ledger, original)
    yield from _release(ledger, hand, letter.order_key)


def letter_to_read(ledger: Ledger, hand: InHand, act: ReplayRecord) -> DeadLetter | None:
    """The dead letter whose bytes alone tell what its replay will ask the ledger for; None where there is none such, or
    it will not be parsed. To be asked right before the act is done.
    """
    letter = None if hand.failure_of(hand.offset) is not None else _open_letter(ledger, hand, act)
    if letter is None or letter.digest is not None or letter.record is None:
        return None
    return None if is_unread(hand.aside, (hand.offset, letter.event_offset)) else letter


def _original_of(letter: DeadLetter, hand: InHand) -> LogEntry | None:
    """What was set aside, parsed unless that killed the process under this very act."""
    if letter.record is not None and is_unread(hand.aside, (hand.offset, letter.event_offset)):
        return letter.unread()
    return letter.original()


def _open_letter(ledger: Ledger, hand: InHand, act: ReplayRecord | DiscardRecord) -> DeadLetter | None:
    if act.in_hand_offset >= hand.offset:
        return None
    letter = ledger.dead_letters.get((act.in_hand_offset, act.event_offset))
    if letter is None or not letter.is_open or letter.order_key != (act.workspace, act.order_id):
        return None
    return letter


def _handle_again(ledger: Ledger, hand: InHand, letter: DeadLetter, original: LogEntry) -> Steps:
    """The replay of what is no event of its order."""
    ledger.deciding = original.offset
    yield original.offset
    failure = hand.failure_of(original.offset)
    if isinstance(original, LoggedControl):
        if failure is not None:
            set_aside_control(ledger, hand, original, failure)
        else:
            _do_after_all(ledger, hand, original.record)
        return
    unreadable = original if isinstance(original, Unreadable) else _of_another_order(letter, original)
    if failure is None:
        raise RecordUnappliable(f"the record at offset {original.offset} cannot be read: {unreadable.problem}")
    set_aside_unreadable(ledger, hand, unreadable, failure)


def _do_after_all(ledger: Ledger, hand: InHand, record: ControlRecord) -> None:
    """The replay of a control record. One on another dead letter is not done again: that one is open itself."""
    match record:
        case EraseRecord() as act:
            erase(ledger, hand, act)
        case TickRecord() | ReplayRecord() | DiscardRecord():
            pass
        case unknown:
            assert_never(unknown)


def _of_another_order(letter: DeadLetter, original: LoggedEvent) -> Unreadable:
    """A record that can be read by now, but lies under a key that is not its order's."""
    return Unreadable(
        offset=original.offset,
        log_ms=original.log_ms,
        value=letter.record or b"",
        problem="its key does not name its order",
        order_key=letter.order_key if letter.parks is Parks.ORDER else None,
        event_id=letter.event_id,
    )


def _reject(ledger: Ledger, logged: LoggedEvent) -> None:
    """The verdict of a discarded event. If it was a copy, its receipt goes on telling of the other attempt."""
    situation, receipt = situation_of(ledger, logged), ledger.receipts[logged.receipt_key]
    if not receipt.is_of(logged):
        ledger.append_all(verdict_rows(ledger, logged, situation, Ruling(Verdict.REJECTED, Reason.DISCARDED)))
        return
    decision = Decision(row=0, verdict=Verdict.REJECTED, reason=Reason.DISCARDED)
    conclude(ledger, logged, receipt, situation, decision, Verdict.REJECTED)
    for held in ledger.held_of(logged.order_key, HoldKind.PARKED):
        copy = held.logged
        if copy.receipt_key == logged.receipt_key and copy.content == logged.content:
            ledger.release(copy.offset)
            absorb(ledger, copy, receipt)


def _release(ledger: Ledger, hand: InHand, key: OrderKey) -> Steps:
    """Takes the order's parked events in log order, but for those that a dead letter (a new one?) still keeps."""
    for held in ledger.held_of(key, HoldKind.PARKED):
        if ledger.waits(held) and not ledger.is_parked(key, held.logged.record.source.uid):
            yield from arrive(ledger, hand, held.logged, is_new=False)
