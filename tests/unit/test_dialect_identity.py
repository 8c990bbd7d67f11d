"""Partners' ids become ours in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schemas.errors import MalformedEvent
from schemas.events import FactEvent, OrderPlaced, StatusEvent
from schemas.statuses import Fulfilment, OrderStatus, Role
from service.dialects.port import ParsedEvent, Position
from service.ingress.identity import identify, identify_position
from tests.unit.test_native_dialect import source

NEW = StatusEvent(status=OrderStatus.NEW, occurred_us=5, comment="no onions")


def as_source(role: Role = Role.MARKETPLACE, **changes: Any) -> Any:
    """A source with a prefix and one mapped store."""
    return replace(source(role), **{"id_prefix": "if-", "stores": {"9": "r1"}, **changes})


def test_the_prefix_goes_before_every_order_id() -> None:
    """Of events and of positions, whatever the role; event ids stay."""
    for role in (Role.COURIER, Role.RESTAURANT, Role.MARKETPLACE, Role.PLATFORM):
        event = FactEvent(code="x")
        assert identify(ParsedEvent("17", "e", event), as_source(role)) == ParsedEvent("if-17", "e", event)
    assert identify_position(Position("17", 1.0, 2.0), as_source()).order_id == "if-17"
    with pytest.raises(MalformedEvent):
        identify(ParsedEvent("1" * 128, "e", NEW), as_source())


@pytest.mark.parametrize(("store", "party"), [("9", "r1"), ("10", "10"), (" 9 ", "r1")])
def test_a_new_that_announces_names_its_restaurant(store: str, party: str) -> None:
    """By the source's map, or as it stands where the map does not have it; time and words are kept."""
    named = identify(ParsedEvent("17", "e", NEW, store=store), as_source())
    assert named.event == OrderPlaced(parties={"restaurant": party}, occurred_us=5, comment="no onions")


def test_what_announces_nothing_names_nothing() -> None:
    """A courier's NEW, a later status, a NEW without a store: as they came."""
    ready = StatusEvent(status=OrderStatus.READY)
    for role, event, store in ((Role.COURIER, NEW, "9"), (Role.MARKETPLACE, ready, "9"), (Role.MARKETPLACE, NEW, None)):
        parsed = ParsedEvent("17", "e", event, store=store)
        assert identify(parsed, as_source(role, id_prefix=None)) is parsed


def test_an_announcement_of_the_dialects_own_is_filled_in() -> None:
    """One that knows more than its NEW keeps it; a restaurant that it names is not replaced."""
    placed = OrderPlaced(fulfilment=Fulfilment.PICKUP, external_ids=("x",), details={"a": 1})
    filled = identify(ParsedEvent("17", "e", placed, store="9"), as_source()).event
    assert filled == placed.model_copy(update={"parties": {"restaurant": "r1"}})
    own = placed.model_copy(update={"parties": {"restaurant": "r7"}})
    assert identify(ParsedEvent("17", "e", own, store="9"), as_source()).event == own


def test_a_store_that_can_be_no_party_is_refused_with_its_name() -> None:
    """Rather than logged under something else."""
    with pytest.raises(MalformedEvent) as refused:
        identify(ParsedEvent("17", "e", NEW, store="a\0b"), as_source())
    assert refused.value.errors[0][0] == "store"
