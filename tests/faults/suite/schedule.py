"""What goes wrong when: a list of faults that a seed fixes.

Targets are processes (`ingress`, `c1` …), servers (`kafka`, `postgres`) and links between the two (`kafka-c1`: that
consumer's way to Kafka). A link belongs to one process, so a worker can lose Kafka while the others, and its own way to
PostgreSQL, are well: that is how two workers come to think that they own a partition.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

SESSION_TIMEOUT_S = 6.0
"""Of the consumers under test: freezes of them last up to one and a half of it."""
Kind = Literal["kill", "freeze", "stop", "cut", "stall", "reset", "slow", "throttle"]
SERVER_FAULTS: tuple[Kind, ...] = ("kill", "freeze")
PROCESS_FAULTS: tuple[Kind, ...] = ("kill", "freeze", "stop")
LINK_FAULTS: tuple[Kind, ...] = ("cut", "stall", "reset", "slow", "throttle")
HTTP = "http"
MOST_AT_ONCE = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """From `at_s` on, for `lasts_s` seconds. `amount` is ms of delay or kilobytes a second, where the kind has one."""

    at_s: float
    target: str
    kind: Kind
    lasts_s: float
    amount: int = 0

    @property
    def until_s(self) -> float:
        """When it is mended."""
        return self.at_s + self.lasts_s

    def __str__(self) -> str:
        """For the journal."""
        amount = f" {self.amount}" if self.amount else ""
        return f"{self.kind}{amount} {self.target} for {self.lasts_s:.1f} s"


def processes(consumers: int) -> list[str]:
    """The names of the processes under test."""
    return ["ingress", *(f"c{number}" for number in range(1, consumers + 1))]


def links(consumers: int) -> list[str]:
    """The names of all links."""
    return [HTTP, *(f"{server}-{name}" for name in processes(consumers) for server in ("kafka", "postgres"))]


def make_schedule(seed: int, seconds: float, consumers: int) -> list[Fault]:
    """The faults of a run, by their beginnings: one or two a second at most, at most three at once, one a target."""
    rng = Random(f"faults-{seed}")
    faults: list[Fault] = []
    at_s = rng.uniform(1.0, 2.5)
    while at_s < seconds:
        fault = _draw(rng, at_s, consumers)
        going_on = [other for other in faults if other.until_s > at_s]
        if len(going_on) < MOST_AT_ONCE and all(other.target != fault.target for other in going_on):
            faults.append(fault)
        at_s += rng.uniform(0.5, 2.5)
    return faults


def _draw(rng: Random, at_s: float, consumers: int) -> Fault:
    consumer = f"c{rng.randint(1, consumers)}"
    kind = rng.choices(("consumer", "ingress", "kafka", "postgres", "link"), (9, 2, 2, 3, 7))[0]
    if kind == "consumer":
        what = rng.choices(PROCESS_FAULTS, (4, 5, 1))[0]
        lasts_s = rng.uniform(0.5, SESSION_TIMEOUT_S * 1.5) if what == "freeze" else rng.uniform(0.0, 2.0)
        return Fault(at_s, consumer, what, lasts_s)
    if kind == "ingress":
        return Fault(at_s, kind, rng.choice(PROCESS_FAULTS), rng.uniform(0.2, 3.0))
    if kind in {"kafka", "postgres"}:
        return Fault(at_s, kind, rng.choice(SERVER_FAULTS), rng.uniform(0.2, 4.0))
    what = rng.choice(LINK_FAULTS)
    amount = {"slow": rng.randint(50, 800), "throttle": rng.randint(8, 64)}.get(what, 0)
    return Fault(at_s, rng.choice(links(consumers)), what, rng.uniform(0.5, SESSION_TIMEOUT_S * 1.5), amount)
