"""Orders' personal details as announcements and amendments merge them. No decision reads them, but for their size."""

from __future__ import annotations

import orjson

from consumers.ledger import Ledger
from consumers.ledger_entries import Details
from consumers.lifecycle import OrderState
from consumers.logged_event import LoggedEvent
from schemas.details import MAX_DETAILS_BYTES, MAX_EXTERNAL_IDS, fill_missing, merge_patch


def is_too_large(ledger: Ledger, logged: LoggedEvent) -> bool:
    """Whether the order would hold more details or external ids than it may, if this event were taken."""
    offered = _offered(ledger, logged)
    if offered is None:
        return False
    return len(offered.external_ids) > MAX_EXTERNAL_IDS or len(orjson.dumps(offered.content)) > MAX_DETAILS_BYTES


def take_details(ledger: Ledger, logged: LoggedEvent, after: OrderState) -> None:
    """Merges what an accepted announcement or amendment tells into the order's details. Former parties' is left out."""
    offered = _offered(ledger, logged)
    if offered is None or not after.names(logged.record.source):
        return
    key, present = logged.order_key, ledger.details.get(logged.order_key, Details())
    ledger.changes.external_ids.update((key[0], new, key[1]) for new in offered.external_ids - present.external_ids)
    if offered.content != present.content:
        ledger.changes.details.add(key)
    ledger.details[key] = offered


def _offered(ledger: Ledger, logged: LoggedEvent) -> Details | None:
    """The order's details as they would be with this announcement or amendment; None for any other event."""
    event = logged.record.event
    if event.type != "announcement" and event.type != "amendment":  # noqa: PLR1714 - mypy narrows by this form alone
        return None
    present = ledger.details.get(logged.order_key, Details())
    if present.erased:
        return present
    merge = merge_patch if event.type == "amendment" else fill_missing
    external_ids = present.external_ids.union(event.external_ids)
    return Details(merge(present.content, event.details), external_ids=external_ids)
