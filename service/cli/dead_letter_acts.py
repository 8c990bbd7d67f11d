"""What a person does about dead letters: records in the event log, like everything else that changes an order.

Every act is written to the audit trail of administration before its record goes into the log: should the log not
answer, an attempt without effect is on record rather than an effect without its author. A record that names a dead
letter which is open no more does nothing, so a command that ended in doubt may be given again.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from backbone.clocks import SYSTEM_CLOCK
from backbone.eventlog.port import EventLog
from backbone.eventlog.publishing import MAX_RECORD_BYTES, record_size
from backbone.eventlog.received import ActRecord, act_to_log
from backbone.store.acts import record_act
from backbone.store.dead_letters import DeadLetterReadings, DeadLetterView, PairId, Place
from backbone.store.engine import Store
from backbone.store.kept_settings import keep_partitions
from schemas.dead_letters import PROCESS_DIED_READING, DeadLetterState
from schemas.errors import NotFound
from schemas.records import DiscardRecord, ReplayRecord
from service.cli.applied import own_log, wait_applied
from service.cli.parts import Parts

_AT_A_TIME = 50
"""Acts of one append: each replay carries a whole record."""


class Act(StrEnum):
    """What may be done about a dead letter."""

    REPLAY = "replay"
    DISCARD = "discard"


class Fate(StrEnum):
    """What became of a dead letter by an act."""

    REPLAYED = "replayed"
    """Its event was decided, or waits like any other."""
    DISCARDED = "discarded"
    SET_ASIDE_AGAIN = "set_aside_again"
    """It failed like the tries before it, by this replay or by another one at the same time; the event is open under
    another name now.
    """
    PENDING = "pending"
    """The act is in the log and was not applied in time."""
    CLOSED_BEFORE = "closed_before"
    """It was open no more; nothing was done."""
    ERASED = "erased"
    """Its bytes were erased, so that it cannot be replayed; nothing was done."""


@dataclass(frozen=True, slots=True)
class Done:
    """One dead letter after the act: its state before, its fate, and where the act lies."""

    letter: DeadLetterView
    fate: Fate
    offset: int | None = None
    again: PairId | None = None
    """What the event is called now that it was set aside again."""
    others: tuple[DeadLetterView, ...] = ()
    """Events that waited behind it and were set aside when the act let them go."""


async def choose(
    readings: DeadLetterReadings, pairs: Sequence[PairId], order_id: str | None, *, everything: bool
) -> list[DeadLetterView]:
    """The dead letters that are meant, without their bytes: the named ones, or all open ones (of an order).

    Raises NotFound.
    """
    if pairs:
        found = await readings.several(pairs)
        if missing := [str(pair) for pair in pairs if pair not in found]:
            raise NotFound(f"there is no dead letter {', '.join(missing)}")
        return list(dict.fromkeys(found[pair] for pair in pairs))
    if order_id is None and not everything:
        return []
    chosen: list[DeadLetterView] = []
    cursor: str | None = None
    while True:
        page, cursor = await readings.page(state=DeadLetterState.OPEN, order_id=order_id, cursor=cursor, limit=500)
        chosen += page
        if cursor is None:
            return chosen


async def act_on(
    parts: Parts, letters: Sequence[DeadLetterView], act: Act, *, why: str, actor: str, wait_s: float
) -> list[Done]:
    """Appends one record for each dead letter that the act can do anything about, and waits for what becomes of them.

    Raises PartitionSetInvalid, what `own_log` raises, LogUnavailable (some acts may be in the log all the same),
    StoreUnavailable.
    """
    done = [_without_act(letter, act) for letter in letters]
    waiting = [number for number, already in enumerate(done) if already.fate is Fate.PENDING]
    if waiting:
        partitions = await keep_partitions(parts.store, parts.settings)
        async with own_log(parts, partitions) as log:
            for start in range(0, len(waiting), _AT_A_TIME):
                chunk = waiting[start : start + _AT_A_TIME]
                offsets = await _append(parts, log, [letters[n] for n in chunk], act, why, actor, partitions)
                for number, offset in zip(chunk, offsets, strict=True):
                    done[number] = Done(letters[number], Fate.PENDING, offset)
    return await _wait(parts.store, DeadLetterReadings(parts.store), done, wait_s)


def _without_act(letter: DeadLetterView, act: Act) -> Done:
    if letter.state is not DeadLetterState.OPEN:
        return Done(letter, Fate.CLOSED_BEFORE)
    if act is Act.REPLAY and letter.record_bytes is None:
        return Done(letter, Fate.ERASED)
    return Done(letter, Fate.PENDING)


async def _append(
    parts: Parts,
    log: EventLog,
    letters: Sequence[DeadLetterView],
    act: Act,
    why: str,
    actor: str,
    partitions: int,
) -> list[int]:
    values = await DeadLetterReadings(parts.store).records([letter.pair for letter in letters if act is Act.REPLAY])
    records = [_record(letter, values.get(letter.pair, b""), act, why, actor) for letter in letters]
    async with parts.store.transaction() as connection:
        for letter, record in zip(letters, records, strict=True):
            await record_act(
                connection,
                workspace=letter.workspace,
                at=SYSTEM_CLOCK.now_ms(),
                actor=actor,
                act=f"dead_letter.{act}",
                subject=str(letter.pair),
                detail={"order_id": letter.order_id, "why": why, "event_id": record.event_id},
            )
    positions = await log.append(
        parts.settings.topics.received,
        [
            act_to_log(record, partitions, partition=letter.pair.partition)
            for letter, record in zip(letters, records, strict=True)
        ],
    )
    return [position.offset for position in positions]


def _record(letter: DeadLetterView, value: bytes, act: Act, why: str, actor: str) -> ActRecord:
    event_id = f"{act}-{secrets.token_hex(16)}"
    in_hand, event = letter.pair.in_hand_offset, letter.pair.event_offset
    if act is Act.DISCARD:
        return DiscardRecord(
            event_id=event_id,
            workspace=letter.workspace,
            order_id=letter.order_id,
            actor=actor,
            why=why,
            in_hand_offset=in_hand,
            event_offset=event,
        )
    replay = ReplayRecord(
        event_id=event_id,
        workspace=letter.workspace,
        order_id=letter.order_id,
        actor=actor,
        why=why,
        in_hand_offset=in_hand,
        event_offset=event,
        received_ms=letter.received_ms,
        content=letter.content_digest or "",
        original=base64.b64encode(value).decode("ascii"),
    )
    # What is replayed is the dead letter's own copy: one too large to be carried as well can be replayed without. So is
    # one whose bytes killed their reader: the act itself must be readable.
    fits = letter.error != PROCESS_DIED_READING and record_size(act_to_log(replay, 1)) <= MAX_RECORD_BYTES
    return replay if fits else replay.model_copy(update={"original": ""})


async def _wait(store: Store, readings: DeadLetterReadings, done: list[Done], wait_s: float) -> list[Done]:
    places = [_place(one) for one in done if one.offset is not None]
    applied = await wait_applied(store, places, wait_s)
    settled = {one.letter.pair: (one.letter.pair.partition, one.offset or 0) for one in done if _place(one) in applied}
    after = await readings.several(list(settled))
    still_open = await readings.still_open([(pair.partition, pair.event_offset) for pair in settled])
    made = await readings.set_aside_under(list(settled.values()))
    return [
        _fate_of(one, after.get(one.letter.pair), still_open, made.get(settled[one.letter.pair], ()))
        if one.letter.pair in settled
        else one
        for one in done
    ]


def _place(one: Done) -> Place:
    return one.letter.pair.partition, -1 if one.offset is None else one.offset


def _fate_of(
    one: Done, after: DeadLetterView | None, still_open: Mapping[Place, DeadLetterView], made: Sequence[DeadLetterView]
) -> Done:
    """What the store tells of an act that was applied. Where the event is open is asked by the event and not by the
    act: of two replays at the same time the second one finds nothing to do, and the first may have failed.
    """
    pair = one.letter.pair
    now = still_open.get((pair.partition, pair.event_offset))
    others = tuple(other for other in made if other.pair.event_offset != pair.event_offset)
    if now is not None and now.pair != pair:
        return replace(one, fate=Fate.SET_ASIDE_AGAIN, again=now.pair, others=others)
    if after is None or now is not None:
        return replace(one, fate=Fate.ERASED, others=others)  # an erasure came between the two
    return replace(one, fate=Fate(after.state.value), others=others)
