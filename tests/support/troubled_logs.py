"""Random logs with trouble in them: decisions that fail, bytes that nobody can read, and the people who tidy up.

Which pairs can be set aside depends on the log, and what people then do depends on what was set aside. So a log is made
by folding it as it grows: whenever an event comes to be decided, the dice say whether that fails. That hits holds which
a healthy record releases or ends, originals of replays, and events that a replay lets go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random

from backbone.eventlog.port import LogRecord
from consumers.dead_letter import Aside, DeadLetter, Failure, Pair
from consumers.fold import fold
from consumers.ledger import Ledger
from schemas.events import StatusEvent
from schemas.identifiers import record_key
from schemas.records import Erasable, EventRecord, OperatorRecord, dump_record, load_record
from tests.support.model import FAILURE, apply_all, understood
from tests.support.random_logs import random_log, random_record
from tests.support.received import START_MS, Broken, LogItem, Timed, discarded, erased, logged, replayed


@dataclass(frozen=True)
class Trouble:
    """A log of one partition, and the pairs that are set aside in it."""

    log: list[Timed]
    aside: frozenset[Pair]


class _Dice(Mapping[Pair, Failure]):
    """Says of every pair that it is asked for whether it fails, and remembers it."""

    def __init__(self, rng: Random, share: float) -> None:
        self.rng, self.share = rng, share
        self.asked: set[Pair] = set()
        self.failed: dict[Pair, Failure] = {}
        self.unreadable: set[int] = set()

    def __getitem__(self, pair: Pair) -> Failure:
        if pair not in self.asked:
            self.asked.add(pair)
            if pair[1] in self.unreadable or self.rng.random() < self.share:
                self.failed[pair] = FAILURE
        return self.failed[pair]

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.failed)

    def __len__(self) -> int:
        return len(self.failed)


def random_trouble(rng: Random, *, records: int = 60, orders: int = 3, share: float = 0.06) -> Trouble:
    """A log in which a share of all decisions fails. The same dice give the same log."""
    ledger, dice = Ledger(partition=0), _Dice(rng, share)
    log: list[Timed] = []
    after_ms = 0
    for number in range(records):
        after_ms = max(0, after_ms + rng.choice([0, 0, 1, 3, 50, 800, 2_500, -20]))
        item = _item(rng, number, after_ms, orders, log, list(ledger.dead_letters.values()))
        if isinstance(item, Broken):
            dice.unreadable.add(number)
        _append(ledger, log, item, after_ms, dice)
    return Trouble(log, frozenset(dice.failed))


@cache
def troubled_log(seed: int, *, records: int = 220, orders: int = 7) -> tuple[list[LogRecord], Aside]:
    """Such a log as its partition holds it, and the pairs to set aside. The same seed gives the same ones."""
    trouble = random_trouble(Random(seed), records=records, orders=orders)
    return logged(trouble.log), dict.fromkeys(sorted(trouble.aside), FAILURE)


def moved_log(seed: int, *, partition: int, records: int = 150) -> list[LogRecord]:
    """A random log in another partition, about other orders: an order lives in one partition."""
    moved = []
    for record in random_log(seed, records=records):
        content = load_record(record.value)
        value, key = record.value, record.key
        if isinstance(content, EventRecord | OperatorRecord):
            order_id = f"p{partition}-{content.order_id}"
            digest = f"{partition:02d}{content.receipt_digest[2:]}"
            value = dump_record(content.model_copy(update={"order_id": order_id, "receipt_digest": digest}))
            key = record_key(content.workspace, order_id)
        moved.append(LogRecord(partition, record.offset, record.log_ms, key, value, record.headers))
    return moved


def healed(trouble: Trouble) -> Trouble:
    """The same log, then a replay of all that is set aside, and a discard of what nobody can read. Nothing fails."""
    ledger, log = apply_all(logged(trouble.log), aside=trouble.aside), list(trouble.log)
    after_ms = max((ms for _, ms in log), default=0)
    for letter in list(ledger.dead_letters.values()):
        if letter.is_open:
            is_readable = not isinstance(log[letter.event_offset][0], Broken) and letter.record is not None
            _append(ledger, log, _act(letter, log, is_replay=is_readable), after_ms, {})
    return Trouble(log, trouble.aside)


def _append(ledger: Ledger, log: list[Timed], item: LogItem, after_ms: int, aside: Mapping[Pair, Failure]) -> None:
    log.append((item, after_ms))
    [record] = logged(log[-1:], start=len(log) - 1)
    fold(ledger, understood(record), aside)


def _item(rng: Random, number: int, after_ms: int, orders: int, log: list[Timed], letters: list[DeadLetter]) -> LogItem:
    still_open = [letter for letter in letters if letter.is_open]
    draw = rng.random()
    if draw < 0.02:
        return Broken(rng.choice([None, f"order-{rng.randrange(orders)}"]))
    if draw < 0.05:
        return erased(f"order-{rng.randrange(orders)}", *rng.choice([(), tuple(Erasable)[:1], tuple(Erasable)[1:]]))
    if still_open and draw < 0.3:
        return _act(rng.choice(still_open), log, is_replay=rng.random() < 0.7)
    if letters and draw < 0.34:  # most likely closed by now, or named with an order that is not its own
        named = rng.choice(letters)
        order_id = rng.choice([named.order_id, f"order-{rng.randrange(orders)}"])
        return _act(named, log, is_replay=rng.random() < 0.5, order_id=order_id)
    record = random_record(rng, number, after_ms, orders, log)
    if isinstance(record, EventRecord) and isinstance(record.event, StatusEvent) and rng.random() < 0.3:
        said = record.event.model_copy(update={"comment": f"comment {number}"})
        return record.model_copy(update={"event": said})
    return record


def _act(letter: DeadLetter, log: list[Timed], *, is_replay: bool, order_id: str | None = None) -> LogItem:
    original, ms = log[letter.event_offset]
    order = order_id or letter.order_id
    if not is_replay or (isinstance(original, Broken) and letter.parks == "nothing"):
        return discarded(letter.pair, order=order)
    return replayed(original, letter.pair, order=order, log_ms=START_MS + ms)
