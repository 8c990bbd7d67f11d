"""Finding a customer's orders, on both databases."""

from __future__ import annotations

import orjson
import pytest

from backbone.store.customers import PAGE_ROWS, find_orders, names_customer, names_in, normal_forms
from backbone.store.engine import Store
from backbone.store.tables import dead_letters, held_events, order_details
from tests.support.stores import store

__all__ = ["store"]

PHONE = "+34 600 123 456"
CUSTOMER = {"id": "C-77", "name": "Ana", "phone": PHONE, "address": "Calle Mayor 7"}
FORMS = {
    "free": {"payment_method": {"form": {"E-Mail": "Ana@Example.org", "customer_id": 4711}}},
    "items": {"items": [{"customizations": {"mobile": "0034.600.123.456"}}]},
    "other": {"customer": {"id": "C-78", "name": "Ana", "phone": "+34 600 999 999", "address": "Calle Mayor 7"}},
    "empty": {},
    "whole": {"customer": CUSTOMER},
}


async def write_details(store: Store, orders: dict[str, object]) -> None:
    """Orders' details as the applier leaves them."""
    rows = [
        {"workspace": "default", "order_id": order_id, "details": orjson.dumps(details).decode(), "erased": False}
        for order_id, details in orders.items()
    ]
    async with store.transaction() as connection:
        await connection.execute(order_details.insert(), rows)


@pytest.mark.parametrize(
    ("value", "orders"),
    [
        ("C-77", ["whole"]),
        (" C-77 ", ["whole"]),
        ("4711", ["free"]),
        (PHONE, ["items", "whole"]),
        ("0034 (600) 123-456", ["items", "whole"]),
        ("ana@example.ORG", ["free"]),
        ("c-77", []),
        ("600123456", []),
        ("Ana", []),
        ("Calle Mayor 7", []),
        ("", []),
        ("   ", []),
    ],
)
async def test_a_customer_is_named_by_id_phone_or_email(store: Store, value: str, orders: list[str]) -> None:
    """However numbers and addresses are written; never by a part, a name or a postal address."""
    await write_details(store, dict(FORMS))
    assert await find_orders(store, value) == orders


async def test_all_pages_are_read(store: Store) -> None:
    """More orders than one page holds; progress says how far it came."""
    count = PAGE_ROWS + 17
    await write_details(store, {f"o{number:05}": {"customer": {"id": f"c{number % 2}"}} for number in range(count)})
    told: list[int] = []
    found = await find_orders(store, "c1", progress=told.append)
    assert len(found) == count // 2
    assert told == [PAGE_ROWS, count]


async def test_details_that_still_wait_are_looked_at(store: Store) -> None:
    """In events without a verdict and in dead letters, also in those that nobody can read."""
    record = orjson.dumps({"kind": "event", "event": {"type": "announcement", "details": {"customer": CUSTOMER}}})
    key = {"workspace": "default", "partition": 0, "source_uid": "u", "digest": "d", "received_ms": 1}
    async with store.transaction() as connection:
        held = {**key, "offset": 1, "order_id": "waits", "kind": "parked", "record": record}
        await connection.execute(held_events.insert().values(held))
        for offset, value in ((2, record), (3, b"\xff no JSON"), (4, b"[1]")):
            letter = {
                **key,
                "in_hand_offset": offset,
                "event_offset": offset,
                "seq": offset,
                "order_id": f"aside-{offset}",
                "event_id": "e",
                "state": "open",
                "error": "x",
                "attempts": 3,
                "record": value,
            }
            await connection.execute(dead_letters.insert().values(letter))
    assert await find_orders(store, "C-77") == ["aside-2", "waits"]


def test_values_have_few_forms() -> None:
    """A number may be an id and a phone; nothing else is guessed. Odd details name nobody."""
    assert normal_forms("600123456") == {("id", "600123456"), ("phone", "600123456")}
    assert normal_forms("a@b") == {("id", "a@b"), ("email", "a@b")}
    assert list(names_in([1, None, {"customer": [True, {"id": 2}]}])) == []
    assert list(names_in({"customer": {"id": None, "phone": 600123456}})) == [("phone", "600123456")]


@pytest.mark.parametrize(
    ("value", "reason", "names"),
    [
        (PHONE, "Letter from +34600123456", True),
        ("+34600123456", f"letter of {PHONE}, 21 November", True),
        ("0034 600 123 456", "asked by +34(600)123-456.", True),
        ("600123456", "0034.600.123.456 wrote", True),
        ("Ana@Example.org", "mail from <ana@example.ORG>", True),
        ("C-77", "customer c-77 asked", True),
        (PHONE, "Letter of 21 November, no. 34 600", False),
        ("ana@example.org", "letter of Ana", False),
        ("C-77", "Letter 77", False),
        ("", "Letter 77", False),
    ],
)
def test_a_reason_that_names_the_customer_is_known(value: str, reason: str, names: bool) -> None:
    """However number and address are written, and inside longer texts: it would stay for good."""
    assert names_customer(reason, value) is names
