"""Money and quantities as the documented APIs write them. Stored once, as decimals; every API renders its own type.

Two rules, and no other rounding of money anywhere:
 - a JSON number (vendor API) is the exact decimal, at most six places, in digits without an exponent. Stored amounts
   have no more places; a product of price and quantity is rounded half to even at the sixth.
 - an integer (tracking API) counts whole units of the currency, rounded half to even; one that does not fit its
   documented width is left out rather than wrapped or cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, ROUND_UP, Context, Decimal

import orjson

INT32 = range(-(1 << 31), 1 << 31)
INT64 = range(-(1 << 63), 1 << 63)
ZERO = Decimal(0)

_PLACES = Decimal("0.000001")
# A line is a price below 10^15 times a quantity below 10^15, an order at most 500 of them: 34 digits and 12 places.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)


def multiply(price: Decimal, quantity: Decimal) -> Decimal:
    """Price times quantity, rounded half to even at six places."""
    return _EXACT.quantize(_EXACT.multiply(price, quantity), _PLACES)


def add(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    total = ZERO
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


def decimal_text(value: Decimal) -> str:
    """The shortest decimal text: `12.5`, `100`, `0`; never an exponent, never a negative zero."""
    return format(_EXACT.normalize(value), "f") if value else "0"


def json_number(value: Decimal) -> orjson.Fragment:
    """A JSON number with exactly this decimal's digits, which a binary float could not hold."""
    return orjson.Fragment(decimal_text(value))


def whole_units(value: Decimal, width: range) -> int | None:
    """Whole units of the currency, rounded half to even; None where they do not fit the width."""
    units = int(_EXACT.to_integral_value(value))
    return units if units in width else None


def whole_pieces(quantity: Decimal) -> int:
    """A quantity as an integer: a fraction (goods sold by weight) counts as one more, so that no line shows as none."""
    return int(quantity.to_integral_value(rounding=ROUND_UP))
