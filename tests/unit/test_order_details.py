"""Amounts and members of free form, as the door takes them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from schemas.details import MAX_FREE_FORM_BYTES, OrderDetails
from schemas.errors import MalformedEvent
from schemas.statuses import Role
from service.ingress.announcements import read_announcement
from tests.unit.test_native_dialect import source


def stored(**details: Any) -> dict[str, Any]:
    """What is kept of these details."""
    return OrderDetails.model_validate(details).model_dump(mode="json", exclude_unset=True)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("12.50", "12.50"), ("-3", "-3"), ("999999999999999.999999", "999999999999999.999999"),
        ("0.000001", "0.000001"),
        (12, "12"), (12.1, "12.1"), (1e-05, "0.00001"), (1.5e2, "150.0"), (1e14, "100000000000000.0"), (-0.5, "-0.5"),
    ],
)  # fmt: skip
def test_an_amount_is_kept_as_plain_text(given: object, kept: str) -> None:
    """As it was written, and never with an exponent."""
    assert stored(total=given) == {"total": kept}


@pytest.mark.parametrize(
    "given",
    [
        "1E+999999999", "0E+999999999", "-1e5", "1E-7", "NaN", "Infinity", "", " 1", "1_000", "+1", ".5", "1.",
        "\u0661",
        "1000000000000000", "0.0000001", "1\n", 10**15, 1e15, 1e-7, 1e300, float("inf"), float("nan"), True, [], {},
    ],
)  # fmt: skip
def test_an_odd_amount_is_refused(given: object) -> None:
    """Exponents, other digits, too many digits, and what is no number at all."""
    with pytest.raises(ValidationError, match="plain decimal"):
        stored(total=given)


@pytest.mark.parametrize("total", [b'"1E+999999999"', b'"0E+999999999"', b"1E+300", b"true"])
def test_an_odd_amount_is_the_senders_fault(total: bytes) -> None:
    """A 400 at the door, whatever the decimal library makes of it."""
    announcer = source(role=Role.PLATFORM)
    with pytest.raises(MalformedEvent):
        read_announcement(b'{"order_id":"O","restaurant":"R","details":{"total":' + total + b"}}", announcer)


@pytest.mark.parametrize("member", ["customizations", "form"])
def test_free_form_is_capped(member: str) -> None:
    """Up to the cap as JSON, and not a byte more."""

    def details(size: int) -> dict[str, Any]:
        free = {"k": "y" * (size - len('{"k":""}'))}
        return {"items": [{member: free}]} if member == "customizations" else {"payment_method": {member: free}}

    assert stored(**details(MAX_FREE_FORM_BYTES)) == details(MAX_FREE_FORM_BYTES)
    with pytest.raises(ValidationError, match="16384 bytes"):
        stored(**details(MAX_FREE_FORM_BYTES + 1))
