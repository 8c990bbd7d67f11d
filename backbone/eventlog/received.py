"""Records of the received log as the log takes them: key, partition, CloudEvents headers. One way for all who append.

The `ce_id` is the record's event id: a partition remembers that of the last record it applied, and knows by it whether
the log is still the same one.
"""

from __future__ import annotations

from backbone.eventlog.partitioner import partition_of
from backbone.eventlog.port import NewRecord
from schemas.cloudevents import RECEIVED_TYPE, TICK_TYPE, Headers, cloudevent_headers, header
from schemas.identifiers import record_key
from schemas.records import ApplicableRecord, OperatorRecord, TickRecord, dump_record


def to_log(record: ApplicableRecord, partitions: int, *, traceparent: str | None = None) -> NewRecord:
    """The record in the partition of its order, of so many. `traceparent` is carried through as it is."""
    key = record_key(record.workspace, record.order_id)
    headers = cloudevent_headers(
        event_id=record.event_id,
        event_type=RECEIVED_TYPE,
        source="/operator" if isinstance(record, OperatorRecord) else f"/sources/{record.source.name}",
        subject=record.order_id,
        traceparent=traceparent,
    )
    return NewRecord(partition_of(key, partitions), key, dump_record(record), headers)


def tick_to_log(tick: TickRecord, partition: int) -> NewRecord:
    """The tick in the partition whose time it makes pass. It belongs to no order and has no key."""
    headers = cloudevent_headers(event_id=tick.event_id, event_type=TICK_TYPE, source="/consumers", subject=None)
    return NewRecord(partition, None, dump_record(tick), headers)


def event_id_of(headers: Headers) -> str | None:
    """The event id in a record's headers, or None where no record of ours lies."""
    return header(headers, "ce_id")
