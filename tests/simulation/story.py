"""A run told as a list of steps, for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, NoReturn

import structlog

from tests.simulation.generator import SOURCES
from tests.simulation.plans import Event, Plan
from tests.simulation.scheduler import CURRENT

_TOLD = {
    "batch_applied": "applies {records} record(s) from offset {offset} of partition {partition} on: {verdicts}",
    "commit_confirmed": "finds that its commit took effect: next is {next}",
    "decision_failed": "fails at offset {offset} with the event of offset {event_offset}, try {attempt}: {problem}",
    "event_given_up": "sets the event of offset {event_offset} aside, at offset {offset}: {problem}",
    "fence_lost": "meets a moved fence in partition {partition}: believed {believed}, next is {next}",
    "outage_over": "has an answer again ({doing})",
    "outcomes_left_to_successor": "leaves outcomes to its successor: published {published}",
    "partition_lost": "has lost partition {partition}",
    "partition_stopped": "stops partition {partition}: {code}",
    "partition_suspicious": "is careful with partition {partition}: {claims} owners came and went",
    "partitions_gained": "gains partitions {partitions}",
    "partitions_released": "has let go of partitions {partitions}",
    "store_unavailable": "has no answer from the store at offset {offset} of partition {partition}",
    "waiting_out_outage": "waits ({doing}): {problem}",
}
"""The workers' log lines in words; others are told as they are."""


class Story:
    """Collects what happens in a run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def tell(self, at_s: float, who: str, words: str) -> None:
        """One line."""
        self.lines.append(f"{at_s:8.3f} s  {who + ': ' if who else ''}{words}")

    @contextmanager
    def listening(self, now: Callable[[], float]) -> Iterator[None]:
        """The workers' own log lines become part of the story."""

        def tap(_logger: Any, _method: str, found: MutableMapping[str, Any]) -> NoReturn:
            name, error = str(found.pop("event")), found.pop("exc_info", None)
            who = CURRENT.get(None)
            verdicts = found.get("verdicts")
            if isinstance(verdicts, dict):
                found["verdicts"] = ", ".join(f"{count} {verdict!s}" for verdict, count in verdicts.items()) or "no row"
            try:
                words = _TOLD[name].format_map(found)
            except KeyError:
                words = " ".join([name, *(f"{key}={value}" for key, value in sorted(found.items()))])
            if isinstance(error, BaseException):
                words += f" ({error!r})"
            self.tell(now(), "" if who is None else who.name, words)
            raise structlog.DropEvent

        before = structlog.get_config()
        structlog.configure(processors=[tap], wrapper_class=structlog.BoundLogger)
        try:
            yield
        finally:
            structlog.configure(**before)


def describe_plan(plan: Plan) -> str:
    """What a run begins with."""
    off = ", ".join(f"worker {number} {ms:+d} ms" for number, ms in enumerate(plan.skews_ms) if ms)
    return (
        f"{plan.workers} worker(s), {plan.partitions} partition(s), batches of at most {plan.batch_size}; "
        f"clocks {f'off by: {off}' if off else 'right'}; {len(plan.deeds)} deed(s), {len(plan.faults)} fault(s)"
    )


def describe_event(event: Event) -> str:
    """Who says what."""
    if event.what == "status":
        said = f"{event.order} is {event.status}"
    elif event.what == "fact":
        said = f"a courier is assigned to {event.order}"
    else:
        named = ", ".join(party for party in (event.restaurant, event.courier) if party)
        said = f"{'announces' if event.what == 'placed' else 'amends'} {event.order} ({named or 'no party'})"
    doing = {"kills_reader": "parsing it kills"}.get(event.poison, f"deciding it {event.poison}")
    poison = f"; {doing} {f'{event.times} times' if event.times else 'always'}"
    return f"{event.id} of {SOURCES[event.source].name}: {said}{poison if event.poison else ''}"


@contextmanager
def silence() -> Iterator[None]:
    """Nobody listens: the workers' log lines are dropped before they are made."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.configure(**before)
