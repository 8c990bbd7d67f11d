"""Records of the received log as the log takes them: key, partition, CloudEvents headers. One way for all who append.

The `ce_id` is the record's event id: a partition remembers that of the last record it applied, and knows by it whether
the log is still the same one.
"""

from __future__ import annotations

from backbone.eventlog.partitioner import partition_of
from backbone.eventlog.port import NewRecord
from schemas.cloudevents import (
    DISCARD_TYPE,
    ERASE_TYPE,
    RECEIVED_TYPE,
    REPLAY_TYPE,
    TICK_TYPE,
    Headers,
    cloudevent_headers,
    header,
)
from schemas.identifiers import normalise_id, record_key
from schemas.records import (
    ApplicableRecord,
    DiscardRecord,
    EraseRecord,
    OperatorRecord,
    ReplayRecord,
    TickRecord,
    dump_record,
)

ActRecord = ReplayRecord | DiscardRecord | EraseRecord
"""A person's act on one order's records."""
_ACT_TYPES = {"replay": REPLAY_TYPE, "discard": DISCARD_TYPE, "erase": ERASE_TYPE}


def to_log(record: ApplicableRecord, partitions: int, *, traceparent: str | None = None) -> NewRecord:
    """The record in the partition of its order, of so many. `traceparent` is carried through as it is."""
    return value_to_log(
        dump_record(record),
        partitions,
        workspace=record.workspace,
        order_id=record.order_id,
        event_id=record.event_id,
        source=None if isinstance(record, OperatorRecord) else record.source.name,
        traceparent=traceparent,
    )


def value_to_log(
    value: bytes,
    partitions: int,
    *,
    workspace: str,
    order_id: str,
    event_id: str,
    source: str | None,
    traceparent: str | None = None,
) -> NewRecord:
    """The same of a record that is written already: from the source of this name, or from a person (None)."""
    key = record_key(workspace, order_id)
    headers = cloudevent_headers(
        event_id=event_id,
        event_type=RECEIVED_TYPE,
        source="/operator" if source is None else f"/sources/{source}",
        subject=order_id,
        traceparent=traceparent,
    )
    return NewRecord(partition_of(key, partitions), key, value, headers)


def act_to_log(record: ActRecord, partitions: int, *, partition: int | None = None) -> NewRecord:
    """A person's act, in the partition of its order, of so many.

    `partition` is for a dead letter whose order could not be read: its act belongs where the dead letter lies.
    """
    key = record_key(record.workspace, record.order_id)
    headers = cloudevent_headers(
        event_id=record.event_id, event_type=_ACT_TYPES[record.kind], source="/operator", subject=record.order_id
    )
    place = partition_of(key, partitions) if partition is None else partition
    return NewRecord(place, key, dump_record(record), headers)


def tick_to_log(tick: TickRecord, partition: int) -> NewRecord:
    """The tick in the partition whose time it makes pass. It belongs to no order and has no key."""
    headers = cloudevent_headers(event_id=tick.event_id, event_type=TICK_TYPE, source="/consumers", subject=None)
    return NewRecord(partition, None, dump_record(tick), headers)


def event_id_of(headers: Headers) -> str | None:
    """The event id in a record's headers, or None where there is none, or one that is no id of ours."""
    try:
        return normalise_id(header(headers, "ce_id") or "")
    except ValueError:
        return None
