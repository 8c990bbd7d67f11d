"""Records put together from their parts: the same bytes as the whole record gives, and the same stamp for a source."""

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backbone.store.sources import Source
from schemas.events import AnyEvent, FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.identifiers import normalise_id
from schemas.records import EventRecord, SourceStamp, dump_event, dump_record, load_record
from schemas.statuses import Fulfilment, OrderStatus, Policy, Role
from schemas.storable import text_problem
from schemas.times import TimeMark
from service.dialects.port import ParsedEvent
from service.ingress.stamping import stamp

SECOND = 1_000_000


def is_id(text: str) -> bool:
    """Whether it can be an id."""
    try:
        return normalise_id(text) == text
    except ValueError:
        return False


texts = st.text(max_size=20).filter(lambda text: text_problem(text) is None)
ids = st.text(min_size=1, max_size=20).filter(is_id)
claims: dict[str, st.SearchStrategy[Any]] = {
    "occurred_us": st.none() | st.integers(-SECOND, 2_000_000_000 * SECOND),
    "occurred_mark": st.none() | st.sampled_from(TimeMark),
    "comment": st.none() | texts,
}
details = st.dictionaries(texts, st.none() | texts | st.integers(0, 9) | st.lists(texts, max_size=2), max_size=3)
orders: dict[str, st.SearchStrategy[Any]] = {
    **claims,
    "fulfilment": st.none() | st.sampled_from(Fulfilment),
    "external_ids": st.lists(ids, max_size=2).map(tuple),
    "details": details,
}
events: st.SearchStrategy[AnyEvent] = st.one_of(
    st.builds(
        StatusEvent,
        status=st.sampled_from(OrderStatus),
        reason=st.none() | texts,
        attributes=st.lists(texts, max_size=3).map(tuple),
        **claims,
    ),
    st.builds(FactEvent, code=st.sampled_from(["a", "courier.assigned"]), **claims),
    st.builds(OrderPlaced, parties=st.dictionaries(st.sampled_from(["restaurant", "courier"]), ids), **orders),
    st.builds(OrderAmended, parties=st.dictionaries(st.just("courier"), st.none() | ids), **orders),
)
stamps = st.builds(
    SourceStamp,
    uid=ids,
    name=ids,
    role=st.sampled_from(Role),
    parties=st.none() | st.lists(ids, max_size=2).map(tuple),
    policy=st.sampled_from(Policy),
)


@given(events, stamps, ids, ids, st.none() | st.binary(max_size=20))
def test_parts_give_the_bytes_of_the_whole_record(
    event: AnyEvent, posted_by: SourceStamp, order_id: str, event_id: str, raw: bytes | None
) -> None:
    """Field by field and in the same order, whatever event, names and texts; and it reads back as that record."""
    fields: dict[str, Any] = {
        "event_id": event_id,
        "workspace": "default",
        "order_id": order_id,
        "receipt_digest": "0f" * 16,
        "salt": "a0" * 16,
        "payload": None if raw is None else base64.b64encode(raw).decode(),
        "payload_digest": "1e" * 32,
    }
    whole = EventRecord(event=event, source=posted_by, **fields)
    value = dump_event(event, source=posted_by.model_dump_json().encode(), **fields)
    assert value == dump_record(whole)
    assert load_record(value) == whole


def source(**fields: Any) -> Source:
    """A source that may do anything."""
    usual: dict[str, Any] = {
        "workspace": "default", "uid": "uid-1", "name": "kitchen", "dialect": "native", "role": Role.PLATFORM,
        "parties": None, "policy": Policy.FORWARD, "hold_ms": 1000, "skew_ms": 1000, "rate": 1, "auth": "bearer",
        "url": None, "receipt_key": b"k" * 32, "secrets": (), "token_hashes": (), "created_at": 0, "disabled_at": None,
    }  # fmt: skip
    return Source(**usual | fields)


def test_a_source_that_was_changed_is_stamped_as_it_is_now() -> None:
    """The stamp that is remembered is that of what it was made from: the same uid with another policy has another."""
    event = ParsedEvent("o1", "e1", StatusEvent(status=OrderStatus.READY, occurred_mark=TimeMark.MISSING))

    def posted_by(kept: Source) -> SourceStamp:
        (stamped,) = stamp([event], kept, b"{}", partitions=1)
        record = load_record(stamped.record.value)
        assert isinstance(record, EventRecord)
        return record.source

    before, after = posted_by(source()), posted_by(source(policy=Policy.STRICT, hold_ms=0, parties=("r1",)))
    assert (before.policy, before.hold_ms, before.parties) == (Policy.FORWARD, 1000, None)
    assert (after.policy, after.hold_ms, after.parties) == (Policy.STRICT, 0, ("r1",))
    assert posted_by(source()) == before
