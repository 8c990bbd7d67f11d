"""Whose order a partner's message is about, in our own ids: the source's prefix and map of stores, put on here alone.

The prefix keeps two marketplaces apart that number their orders alike. It goes before every order id that the source
names, by webhook or by announcing and amending; readers see the whole id. A store that the map does not have is taken
as it stands: the map is for those that differ.
"""

from __future__ import annotations

from dataclasses import replace

from backbone.store.sources import Source
from schemas.errors import MalformedEvent
from schemas.events import OrderPlaced, StatusEvent
from schemas.identifiers import normalise_id
from schemas.statuses import OrderStatus, Role
from service.dialects.port import ParsedEvent, Position

_ANNOUNCING = frozenset({Role.MARKETPLACE, Role.PLATFORM})


def identify(parsed: ParsedEvent, source: Source) -> ParsedEvent:
    """The event with our order id. One that announces its order (NEW, from a role that may) names its restaurant where
    the message says the store.

    Raises MalformedEvent for an id that is too long with its prefix, or a store that can be no party.
    """
    event = parsed.event
    if parsed.store is not None and source.role in _ANNOUNCING:
        if isinstance(event, StatusEvent) and event.status is OrderStatus.NEW:
            event = OrderPlaced(occurred_us=event.occurred_us, occurred_mark=event.occurred_mark, comment=event.comment)
        if isinstance(event, OrderPlaced) and "restaurant" not in event.parties:
            named = {**event.parties, "restaurant": _party(parsed.store, source)}
            event = OrderPlaced.model_validate({**dict(event), "parties": named})
    if event is parsed.event and not source.id_prefix:
        return parsed
    return replace(parsed, order_id=prefixed(parsed.order_id, source), event=event)


def identify_position(position: Position, source: Source) -> Position:
    """The position with our order id. Raises MalformedEvent."""
    return replace(position, order_id=prefixed(position.order_id, source))


def prefixed(order_id: str, source: Source) -> str:
    """The order id as we know it; may be longer than an id can be."""
    return f"{source.id_prefix or ''}{order_id}"


def _party(store: str, source: Source) -> str:
    try:
        store = normalise_id(store)
    except ValueError as error:
        raise MalformedEvent("The store id cannot be used.", errors=(("store", str(error)),)) from error
    return source.stores.get(store, store)
