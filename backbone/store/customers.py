"""Finding the orders of a customer who asks to be forgotten.

A customer is named by the id, the phone number or the e-mail address in the details of orders, and in details that
still wait in events which have no verdict yet. Names and postal addresses find nobody: they are shared by strangers.
The comparison is exact after normalising: a phone number without its spaces and signs and with `+` for a leading
`00`, an address without regard to case, an id as it is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import orjson
from sqlalchemy import select

from backbone.store.engine import Store
from backbone.store.tables import dead_letters, held_events, order_details
from schemas.identifiers import DEFAULT_WORKSPACE

PAGE_ROWS = 2000

_PHONE = re.compile(r"\+?[0-9]{6,20}", re.ASCII)
_SEPARATORS = re.compile(r"[\s()./-]")
_BETWEEN_DIGITS = r"(?:\\[tnrf]|[\s()./-])*"  # the same in JSON's text
_ID_NAMES = frozenset({"customerid", "userid", "clientid", "externalcustomerid", "customerreference"})
_PHONE_NAMES = frozenset({"phone", "phonenumber", "mobile", "mobilenumber", "tel", "telephone", "customerphone"})


def normal_forms(value: str) -> frozenset[tuple[str, str]]:
    """The ways in which details could name this customer: pairs of kind and normal form. Empty for an empty value."""
    text = value.strip()
    if not text:
        return frozenset()
    forms = {("id", text)}
    if "@" in text:
        forms.add(("email", text.casefold()))
    if (phone := _phone(text)) is not None:
        forms.add(("phone", phone))
    return frozenset(forms)


def _first_look(value: str) -> re.Pattern[str] | None:
    """What the JSON of any details that name this customer matches, so that few have to be parsed; None: parse all."""
    text = value.strip()
    if not text.isascii():
        return None
    words = [re.escape(orjson.dumps(text).decode()[1:-1])]
    if (phone := _phone(text)) is not None:
        words.append(_BETWEEN_DIGITS.join(phone.removeprefix("+")))
    return re.compile("|".join(words), re.IGNORECASE)


def names_customer(text: str, value: str) -> bool:
    """Whether a text that is kept names this customer, in any of the ways in which the search would find them.

    Rather once too often: a number or an id counts inside longer ones too.
    """
    plain = text.casefold()
    for kind, form in normal_forms(value):
        if kind != "phone" and form.casefold() in plain:
            return True
        if kind == "phone" and re.search(_BETWEEN_DIGITS.join(form.removeprefix("+")), text):
            return True
    return False


def names_in(details: Any) -> Iterator[tuple[str, str]]:
    """How an order's details name its customer, as pairs of kind and normal form.

    Of the documented part: its id and its phone number. In parts of free form: members called so in the usual
    spellings. Anywhere: what looks like an e-mail address.
    """
    customer = details.get("customer") if isinstance(details, dict) else None
    if isinstance(customer, dict) and isinstance(customer.get("id"), str):
        yield "id", customer["id"].strip()
    for name, text in _leaves("", details):
        called = re.sub(r"[^a-z]", "", name.lower())
        if "@" in text:
            yield "email", text.strip().casefold()
        if called in _ID_NAMES:
            yield "id", text.strip()
        if called in _PHONE_NAMES and (phone := _phone(text)) is not None:
            yield "phone", phone


def _phone(text: str) -> str | None:
    plain = _SEPARATORS.sub("", text)
    plain = f"+{plain[2:]}" if plain.startswith("00") else plain
    return plain if _PHONE.fullmatch(plain) else None


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for inner, below in value.items():
            yield from _leaves(inner, below)
    elif isinstance(value, list):
        for below in value:
            yield from _leaves(name, below)
    elif isinstance(value, str):
        yield name, value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield name, str(value)


async def find_orders(
    store: Store, value: str, *, workspace: str = DEFAULT_WORKSPACE, progress: Callable[[int], None] | None = None
) -> list[str]:
    """The ids of the orders that name this customer, sorted. Reads all details: `progress` is told how many so far.

    Raises StoreUnavailable; may be repeated.
    """
    wanted, first_look = normal_forms(value), _first_look(value)
    found: set[str] = set()
    done = 0
    async for page in _pages(store, workspace):
        for order_id, text in page:
            is_likely = first_look is None or first_look.search(text)
            if is_likely and not wanted.isdisjoint(names_in(_details_of(text))):
                found.add(order_id)
        done += len(page)
        if progress is not None:
            progress(done)
    return sorted(found)


async def _pages(store: Store, workspace: str) -> AsyncIterator[list[tuple[str, str]]]:
    """Orders with the JSON of their details, or of a record that may bring some."""
    own = order_details.c
    query = select(own.order_id, own.details).where(own.workspace == workspace).order_by(own.order_id).limit(PAGE_ROWS)
    after = ""
    while True:
        async with store.reading() as connection:
            rows = (await connection.execute(query.where(own.order_id > after))).all()
        if not rows:
            break
        after = rows[-1].order_id
        yield [(row.order_id, row.details) for row in rows]
    for table in (held_events, dead_letters):
        waiting = select(table.c.order_id, table.c.record).where(
            table.c.workspace == workspace, table.c.record.is_not(None)
        )
        async with store.reading() as connection:
            found = await connection.stream(waiting)
            async for some in found.partitions(PAGE_ROWS):
                yield [(row.order_id, bytes(row.record).decode("utf-8", "replace")) for row in some]


def _details_of(text: str) -> Any:
    """The details themselves, or those that a record would bring, whatever else is wrong with it."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if isinstance(document, dict) and "kind" in document:  # a record; details have no such member
        event = document.get("event")
        return event.get("details") if isinstance(event, dict) else None
    return document
