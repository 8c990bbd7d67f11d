"""The requests of the load: whole HTTP requests as bytes, made and signed beforehand, so that sending costs nothing.

Two kinds. *Repeating* ones are few and sent over and over: enough for ingress, which puts every one into the log and
leaves repeats to the consumers. *Stories* are lives of orders, each event once: each is legal in its turn, so that
each ends in a verdict of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import orjson
from standardwebhooks.webhooks import Webhook

SOURCE = "bench"
PATH = f"/v1/webhooks/{SOURCE}"
STEPS = ("NEW", "ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "TAKEN_BY_COURIER", "DELIVERED")
UNDER_WAY = 300
"""Orders of a story that are under way at a time: so many requests lie between two of one order."""
_ORDERS = 997
_EVENT_ID = "evt_{run}_{number:08d}"


class Signer:
    """Makes requests to one port under one secret. A signature is good for five minutes."""

    def __init__(self, secret: str, *, port: int) -> None:
        self._webhook = Webhook(secret)
        self._port = port

    def request(self, event_id: str, order_id: str, status: str) -> bytes:
        """One webhook, signed now."""
        now = datetime.now(UTC)
        body = orjson.dumps(
            {
                "order_id": order_id,
                "status": status,
                "occurred_at": now.isoformat(timespec="milliseconds"),
                "comment": "ring twice, the bell is quiet",
                "attributes": ["contactless", "no-cutlery"],
            }
        ).decode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
            f"webhook-id: {event_id}\r\nwebhook-timestamp: {int(now.timestamp())}\r\n"
            f"webhook-signature: {self._webhook.sign(event_id, now, body)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return (head + body).encode()


def repeating_requests(secret: str, *, port: int, count: int) -> list[bytes]:
    """Statuses of some orders, each with an event id of its own."""
    signer = Signer(secret, port=port)
    return [
        signer.request(event_id("repeating", n), f"ORDER-{n % _ORDERS:05d}", STEPS[1 + n % (len(STEPS) - 1)])
        for n in range(count)
    ]


def story_requests(secret: str, *, port: int, run: str, count: int) -> list[bytes]:
    """Lives of orders from announcement to delivery, many under way at a time; `run` keeps them apart from others'."""
    signer = Signer(secret, port=port)
    return [
        signer.request(event_id(run, n), f"{run}-{order}", status) for n, (order, status) in enumerate(story(count))
    ]


def story(count: int) -> Iterator[tuple[int, str]]:
    """(number of the order, status) of each event: a status for each of `UNDER_WAY` orders, then the next status."""
    for number in range(count):
        generation, place = divmod(number, UNDER_WAY * len(STEPS))
        step, order = divmod(place, UNDER_WAY)
        yield generation * UNDER_WAY + order, STEPS[step]


def event_id(run: str, number: int) -> str:
    """The id of a run's n-th event."""
    return _EVENT_ID.format(run=run, number=number)


def number_of(run: str, name: str) -> int | None:
    """Which event of the run an id names; None when it is another run's."""
    head, _, number = name.rpartition("_")
    return int(number) if head == f"evt_{run}" else None
