"""Money on the wire: exact digits in numbers, whole units where the document says integer."""

from decimal import Decimal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.facades.money import INT32, INT64, add, decimal_text, json_number, multiply, whole_pieces, whole_units

AMOUNTS = st.decimals(min_value=Decimal(-999999999999999), max_value=Decimal(999999999999999), places=6)


@settings(deadline=None)
@given(AMOUNTS)
def test_a_json_number_has_exactly_the_stored_digits(amount: Decimal) -> None:
    """What is written parses back to the same decimal, though a binary float could not hold it."""
    text = orjson.dumps(json_number(amount)).decode()
    assert Decimal(text) == amount
    assert "E" not in text
    assert text != "-0"


@pytest.mark.parametrize(
    ("amount", "text"),
    [("12.50", "12.5"), ("100", "100"), ("1E+14", "100000000000000"), ("-0.00", "0"), ("0.000001", "0.000001")],
)
def test_decimal_text_is_the_shortest(amount: str, text: str) -> None:
    """No trailing zeros, no exponent, no negative zero."""
    assert decimal_text(Decimal(amount)) == text


@pytest.mark.parametrize(("amount", "units"), [("2.5", 2), ("3.5", 4), ("2.500001", 3), ("-2.5", -2), ("0.49", 0)])
def test_whole_units_round_half_to_even(amount: str, units: int) -> None:
    """The rule that the tracking API's page writes down."""
    assert whole_units(Decimal(amount), INT64) == units


def test_units_beyond_the_documented_width_are_left_out() -> None:
    """The last that fits stays, the next is None; nothing wraps."""
    assert whole_units(Decimal(2**31 - 1), INT32) == 2**31 - 1
    assert whole_units(Decimal(2**31), INT32) is None
    assert whole_units(Decimal("1E+30"), INT64) is None


def test_products_and_sums_are_exact_beyond_the_default_precision() -> None:
    """A product keeps six places, half to even; a sum of 500 large lines loses nothing."""
    assert multiply(Decimal("0.000001"), Decimal("0.5")) == 0
    assert multiply(Decimal("0.000003"), Decimal("0.5")) == Decimal("0.000002")
    largest = Decimal("999999999999999.999999")
    assert add([multiply(largest, Decimal(1))] * 500) == Decimal("499999999999999999.999500")


def test_a_fraction_of_a_piece_counts_as_one() -> None:
    """No line of goods sold by weight shows as nothing."""
    assert [whole_pieces(Decimal(text)) for text in ("0.25", "1", "1.000001", "0")] == [1, 1, 2, 0]
