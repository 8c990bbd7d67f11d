"""Events that were set aside, for people: lists, one of them, and what became of it. Reads committed state alone.

Their bytes are read apart, by `record` and `records`: a list may hold thousands, and each may be as large as the log
takes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import ColumnElement, RowMapping, and_, func, or_, select, tuple_

from backbone.store.engine import Store
from backbone.store.tables import dead_letters
from schemas.dead_letters import DeadLetterState, Parks
from schemas.errors import MalformedEvent
from schemas.identifiers import DEFAULT_WORKSPACE

_CURSOR = re.compile(r"(\d{1,9}):(\d{1,18})", re.ASCII)
_PAIR = re.compile(r"(\d{1,9}):(\d{1,18}):(\d{1,18})", re.ASCII)
_AT_ONCE = 1000
"""Dead letters named in one statement: PostgreSQL takes 32,767 parameters, and each has up to three."""

Place = tuple[int, int]
"""A record's partition and offset."""


@dataclass(frozen=True, slots=True)
class PairId:
    """How people and scripts name a dead letter: `PARTITION:IN_HAND:EVENT`."""

    partition: int
    in_hand_offset: int
    event_offset: int

    def __str__(self) -> str:
        """Text that `parse` reads."""
        return f"{self.partition}:{self.in_hand_offset}:{self.event_offset}"

    @classmethod
    def parse(cls, text: str) -> PairId:
        """The pair that `str` gave. Raises ValueError for any other text."""
        found = _PAIR.fullmatch(text.strip())
        if found is None:
            raise ValueError("a dead letter is named PARTITION:IN_HAND:EVENT, such as 3:120:118")
        return cls(*(int(number) for number in found.groups()))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterView:
    """One dead letter. `_ms` are log times."""

    pair: PairId
    seq: int
    workspace: str
    order_id: str
    event_id: str
    state: DeadLetterState
    parks: Parks
    source_uid: str | None
    digest: str | None
    content_digest: str | None
    received_ms: int
    set_aside_ms: int
    error: str
    attempts: int
    record_bytes: int | None
    """How large the record's value is, as far as it is kept; None once it was erased."""


class DeadLetterReadings:
    """Reads one workspace's dead letters. All methods raise StoreUnavailable and may be repeated."""

    def __init__(self, store: Store, workspace: str = DEFAULT_WORKSPACE) -> None:
        self._store = store
        self._workspace = workspace

    async def page(
        self,
        *,
        state: DeadLetterState | None = None,
        order_id: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> tuple[list[DeadLetterView], str | None]:
        """At most `limit` (>= 1) dead letters by partition and number, and the cursor of the next page or None.

        Raises MalformedEvent for a cursor that was not given here.
        """
        own = dead_letters.c
        wanted = [own.workspace == self._workspace]
        if state is not None:
            wanted.append(own.state == state.value)
        if order_id is not None:
            wanted.append(own.order_id == order_id)
        if cursor is not None:
            partition, seq = _load_cursor(cursor)
            wanted.append(or_(own.partition > partition, and_(own.partition == partition, own.seq > seq)))
        query = select(*_COLUMNS).where(*wanted).order_by(own.partition, own.seq).limit(limit + 1)
        async with self._store.reading() as connection:
            found = [_view(row) for row in (await connection.execute(query)).mappings()]
        page = found[:limit]
        return page, f"{page[-1].pair.partition}:{page[-1].seq}" if len(found) > limit else None

    async def one(self, pair: PairId) -> DeadLetterView | None:
        """The dead letter of that pair, or None."""
        found = await self.several([pair])
        return found.get(pair)

    async def several(self, pairs: Sequence[PairId]) -> dict[PairId, DeadLetterView]:
        """Those of the pairs that are dead letters."""
        own = dead_letters.c
        named = tuple_(own.partition, own.in_hand_offset, own.event_offset)
        found = await self._found(named, [_key(pair) for pair in pairs])
        return {view.pair: view for view in found}

    async def still_open(self, events: Collection[Place]) -> dict[Place, DeadLetterView]:
        """Those of the events, each named by where it was logged, that are set aside now, under whatever name.

        A replay that fails gives an event a new name, and somebody else may have replayed it meanwhile.
        """
        own = dead_letters.c
        is_open = own.state == DeadLetterState.OPEN.value
        found = await self._found(tuple_(own.partition, own.event_offset), list(events), is_open)
        return {(view.pair.partition, view.pair.event_offset): view for view in found}

    async def set_aside_under(self, records: Collection[Place]) -> dict[Place, list[DeadLetterView]]:
        """The dead letters that were made while these records were applied, by record, in their order."""
        own = dead_letters.c
        made: dict[Place, list[DeadLetterView]] = {}
        for view in await self._found(tuple_(own.partition, own.in_hand_offset), list(records)):
            made.setdefault((view.pair.partition, view.pair.in_hand_offset), []).append(view)
        return made

    async def record(self, pair: PairId) -> bytes | None:
        """The record's value as far as it is kept; None when it was erased, or there is no such dead letter."""
        found = await self.records([pair])
        return found.get(pair)

    async def records(self, pairs: Sequence[PairId]) -> dict[PairId, bytes]:
        """The values of those of the pairs of which something is kept."""
        own = dead_letters.c
        named = tuple_(own.partition, own.in_hand_offset, own.event_offset)
        found: dict[PairId, bytes] = {}
        async with self._store.reading() as connection:
            for keys in _chunks([_key(pair) for pair in pairs]):
                query = select(own.partition, own.in_hand_offset, own.event_offset, own.record).where(
                    own.workspace == self._workspace, named.in_(keys), own.record.is_not(None)
                )
                for partition, in_hand, event, value in await connection.execute(query):
                    found[PairId(partition, in_hand, event)] = bytes(value)
        return found

    async def _found(
        self, named: ColumnElement[tuple[int, ...]], keys: Sequence[tuple[int, ...]], *conditions: ColumnElement[bool]
    ) -> list[DeadLetterView]:
        own = dead_letters.c
        views: list[DeadLetterView] = []
        async with self._store.reading() as connection:
            for some in _chunks(keys):
                query = select(*_COLUMNS).where(own.workspace == self._workspace, named.in_(some), *conditions)
                rows = await connection.execute(query.order_by(own.partition, own.seq))
                views += [_view(row) for row in rows.mappings()]
        return views


_COLUMNS = (
    *(column for column in dead_letters.c if column.name != "record"),
    func.length(dead_letters.c.record).label("record_bytes"),
)


def _key(pair: PairId) -> tuple[int, int, int]:
    return pair.partition, pair.in_hand_offset, pair.event_offset


def _chunks(keys: Sequence[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
    rest = iter(keys)
    while some := list(islice(rest, _AT_ONCE)):
        yield some


def _load_cursor(text: str) -> tuple[int, int]:
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise MalformedEvent("the cursor is none that was given here", (("cursor", "is not valid"),))
    return int(found[1]), int(found[2])


def _view(row: RowMapping) -> DeadLetterView:
    return DeadLetterView(
        pair=PairId(row["partition"], row["in_hand_offset"], row["event_offset"]),
        seq=row["seq"],
        workspace=row["workspace"],
        order_id=row["order_id"],
        event_id=row["event_id"],
        state=DeadLetterState(row["state"]),
        parks=Parks(row["parks"]),
        source_uid=row["source_uid"],
        digest=row["digest"],
        content_digest=row["content_digest"],
        received_ms=row["received_ms"],
        set_aside_ms=row["set_aside_ms"],
        error=row["error"],
        attempts=row["attempts"],
        record_bytes=row["record_bytes"],
    )
