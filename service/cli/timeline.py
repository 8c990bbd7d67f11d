"""An order's history as a timeline that people can read. Works on the documents of the HTTP API."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from backbone.store.dead_letters import DeadLetterView
from backbone.store.readings import HeldView
from schemas.dead_letters import Parks
from schemas.statuses import PARTY_SLOTS
from schemas.times import rfc3339_millis
from service.cli.output import plain_text

_VERDICT_STYLE = {"applied": "green", "rejected": "red", "late": "yellow", "repeated": "dim", "noted": "cyan"}
_HEAD_FIELDS = (*PARTY_SLOTS, "fulfilment")


def held_document(view: HeldView) -> dict[str, Any]:
    """An event that waits, for people and for --json."""
    return {
        "event_id": view.event_id,
        "source": view.source,
        "role": view.role,
        "event_type": view.event_type,
        "reported_status": view.reported_status,
        "fact": view.fact,
        "received_at": rfc3339_millis(view.received_ms),
        "why": view.why,
        "held_until": None if view.until_ms is None else rfc3339_millis(view.until_ms),
    }


def set_aside_document(letter: DeadLetterView) -> dict[str, Any]:
    """An event that was set aside, for people and for --json; `dead-letters show` has the rest."""
    return {
        "pair": str(letter.pair),
        "event_id": letter.event_id,
        "error": letter.error,
        "parks": letter.parks.value,
        "set_aside_at": rfc3339_millis(letter.set_aside_ms),
    }


def print_timeline(console: Console, order: Mapping[str, Any]) -> None:
    """Prints the order's head, what is set aside of it (`set_aside`), its history (`items`), oldest first, and what
    waits for it (`held`).

    Times are UTC, the log's unless said otherwise.
    """
    console.print(_head(order))
    for line in _set_aside(order):
        console.print(line, soft_wrap=True)  # the command in it is there to be copied
    if order["items"]:
        console.print(Text(), _steps(order["items"]), sep="\n")
    if held := order["held"]:
        announced = order["status"] is not None
        if announced:
            console.print(Text(), *_reasons(held), sep="\n")
        console.print(Text(), _waiting(held), sep="\n")


_SCOPES = {
    Parks.ORDER.value: "parked: an event is set aside",
    Parks.SOURCE.value: "an event of a source that has nothing to do with the order is set aside",
    Parks.NOTHING.value: "a person's act is set aside",
}


def _set_aside(order: Mapping[str, Any]) -> list[Text]:
    lines = [
        Text(f"{_SCOPES[letter['parks']]} ({letter['pair']}); mealtrail dead-letters show {letter['pair']}", "yellow")
        for letter in order.get("set_aside", ())
    ]
    if order.get("more_set_aside"):
        lines.append(
            Text(f"and more; mealtrail dead-letters list --order {plain_text(order['order_id']).plain}", "yellow")
        )
    return lines


_WHY = {
    "foreign": "held: the order names no party of the source",
    "ahead": "held: ahead of the order, and the source is strict",
    "parked": "waiting: an event is set aside",
}


def _reasons(held: Sequence[Mapping[str, Any]]) -> list[Text]:
    counts = Counter(event["why"] for event in held)
    return [Text(f"{_events(counts[why])} {words}", style="yellow") for why, words in _WHY.items() if counts[why]]


def _events(count: int) -> str:
    return f"{count} event" if count == 1 else f"{count} events"


def _waiting(held: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("received", no_wrap=True)
    table.add_column("held until", no_wrap=True)
    table.add_column("reported", overflow="fold")
    table.add_column("by", overflow="fold")
    for event in held:
        until = "without end" if event["held_until"] is None else _moment(event["held_until"])
        reported = plain_text(str(event["reported_status"] or event["fact"] or event["event_type"]))
        table.add_row(_moment(event["received_at"]), until, reported, plain_text(str(event["source"])))
    return table


def _head(order: Mapping[str, Any]) -> RenderableType:
    head = Text("Order ")
    head.append(plain_text(str(order["order_id"])).plain, style="bold")
    if order["status"] is None:
        count = len(order["held"])
        head.append("  not announced yet")
        if count:
            head.append(f"; {_events(count)} {'waits' if count == 1 else 'wait'} for it")
        return head
    head.append("  ")
    head.append(str(order["status"]), style="bold")
    head.append(f"  since {_moment(order['updated_at'])}")
    named = [f"{slot} {plain_text(str(order[slot])).plain}" for slot in _HEAD_FIELDS if order.get(slot)]
    if named:
        head.append("\n" + ", ".join(named), style="dim")
    external = order.get("external_ids") or ()
    if external:
        head.append("\nalso known as " + ", ".join(plain_text(str(e)).plain for e in external), style="dim")
    if order.get("erased"):
        head.append("\npersonal data was erased; the order takes none again", style="dim")
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
    decided, received = item.get("decided_at"), item["received_at"]
    if decided and decided > received:  # the same digits everywhere, so text compares as time does
        day, _, clock = _moment(decided).partition(" ")
        until = clock if _moment(received).startswith(day) else f"{day} {clock}"
        text.append(f"\nheld until {until}", style="dim")
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
