"""What happens in one simulated run: events, deeds done to the workers and their world, faults met on the way.

A plan is plain data, made from a seed (`generator`) and cut smaller when it fails (`shrinker`). Deeds have a time.
Faults have a place instead: the n-th time that anybody reaches a *point*, such as a commit. Between two points nothing
a worker does can be seen by others, so a crash at points covers a crash between any two awaits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Point = Literal["statement", "commit", "committed", "append", "appended", "fetch", "bounds"]
"""Where a worker meets its world. `committed` and `appended` lie between the deed and its answer."""
Effect = Literal["crash", "freeze", "slow", "fail", "lose_answer", "late"]
"""fail: nothing was done, and an error says so. lose_answer: it was done, and the same error comes. late: the error
comes, and it is done afterwards.
"""
What = Literal["status", "placed", "amended", "fact"]
Poison = Literal["", "fails", "kills", "kills_reader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a source posts. `id` names the event; the same event again is a repeat."""

    id: str
    order: str
    source: int
    what: What
    status: str = ""
    restaurant: str = ""
    courier: str = ""
    occurred_ms: int | None = None
    """The sender's claim, after the start of the run."""
    poison: Poison = ""
    """Deciding it raises, or ends the process; or parsing it does that already."""
    times: int = 0
    """How often; then it goes well. 0 is always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something that happens at a time, in simulated seconds."""

    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Post(Deed):
    """An event is appended to the received log."""

    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick(Deed):
    """A tick is appended; ticks of the same name are copies."""

    partition: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Garbage(Deed):
    """A record that nobody can read is appended, under the key of an order."""

    order: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Act(Deed):
    """A person replays or discards a dead letter, or erases an order."""

    act: Literal["replay", "discard", "erase"]
    order: str = ""
    """Of an erasure."""
    number: int = 0
    """Which of the open dead letters, modulo how many there are; if there are none, one that is not open any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move(Deed):
    """The group moves a partition to another worker. `believes_s`: the one who had it learns of it so much later."""

    partition: int
    worker: int
    believes_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble(Deed):
    """A worker crashes, freezes or stops orderly, and is back after `for_s` (a crash with 0: never)."""

    worker: int
    effect: Literal["crash", "freeze", "stop"]
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage(Deed):
    """Log or store are away."""

    part: Literal["log", "store"]
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump(Deed):
    """The log's clock is set, forward or back."""

    by_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to whoever reaches a point as the `nth`, counted over the whole run."""

    point: Point
    nth: int
    effect: Effect
    for_s: float = 0.0
    """How long it is slow, frozen or late; after a crash, how long until the process is back (0: never)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run. `seed` decides what is left open: who runs next, and how long things take."""

    seed: int
    workers: int
    partitions: int
    batch_size: int
    skews_ms: tuple[int, ...]
    """How wrong each worker's clock is."""
    afterwards: Literal["", "replay", "discard"] = ""
    """What a person does about every dead letter that is still open when all is quiet."""
    deeds: tuple[Deed, ...]
    faults: tuple[Fault, ...]
