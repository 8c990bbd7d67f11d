"""An order's history as a timeline that people can read. Works on the documents of the HTTP API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.output import plain_text

_VERDICT_STYLE = {"applied": "green", "rejected": "red", "late": "yellow", "repeated": "dim", "noted": "cyan"}
_PARTIES = ("restaurant", "courier", "marketplace", "fulfilment")


def print_timeline(console: Console, order: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> None:
    """Prints the order's head and its history, oldest first; times are UTC, the log's unless said otherwise."""
    console.print(Group(_head(order), Text(), _steps(items)))


def _head(order: Mapping[str, Any]) -> RenderableType:
    head = Text("Order ")
    head.append(plain_text(str(order["order_id"])).plain, style="bold")
    head.append("  ")
    head.append(str(order["status"]), style="bold")
    head.append(f"  since {_moment(order['updated_at'])}")
    named = [f"{slot} {plain_text(str(order[slot])).plain}" for slot in _PARTIES if order.get(slot)]
    if named:
        head.append("\n" + ", ".join(named), style="dim")
    external = order.get("external_ids") or ()
    if external:
        head.append("\nalso known as " + ", ".join(plain_text(str(e)).plain for e in external), style="dim")
    return head


def _steps(items: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("received", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("step", overflow="fold")
    table.add_column("by", overflow="fold")
    day = ""
    for item in items:
        date, _, clock = _moment(item["received_at"]).partition(" ")
        if date != day:
            day = date
            table.add_row(Text(date, style="dim"))
        verdict = str(item["verdict"])
        by = plain_text(str(item["source"]))
        if item.get("role") and item["role"] != item["source"]:
            by.append(f"\n{item['role']}", style="dim")
        table.add_row(clock, Text(verdict, style=_VERDICT_STYLE.get(verdict, "")), _step(item), by)
    return table


def _step(item: Mapping[str, Any]) -> Text:
    """What was reported and what it did, with the sender's own time and words below."""
    before, after, reported = item.get("from_status"), item.get("to_status"), item.get("reported_status")
    if item["verdict"] == "applied":
        text = Text(f"{before} → {after}" if before and before != after else str(after or reported or ""))
        if item.get("inferred"):
            text.append(" (inferred)", style="dim")
    else:
        text = Text(str(reported or item.get("fact") or item.get("event_type") or "event"))
        if item.get("reason"):
            text.append(f": {str(item['reason']).replace('_', ' ')}")
        if after:
            text.append(f", stays {after}", style="dim")
    if item.get("inferred"):
        return text
    if item.get("occurred_at"):
        mark = f" ({item['occurred_mark']})" if item.get("occurred_mark") else ""
        text.append(f"\nhappened {_moment(item['occurred_at'])}{mark}", style="dim")
    for name in ("comment", "cancel_reason"):
        if item.get(name):
            text.append("\n")
            text.append(f"{name.replace('_', ' ')}: ", style="dim")
            text.append_text(plain_text(str(item[name])))
    return text


def _moment(text: str) -> str:
    """`2026-11-21T21:07:15.123456Z` as `2026-11-21 21:07:15.123`."""
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
