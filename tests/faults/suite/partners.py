"""Who posts, and what each run has them post: scripts of orders, fixed by the seed.

Partners behave as partners do: restaurants tell steps twice or in the wrong order, couriers are faster than the
announcement, somebody posts to orders of others, some never try again. Every request has an event id and a body that
stays the same however often it is sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

SHORT_HOLD_MS = 4_000
AHEAD_HOLD_MS = 3_000
DAY_MS = 24 * 3600 * 1000
FOREVER = 10_000
KITCHEN_STEPS = ("ACCEPTED_BY_RESTAURANT", "COOKING", "READY")
COURIER_STEPS = ("TAKEN_BY_COURIER", "DELIVERED")


@dataclass(frozen=True, slots=True)
class Partner:
    """A source. With a short hold its early events give up waiting within the run."""

    name: str
    role: str
    parties: tuple[str, ...]
    hold_ms: int = DAY_MS
    policy: str = "forward"
    ahead_hold_ms: int = AHEAD_HOLD_MS
    """Of the strict: how long they wait for a step that was left out."""


PARTNERS = (
    Partner("market", "marketplace", ("m1",)),
    Partner("kitchen", "restaurant", ("r1", "r2")),
    Partner("grill", "restaurant", ("r3",), hold_ms=SHORT_HOLD_MS),
    Partner("bakery", "restaurant", ("r4",), policy="strict"),
    Partner("fleet", "courier", ("k1",)),
    Partner("riders", "courier", ("k2",), hold_ms=SHORT_HOLD_MS),
    Partner("stranger", "restaurant", ("r9",), hold_ms=SHORT_HOLD_MS),
    Partner("nosy", "courier", ("k9",)),
)
KITCHENS = {"r1": "kitchen", "r2": "kitchen", "r3": "grill", "r4": "bakery"}
COURIERS = {"k1": "fleet", "k2": "riders"}


@dataclass(frozen=True, slots=True)
class Request:
    """One callback. It is tried `tries` times at most, always with the same body."""

    partner: str
    path: str
    order_id: str
    event_id: str
    body: str
    tries: int = FOREVER
    pause_s: float = 0.0


@dataclass(slots=True)
class Script:
    """One order's requests, sent one after the other from `at_s` on."""

    at_s: float
    requests: list[Request] = field(default_factory=list)


class Author:
    """Writes the scripts of a run. `began` is what partners' times are counted from."""

    def __init__(self, seed: int, began: datetime) -> None:
        self._rng = Random(f"load-{seed}")
        self._began = began

    def scripts(self, seconds: float, orders_a_second: float) -> list[Script]:
        """All orders of a run."""
        count = max(1, int(seconds * orders_a_second))
        return [self._script(f"o-{number}", self._rng.uniform(0, seconds)) for number in range(count)]

    def _script(self, order_id: str, at_s: float) -> Script:
        rng = self._rng
        restaurant, courier = rng.choice(list(KITCHENS)), rng.choice(list(COURIERS))
        fulfilment = rng.choices((None, "delivery", "pickup", "own_delivery"), (4, 4, 1, 1))[0]
        announced = {"restaurant": restaurant, "courier": courier, "marketplace": "m1", "fulfilment": fulfilment}
        requests = [self._request("market", "/v1/orders", order_id, "new", announced)]
        steps = [*self._steps(KITCHENS[restaurant], order_id, KITCHEN_STEPS, at_s)]
        steps += self._steps(COURIERS[courier], order_id, COURIER_STEPS, at_s)
        if rng.random() < 0.1:
            steps.append(self._report("market", order_id, "CANCELLED", at_s + rng.uniform(0, 5)))
        if rng.random() < 0.15:
            steps.append(self._report("stranger", order_id, rng.choice(KITCHEN_STEPS), at_s))
        if rng.random() < 0.1:
            steps.append(self._report("nosy", order_id, rng.choice(COURIER_STEPS), at_s))
        requests += steps
        habit = rng.random()
        if habit < 0.25:
            rng.shuffle(requests)
        elif habit < 0.4:  # the announcement comes last
            requests.append(requests.pop(0))
        elif habit < 0.44:  # or never
            requests.pop(0)
        return Script(at_s, [self._paced(request) for request in self._with_repeats(requests)])

    def _steps(self, partner: str, order_id: str, steps: tuple[str, ...], at_s: float) -> Iterator[Request]:
        for number, step in enumerate(steps, 1):
            if self._rng.random() < 0.9:
                yield self._report(partner, order_id, step, at_s + number)

    def _report(self, partner: str, order_id: str, status: str, at_s: float) -> Request:
        fields: dict[str, Any] = {"status": status}
        if self._rng.random() < 0.8:
            skewed = self._began + timedelta(seconds=at_s + self._rng.uniform(-30, 5))
            fields["occurred_at"] = skewed.astimezone(UTC).isoformat()
        if self._rng.random() < 0.1:
            fields["comment"] = "told by " + partner
        return self._request(partner, f"/v1/webhooks/{partner}", order_id, status.lower(), fields)

    def _request(self, partner: str, path: str, order_id: str, event: str, fields: dict[str, Any]) -> Request:
        event_id = f"{order_id}/{partner}/{event}"
        body = {"order_id": order_id, "event_id": event_id, **fields}
        return Request(partner, path, order_id, event_id, json.dumps(body, sort_keys=True))

    def _with_repeats(self, requests: list[Request]) -> Iterator[Request]:
        rng, earlier = self._rng, list[Request]()
        for request in requests:
            yield request
            earlier.append(request)
            if rng.random() < 0.15:
                yield rng.choice(earlier)
            if rng.random() < 0.02 and request.path.startswith("/v1/webhooks"):  # an id used for something else
                other = {**json.loads(request.body), "status": "READY", "comment": f"reused {rng.random()}"}
                yield Request(
                    request.partner, request.path, request.order_id, request.event_id, json.dumps(other, sort_keys=True)
                )

    def _paced(self, request: Request) -> Request:
        rng = self._rng
        tries = rng.choice((1, 2)) if rng.random() < 0.05 else FOREVER
        pause_s = rng.choices((0.0, rng.uniform(0, 0.5), rng.uniform(0, 4)), (6, 3, 1))[0]
        return Request(request.partner, request.path, request.order_id, request.event_id, request.body, tries, pause_s)
