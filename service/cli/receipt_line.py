"""What became of a callback, in a line for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FINAL = "final"
"""The state of a receipt that has its verdict."""
_WITHOUT_MOVE = frozenset({"rejected", "late"})


def describe_receipt(receipt: Mapping[str, Any], *, order_id: str, source: str) -> str:
    """A receipt in one line: the verdict with what it did, or how far the callback has come."""
    if receipt["state"] == "held":
        waits = "or the event waits for another of its order"
        return f"held: {order_id} is not announced, or names no party of {source}; {waits}"
    if receipt["state"] == "set_aside":
        return "set_aside: deciding it failed, which is no fault of yours; a verdict follows once a person has looked"
    if receipt["state"] != FINAL:
        return f"{receipt['state']}: no verdict yet"
    words = str(receipt["verdict"])
    if receipt.get("reason"):
        words += f": {receipt['reason']}"
    before, after = receipt.get("from_status"), receipt.get("to_status")
    if after and before and before != after:
        words += f"  {before} -> {after}"
    elif after:
        words += f", stays {after}" if receipt["verdict"] in _WITHOUT_MOVE else f"  {after}"
    return words
