"""Ids that a message can do without."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import BaseModel, ValidationError

from service.dialects.days import day_id
from service.dialects.optional_ids import FilledId, OptionalId
from service.dialects.partner import PartnerDialect
from service.dialects.registry import DIALECTS

PARTNERED = [dialect for dialect in DIALECTS.values() if isinstance(dialect, PartnerDialect)]


class _Model(BaseModel):
    optional: OptionalId = None
    filled: FilledId = None


@pytest.mark.parametrize("value", [None, "", "  ", "x" * 129, "a\x01b", True, 1.5, {}, [], 1 << 70])
def test_what_cannot_be_an_id_is_none(value: object) -> None:
    """Whatever is sent: nothing is refused over it."""
    assert _Model.model_validate({"optional": value}).optional is None


def test_what_can_be_an_id_is_one() -> None:
    """Normalised like any other."""
    assert _Model.model_validate({"optional": 7, "filled": " A "}).model_dump() == {"optional": "7", "filled": "A"}


def test_a_filled_id_may_be_blank_and_nothing_else() -> None:
    """What names an order is refused where it cannot be an id."""
    assert _Model.model_validate({"filled": " "}).filled is None
    values: tuple[object, ...] = ("x" * 129, {}, True)
    for value in values:
        with pytest.raises(ValidationError):
            _Model.model_validate({"filled": value})


def test_the_ids_of_a_day_fit() -> None:
    """As they are where they can be; else one an order and message."""
    assert day_id("A-17", 3) == "A-17-3"
    long = [day_id("x" * 128, minute) for minute in (1, 2)]
    assert len(set(long)) == 2
    assert all(len(one) <= 128 for one in long)


@pytest.mark.parametrize("dialect", PARTNERED, ids=lambda dialect: dialect.name)
def test_a_day_can_be_of_an_order_with_a_long_id(dialect: PartnerDialect) -> None:
    """No id in any of its messages is longer than an id can be, but a dispatch's, which has its number behind it."""

    def texts(value: object) -> list[str]:
        if isinstance(value, dict):
            return [text for name, below in value.items() if name != "resource_href" for text in texts(below)]
        if isinstance(value, list | tuple):
            return [text for below in value for text in texts(below)]
        return [value] if isinstance(value, str) else []

    for message in dialect.day("x" * 128, "R17", datetime(2026, 1, 31, 18, tzinfo=UTC)):
        for text in texts(dict(message.body)):
            assert len(text.removesuffix("--2")) <= 128 or "://" in text
