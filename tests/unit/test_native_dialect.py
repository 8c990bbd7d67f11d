from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from backbone.store.sources import Source
from schemas.errors import MalformedEvent, Unavailable
from schemas.events import OrderAmended, OrderPlaced, StatusEvent
from schemas.identifiers import record_key
from schemas.records import EventRecord, load_record
from schemas.statuses import Fulfilment, OrderStatus, Policy, Role
from schemas.times import TimeMark
from service.dialects.native import NativeDialect
from service.dialects.port import Inbound, ParsedEvent
from service.ingress.announcements import read_amendment, read_announcement
from service.ingress.stamping import stamp


def source(role: Role = Role.PLATFORM, parties: tuple[str, ...] | None = None) -> Source:
    """A source of this role."""
    return Source(
        workspace="default",
        uid="u1",
        name="s1",
        dialect="native",
        role=role,
        parties=parties,
        policy=Policy.FORWARD,
        hold_ms=5,
        skew_ms=6,
        rate=1000,
        auth="bearer",
        url=None,
        receipt_key=b"r" * 32,
        secrets=(),
        token_hashes=(),
        created_at=0,
        disabled_at=None,
    )


def parse(body: Any, **headers: str) -> ParsedEvent:
    """The one event of a native body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    inbound = Inbound(CIMultiDictProxy(CIMultiDict(named)), raw, "/v1/webhooks/s1", 0)
    (event,) = NativeDialect().parse(inbound, source()).events
    return event


def test_documented_example_is_read_as_it_stands() -> None:
    """The order-status document's own body, with an order id: 1937, offset +00:20, attributes, reason, comment."""
    parsed = parse(
        {
            "order_id": 17873,
            "status": "CANCELLED",
            "attributes": ["paid"],
            "comment": "test",
            "reason": "place.unable_to_call",
            "updatedAt": "1937-01-01T12:00:27.870000+00:20",
            "something": {"else": 1},
        }
    )
    assert parsed.order_id == "17873"
    assert parsed.event == StatusEvent(
        status=OrderStatus.CANCELLED,
        attributes=("paid",),
        comment="test",
        reason="place.unable_to_call",
        occurred_us=-1041337172130000,
    )


def test_marks_tell_a_missing_from_a_naive_time() -> None:
    """No time is MISSING, a time without offset is NAIVE and read as UTC, null counts as left out."""
    assert parse({"order_id": "A", "status": "READY"}).event.occurred_mark is TimeMark.MISSING
    naive = parse({"order_id": "A", "status": "READY", "occurred_at": "2026-01-01T00:00:00"}).event
    assert naive.occurred_mark is TimeMark.NAIVE
    body = {"order_id": "A", "status": "READY", "attributes": None}
    both = parse({**body, "occurred_at": None, "updatedAt": "1970-01-01T00:00:01Z"})
    assert both.event.occurred_us == 1_000_000


def test_header_id_that_cannot_be_an_id_is_named() -> None:
    """An over-long or broken webhook-id is the sender's mistake, told by field."""
    for header in ("x" * 129, "\udcff", " "):
        with pytest.raises(MalformedEvent) as refused:
            parse({"order_id": "A", "status": "READY"}, webhook_id=header)
        assert refused.value.errors[0][0] == "webhook-id"


@given(
    st.dictionaries(
        st.sampled_from(
            ["order_id", "status", "occurred_at", "updatedAt", "comment", "reason", "attributes", "event_id"]
        ),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.lists(st.text(max_size=3), max_size=3),
            st.sampled_from([*OrderStatus, "2026-01-01T00:00:00Z", "1937-01-01T12:00:27.870000+00:20"]),
        ),
    )
)  # fmt: skip
def test_any_body_is_an_event_or_malformed(body: dict[str, Any]) -> None:
    """Whatever stands in the known fields, parsing gives an event that can be stamped, or MalformedEvent."""
    try:
        raw = orjson.dumps(body)
        parsed = parse(raw)
    except (orjson.JSONEncodeError, MalformedEvent):
        return
    (stamped,) = stamp([parsed], source(), raw, partitions=7)
    assert load_record(stamped.record.value).event_id == parsed.event_id


def test_siblings_share_the_first_ones_payload_digest() -> None:
    """The body rides on the first record alone; every record has its own salt and the first one's digest."""
    events = [parse({"order_id": order, "status": "READY", "event_id": "e"}) for order in ("A", "B", "A")]
    stamped = stamp(events, source(), b"raw", partitions=7, traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    records = [load_record(item.record.value) for item in stamped]
    assert all(isinstance(record, EventRecord) for record in records)
    events_in_log = [record for record in records if isinstance(record, EventRecord)]
    assert [record.payload for record in events_in_log] == ["cmF3", None, None]
    assert len({record.payload_digest for record in events_in_log}) == 1
    assert len({record.salt for record in events_in_log}) == 3
    assert events_in_log[0].receipt_digest == events_in_log[2].receipt_digest != events_in_log[1].receipt_digest
    assert stamped[0].record.key == record_key("default", "A")
    assert stamped[0].record.partition == stamped[2].record.partition
    assert ("traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01") in stamped[0].record.headers
    untraced = stamp(events[:1], source(), b"raw", partitions=7, traceparent="nonsense\r\n")
    assert "traceparent" not in dict(untraced[0].record.headers)


def test_nothing_is_stamped_without_a_receipt_key() -> None:
    """All sources whose key does not open would share their receipts."""
    event = parse({"order_id": "A", "status": "READY"})
    with pytest.raises(Unavailable, match="receipt key"):
        stamp([event], replace(source(), receipt_key=b""), b"raw", partitions=7)


def test_announcement_is_read_whole() -> None:
    """Parties, fulfilment, time, external ids and details arrive; money stays text; the derived id is stable."""
    body = orjson.dumps(
        {
            "order_id": 5,
            "restaurant": "R1",
            "courier": 9,
            "fulfilment": "pickup",
            "placed_at": "2026-01-01T00:00:00Z",
            "external_ids": ["X", 7],
            "details": {"total": 12.1, "customer": {"name": "Ann"}},
        }
    )
    parsed = read_announcement(body, source())
    assert isinstance(parsed.event, OrderPlaced)
    assert parsed.event.parties == {"restaurant": "R1", "courier": "9"}
    assert parsed.event.fulfilment is Fulfilment.PICKUP
    assert parsed.event.external_ids == ("X", "7")
    assert parsed.event.details == {"total": "12.1", "customer": {"name": "Ann"}}
    assert read_announcement(body, source()).event_id == parsed.event_id


def test_marketplace_announces_its_own_orders_only() -> None:
    """Left out it is the only one it speaks for; another's name, or a choice of several, is refused on the field."""
    one = source(Role.MARKETPLACE, ("M1",))
    body = {"order_id": "A", "restaurant": "R"}
    placed = read_announcement(orjson.dumps(body), one).event
    assert isinstance(placed, OrderPlaced)
    assert placed.parties["marketplace"] == "M1"
    refusals = [(one, {**body, "marketplace": "M2"}), (source(Role.MARKETPLACE, ("M1", "M2")), body)]
    for who, what in refusals:
        with pytest.raises(MalformedEvent) as refused:
            read_announcement(orjson.dumps(what), who)
        assert refused.value.errors[0][0] == "marketplace"


def test_amendment_is_a_merge_patch() -> None:
    """Null takes a party or a detail off; what is left out stays; nothing at all is refused."""
    body = {"courier": None, "details": {"customer": {"phone": None}, "total": "5"}}
    parsed = read_amendment(orjson.dumps(body), "A", source())
    assert isinstance(parsed.event, OrderAmended)
    assert parsed.event.parties == {"courier": None}
    assert parsed.event.fulfilment is None
    assert parsed.event.details == {"customer": {"phone": None}, "total": "5"}
    assert read_amendment(orjson.dumps(body), "A", source()).event_id != parsed.event_id
    nothing: list[dict[str, Any]] = [{}, {"details": {}}, {"external_ids": []}, {"comment": "x"}]
    for empty in (*nothing, {"fulfilment": None}, {"details": {"x": None}}):
        with pytest.raises(MalformedEvent):
            read_amendment(orjson.dumps(empty), "A", source())
