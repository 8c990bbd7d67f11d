"""What killed its reader: set aside unread, and parsed by its own replay and by nobody else, on both databases."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

import pytest
from sqlalchemy import select

from backbone.store import holdings
from backbone.store.dead_letters import DeadLetterReadings, PairId
from backbone.store.engine import Store
from backbone.store.holdings import HoldingsReadings, classes_in
from backbone.store.receipt_reading import read_receipt
from backbone.store.tables import dead_letters
from backbone.store.views import Sight
from consumers import logged_event
from consumers.applier import Applier
from consumers.dead_letter import Aside, Failure
from consumers.listed_applier import ListedApplier
from schemas.dead_letters import PROCESS_DIED_READING, Parks
from schemas.errors import HistoryLost
from schemas.identifiers import ReceiptId
from schemas.records import AnyRecord, Erasable, ReplayRecord, dump_record, load_record
from service.cli import dead_letter_documents
from service.cli.dead_letter_acts import Act, _record
from service.cli.dead_letter_documents import advice, load_letter
from tests.integration.test_dead_letters_applied import apply_in_batches, check_against
from tests.support.model import FAILURE, apply_all
from tests.support.received import (
    Broken,
    LogItem,
    discarded,
    erased,
    event_record,
    logged,
    placed,
    replayed,
    source,
    status,
    tick,
)
from tests.support.stores import store

__all__ = ["store"]
PLATFORM = source("platform", hold_ms=0)
KITCHEN = source("restaurant", "r1", hold_ms=5_000)
UNREAD = Failure(PROCESS_DIED_READING, 3)
KILLER = event_record("A", status("READY", comment="deadly"), KITCHEN, event_id="k")
AT = 2
"""Its offset."""
BEFORE = [event_record(order, placed(restaurant="r1"), PLATFORM) for order in ("A", "B")]


def forbid_parsing(monkeypatch: pytest.MonkeyPatch, *items: LogItem) -> None:
    """From now on it is an error to parse one of these records."""
    values = {item.value if isinstance(item, Broken) else dump_record(item) for item in items}

    def load_or_fail(value: bytes) -> AnyRecord:
        assert value not in values, "bytes were parsed that kill their reader"
        return load_record(value)

    monkeypatch.setattr(logged_event, "load_record", load_or_fail)
    monkeypatch.setattr(dead_letter_documents, "load_record", load_or_fail)


def replay(*pair: int) -> ReplayRecord:
    """The replay of what killed its reader; it does not carry those bytes."""
    return replayed(Broken("A", b""), (pair[0], pair[1]), order="A")


async def check(store: Store, items: Collection[LogItem], aside: Aside) -> None:
    """Applied in whatever batches, it is what the model has."""
    log = logged([(item, number) for number, item in enumerate(items)])
    await apply_in_batches(store, log, aside, Random(len(log)))
    await check_against(store, apply_all(log, aside=aside))


@pytest.mark.parametrize("sizes", range(3))
async def test_nobody_parses_what_killed_its_reader(store: Store, monkeypatch: pytest.MonkeyPatch, sizes: int) -> None:
    """Neither who applies it, nor acts on its order: an erasure takes its bytes, replays of other letters let it be."""
    forbid_parsing(monkeypatch, KILLER)
    other = event_record("A", status("COOKING"), KITCHEN)
    items = [
        *BEFORE,
        KILLER,
        other,
        event_record("B", status("COOKING"), KITCHEN),
        replayed(other, (3, 3), order="A"),
        replay(AT, AT),
        tick(),
        replay(AT, AT),
        erased("A", Erasable.PAYLOADS),
        replay(6, AT),
        discarded((6, AT), order="A"),
    ]
    aside = {(AT, AT): UNREAD, (3, 3): FAILURE, (6, AT): UNREAD}
    log = logged([(item, number) for number, item in enumerate(items)])
    await apply_in_batches(store, log, aside, Random(sizes))
    model = apply_all(log, aside=aside)
    await check_against(store, model)
    assert [letter.state.value for letter in model.dead_letters.values()] == ["replayed", "replayed", "discarded"]
    assert [model.dead_letters[pair].record for pair in ((AT, AT), (6, AT))] == [None, None]


async def test_its_letter_keeps_bytes_order_and_event_id(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """From key and headers alone; the order waits behind it, and other orders do not."""
    forbid_parsing(monkeypatch, KILLER)
    items = [*BEFORE, KILLER, *(event_record(order, status("COOKING"), KITCHEN) for order in ("A", "B"))]
    await check(store, items, {(AT, AT): UNREAD})
    letter = await DeadLetterReadings(store).one(PairId(0, AT, AT))
    assert letter is not None
    assert (letter.order_id, letter.event_id, letter.parks, letter.digest) == ("A", "k", Parks.ORDER, None)
    async with store.reading() as connection:
        assert bytes(await connection.scalar(select(dead_letters.c.record)) or b"") == dump_record(KILLER)


@pytest.mark.parametrize("at_once", [True, False])
async def test_its_replay_is_decided_as_if_it_came_now(store: Store, at_once: bool) -> None:
    """In one batch with it or alone: what its bytes tell of is loaded when they are parsed, the receipt of an earlier
    attempt here.
    """
    items = [*BEFORE, KILLER, KILLER, event_record("A", status("COOKING"), KITCHEN), replay(3, 3)]
    log, aside = logged([(item, number) for number, item in enumerate(items)]), {(3, 3): UNREAD}
    await Applier(store).claim(0)
    for start, end in ((0, 3), (3, 6)) if at_once else ((0, 3), (3, 5), (5, 6)):
        await Applier(store).apply(0, log[start:end], start=start, published=0, aside=aside)
    model = apply_all(log, aside=aside)
    assert [receipt.repeats for receipt in model.receipts.values() if receipt.event_id == "k"] == [1]
    await check_against(store, model)


async def test_an_older_store_leaves_it_unread_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the published list has it. What the list has otherwise stops the partition before it is parsed."""
    forbid_parsing(monkeypatch, KILLER)
    log = logged([(item, 0) for item in (*BEFORE, KILLER, replay(AT, AT))])
    applier = ListedApplier(store)
    await applier.claim(0)
    applier.follow({(AT, AT): FAILURE, (3, AT): FAILURE}, after=0)
    await applier.apply(0, log[:AT], start=0, published=0)
    with pytest.raises(HistoryLost, match="now kills whoever parses it"):
        applier.understand(0, log[AT], {(AT, AT): UNREAD})
    applier.follow({(AT, AT): UNREAD, (3, AT): UNREAD}, after=0)
    assert (await applier.rehearse(0, applier.understand(0, log[AT], {}), {})).replayed is None
    assert await applier.takes(0, log[AT], {})
    assert (await applier.apply(0, log[AT:], start=AT, published=0)).dead_seq == 2
    await check_against(store, apply_all(log, aside={(AT, AT): UNREAD, (3, AT): UNREAD}))


async def test_retention_does_not_parse_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold anything, so it counts as holding everything, until it is erased."""
    seen: list[bytes] = []

    def look(value: bytes) -> set[Erasable]:
        seen.append(value)
        return classes_in(value)

    log = logged([(item, 0) for item in (*BEFORE, KILLER, erased("A"))])
    await Applier(store).claim(0)
    await Applier(store).apply(0, log[:3], start=0, published=0, aside={(AT, AT): UNREAD})
    monkeypatch.setattr(holdings, "classes_in", look)
    found = (await HoldingsReadings(store).holdings(["A"]))["A"]
    assert (found.set_aside, found.in_records) == (1, frozenset(Erasable))
    assert (await HoldingsReadings(store).left_before({"A": (0, 3)}))["A"] == set(Erasable)
    assert seen == [b"", b""]
    await Applier(store).apply(0, log[3:], start=3, published=0)
    assert "A" not in {
        order for order, left in (await HoldingsReadings(store).holdings(["A"])).items() if left.set_aside
    }


async def test_a_person_is_told_and_the_command_line_does_not_parse_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`show` says that it killed who read it; a replay goes into the log without its bytes."""
    forbid_parsing(monkeypatch, KILLER)
    await check(store, [*BEFORE, KILLER], {(AT, AT): UNREAD})
    letter = await DeadLetterReadings(store).one(PairId(0, AT, AT))
    assert letter is not None
    assert load_letter(letter, dump_record(KILLER)) is None
    assert "died while they read its bytes" in advice(letter)[0]
    act = _record(letter, dump_record(KILLER), Act.REPLAY, "a reason", "ann")
    assert isinstance(act, ReplayRecord)
    assert act.original == ""


async def test_its_receipt_says_that_it_is_set_aside(store: Store) -> None:
    """And nothing else, as long as it is; its sender was answered 202, and is not told that there was nothing."""
    log = logged([(item, 0) for item in (*BEFORE, KILLER, replay(AT, AT))])
    receipt, sight = ReceiptId(0, AT, KILLER.receipt_digest), Sight(KITCHEN.role, KITCHEN.parties, KITCHEN.uid)
    await Applier(store).claim(0)
    for end, state in ((2, "pending"), (3, "set_aside"), (4, "final")):
        start = (await Applier(store).cursor(0)).next
        await Applier(store).apply(0, log[start:end], start=start, published=0, aside={(AT, AT): UNREAD})
        told = await read_receipt(store, "default", receipt, sight)
        assert told is not None
        assert (told.state, told.order_id) == (state, "A" if state == "final" else None)
    assert await read_receipt(store, "default", ReceiptId(0, 1, KILLER.receipt_digest[::-1]), sight) is None
