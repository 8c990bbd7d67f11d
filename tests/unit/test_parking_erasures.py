"""Erasures do not wait behind a dead letter, reach what waits and what is set aside, and change no verdict."""

from __future__ import annotations

import orjson
import pytest

from consumers.stripping import strip
from schemas.events import OrderAmended, StatusEvent
from schemas.records import Erasable, OperatorRecord, dump_record, load_record
from schemas.statuses import OrderStatus
from schemas.times import TimeMark
from schemas.verdicts import Reason
from tests.support.received import event_record
from tests.support.tale import COURIER, KITCHEN, OPERATOR, PLATFORM, Tale, placed

SECRET = "Ana, 3rd floor"
SPOKEN = StatusEvent(
    status=OrderStatus.READY, comment=SECRET, reason=SECRET, attributes=(SECRET,), occurred_mark=TimeMark.MISSING
)
TOLD = placed({"restaurant": "R1", "courier": "C1"}, details={"remarks": SECRET}, external_ids=(SECRET,))
AMENDED = OrderAmended(details={"remarks": SECRET}, external_ids=(SECRET,), occurred_mark=TimeMark.MISSING)


def left_of(tale: Tale) -> bytes:
    """All bytes of waiting events, dead letters and details that the ledger still has."""
    ledger = tale.applied()
    parts = [dump_record(held.logged.record) for held in ledger.held.values()]
    parts += [letter.record or b"" for letter in ledger.dead_letters.values()]
    parts += [orjson.dumps([kept.content, sorted(kept.external_ids)]) for kept in ledger.details.values()]
    return b"".join(parts)


def test_it_reaches_what_waits_and_what_is_set_aside() -> None:
    """Of a known order: details, parked events, dead letters open and closed."""
    tale = Tale().send(PLATFORM, TOLD).send(KITCHEN, SPOKEN).fails().replays(1).fails(1).send(COURIER, SPOKEN)
    assert SECRET.encode() in left_of(tale)
    tale.erases()
    assert SECRET.encode() not in left_of(tale)
    assert tale.applied().details[("default", "A")].erased
    assert [str(x) for x in tale.applied().changes.erasures[0].classes] == ["payloads", "personal"]
    assert len(tale.applied().changes.dead_letters) == 2


def test_repeats_of_an_erased_event_are_duplicates() -> None:
    """Row 1 goes by the digest of the event as it came, for those that waited as well."""
    tale = Tale().send(PLATFORM, TOLD).send(KITCHEN, SPOKEN, event_id="e").fails()
    tale.send(KITCHEN, SPOKEN, event_id="e").erases().replays(1)
    tale.send(KITCHEN, SPOKEN, event_id="e")
    assert (tale.receipt("e").verdict, tale.receipt("e").repeats) == ("applied", 2)


def test_a_replay_that_was_asked_for_before_the_erasure_brings_nothing_back() -> None:
    """It carries the original; what is decided is what the erasure left of the dead letter."""
    tale = Tale().send(PLATFORM, TOLD).fails().erases().replays(0)
    assert tale.last() == "applied >NEW"
    assert SECRET.encode() not in left_of(tale)
    assert tale.applied().changes.external_ids == set()


def test_an_erased_order_takes_no_personal_details_again() -> None:
    """Announcements and amendments are noted, and neither details nor external ids are kept."""
    tale = Tale().send(PLATFORM, TOLD).erases().send(PLATFORM, TOLD).send(PLATFORM, AMENDED)
    assert tale.trail()[1:] == ["noted", "noted"]
    assert SECRET.encode() not in left_of(tale)
    assert tale.applied().changes.external_ids == set()


def test_an_unknown_order_is_not_marked() -> None:
    """What waits for it is stripped; once announced, it has details like any other."""
    tale = Tale().send(COURIER, SPOKEN).erases()
    assert SECRET.encode() not in left_of(tale)
    tale.send(PLATFORM, TOLD)
    assert tale.applied().details[("default", "A")].content == {"remarks": SECRET}


def test_bytes_that_nobody_can_read_are_erased_whole_and_can_only_be_discarded() -> None:
    """Nobody can tell what in them is personal. A replay has nothing to decide, and they stay open."""
    tale = Tale().announced().broken().erases(Erasable.PAYLOADS).replays(1)
    assert tale.still_open() == [(1, 1)]
    assert next(iter(tale.applied().dead_letters.values())).record is None
    assert tale.discards(1).still_open() == []


def test_an_erasure_that_failed_is_done_by_its_replay() -> None:
    """Until then everything is there."""
    tale = Tale().send(PLATFORM, TOLD).erases().fails()
    assert SECRET.encode() in left_of(tale)
    assert SECRET.encode() not in left_of(tale.replays(1))


def test_a_replay_that_failed_carries_an_original_and_loses_it() -> None:
    """It is set aside with the original in it; an erasure takes that away too."""
    tale = Tale().send(PLATFORM, TOLD).send(KITCHEN, SPOKEN).fails().replays(1).fails().erases()
    letters = tale.applied().dead_letters
    assert (letters[(2, 2)].record, letters[(1, 1)].record is None) == (None, False)
    assert tale.replays(1).last() == "applied COOKING>READY"


def test_a_discarded_event_of_an_erased_order_still_has_its_verdict() -> None:
    """What decisions need is never taken: its waiting copy is known by the digest."""
    tale = Tale().send(PLATFORM, TOLD).send(KITCHEN, SPOKEN, event_id="e").fails()
    tale.send(KITCHEN, SPOKEN, event_id="e").erases().discards(1)
    assert (tale.last(), tale.receipt("e").reason) == ("rejected discarded", Reason.DISCARDED)
    assert (tale.waiting(), tale.receipt("e").repeats) == ({}, 1)


@pytest.mark.parametrize("classes", [(Erasable.PAYLOADS,), (Erasable.PERSONAL,), tuple(Erasable)])
def test_a_stripped_record_can_be_written_and_read(classes: tuple[Erasable, ...]) -> None:
    """Each class by itself; status, times, parties and ids stay."""
    for event in (SPOKEN, TOLD, AMENDED):
        for by in (PLATFORM, OPERATOR):
            if by is OPERATOR and event is TOLD:
                continue
            record = event_record("A", event, by, event_id="e")
            stripped = strip(record, classes)
            assert load_record(dump_record(stripped)) == stripped
            text = dump_record(stripped).decode()
            assert (SECRET in text) == (Erasable.PERSONAL not in classes)
            assert (stripped.payload, stripped.salt) == (
                (None, "") if Erasable.PAYLOADS in classes else (record.payload, record.salt)
            )
            assert stripped.source == record.source
            assert not isinstance(stripped, OperatorRecord) or stripped.why
