"""Canonical bytes, identifiers and times: what has to be the same everywhere and for ever."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.canonical import GENESIS, canonical_json, chain_hash, content_digest, payload_digest
from schemas.events import EVENT_TYPES, AnyEvent, FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.identifiers import MAX_ID_LENGTH, ReceiptId, normalise_id, receipt_digest, record_key
from schemas.outcomes import Outcome, TrailRow, hash_row, hashed_fields, outcome_document
from schemas.records import digest_event, dump_record, load_record
from schemas.statuses import Fulfilment, OrderStatus, Role
from schemas.times import PLAUSIBLE_FROM_US, TimeMark, is_plausible, micros, rfc3339_micros, rfc3339_millis
from schemas.verdicts import Reason, Verdict
from tests.support.received import event_record, placed, source, status

BOUNDED = settings(max_examples=200, deadline=None, database=None, derandomize=True)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)
MILLIS = st.integers(0, 4_000_000_000_000)
CLAIMS = st.none() | st.integers(-60_000_000_000_000_000, 200_000_000_000_000_000)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A value or none."""
    return st.none() | values


ROWS = st.builds(
    TrailRow,
    partition=st.integers(0, 200),
    seq=st.integers(1, 2**53 - 1),
    workspace=st.just("default"),
    order_id=TEXT,
    event_id=TEXT,
    event_type=st.sampled_from(EVENT_TYPES),
    source=TEXT,
    source_uid=TEXT,
    role=st.sampled_from(Role),
    verdict=st.sampled_from(Verdict),
    reason=maybe(st.sampled_from(Reason)),
    reported_status=maybe(st.sampled_from(OrderStatus)),
    fact=maybe(TEXT),
    from_status=maybe(st.sampled_from(OrderStatus)),
    to_status=maybe(st.sampled_from(OrderStatus)),
    occurred_us=CLAIMS,
    occurred_mark=maybe(st.sampled_from(TimeMark)),
    received_ms=MILLIS,
    decided_ms=MILLIS,
    previous_received_ms=maybe(MILLIS),
    previous_occurred_us=CLAIMS,
    inferred=st.booleans(),
    foreign=st.booleans(),
    restaurant=maybe(TEXT),
    courier=maybe(TEXT),
    marketplace=maybe(TEXT),
    fulfilment=maybe(st.sampled_from(Fulfilment)),
    offset=st.integers(0, 2**53 - 1),
    payload_digest=st.binary(min_size=32, max_size=32).map(bytes.hex),
)

# --- canonical JSON and hashes ----------------------------------------------------------------------------------------


@BOUNDED
@given(ROWS, st.binary(min_size=32, max_size=32))
def test_outcome_documents_have_the_bytes_of_rfc_8785(row: TrailRow, row_hash: bytes) -> None:
    """Ours are made by orjson with sorted keys; the reference implementation gives the same."""
    plain = {
        key: str(value) if isinstance(value, str) else value for key, value in outcome_document(row, row_hash).items()
    }
    assert canonical_json(outcome_document(row, row_hash)) == rfc8785.dumps(plain)


@BOUNDED
@given(
    st.dictionaries(st.text(st.characters(max_codepoint=127), max_size=5), st.integers(-(2**53) + 1, 2**53 - 1) | TEXT)
)
def test_ascii_keys_and_no_floats_are_enough(document: dict[str, int | str]) -> None:
    """Under the limits that the module names, any document has the reference's bytes."""
    assert canonical_json(document) == rfc8785.dumps(document)


@BOUNDED
@given(ROWS, st.binary(min_size=32, max_size=32))
def test_a_row_hash_covers_the_hash_before_it_and_every_field(row: TrailRow, previous: bytes) -> None:
    """It is plain SHA-256 of both; anyone can compute it again."""
    document = outcome_document(row, hash_row(previous, row))
    published = document.pop("hash")
    assert published == hashlib.sha256(previous + canonical_json(document)).hexdigest()
    assert hash_row(previous, row._replace(seq=row.seq + 1)) != hash_row(previous, row)
    assert hash_row(previous, row._replace(foreign=not row.foreign)) != hash_row(previous, row)


@BOUNDED
@given(ROWS)
def test_an_outcome_is_what_its_schema_says(row: TrailRow) -> None:
    """Every field of the document is in the model and the other way round."""
    if row.occurred_us is not None or row.previous_occurred_us is not None:
        row = row._replace(occurred_us=0, previous_occurred_us=0)
    if row.fact is not None:
        row = row._replace(fact="eta")
    document = outcome_document(row, GENESIS)
    assert Outcome.model_validate(document).model_dump(mode="json") == document
    assert set(hashed_fields(row)) == set(Outcome.model_fields) - {"hash"}


def test_a_known_chain_of_two_rows() -> None:
    """The bytes must never change: trails that exist hang on them."""
    first = chain_hash(GENESIS, {"seq": 1, "verdict": "applied", "reason": None})
    expected = hashlib.sha256(bytes(32) + b'{"reason":null,"seq":1,"verdict":"applied"}').digest()
    assert first == expected
    assert chain_hash(first, {"seq": 2}) == hashlib.sha256(expected + b'{"seq":2}').digest()


def test_a_payload_digest_needs_its_salt() -> None:
    """The same payload under another salt gives another digest."""
    assert payload_digest(b"salt", b"{}") == hashlib.sha256(b"salt{}").hexdigest()
    assert payload_digest(b"tlas", b"{}") != payload_digest(b"salt", b"{}")


# --- records and digests of events ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (status("READY"), status("COOKING")),
        (status("READY", 1), status("READY", 2)),
        (status("READY"), status("READY", comment="hot")),
        (status("READY"), status("READY", attributes=("paid",))),
        (placed(restaurant="R1"), placed(restaurant="R2")),
        (OrderPlaced(fulfilment=Fulfilment.PICKUP), OrderAmended(fulfilment=Fulfilment.PICKUP)),
        (OrderAmended(parties={"courier": None}), OrderAmended()),
    ],
)
def test_other_content_has_another_digest(one: AnyEvent, other: AnyEvent) -> None:
    """Whatever the sender said differently, an amendment that takes a party off included."""
    assert digest_event(one) != digest_event(other)


def test_the_digest_of_an_event_outlives_new_optional_fields() -> None:
    """Defaults are left out, so that a field added later does not make every repeat look like other content."""
    assert digest_event(StatusEvent(status=OrderStatus.READY)) == content_digest({"type": "status", "status": "READY"})
    assert digest_event(FactEvent(code="eta")) == content_digest({"type": "fact", "code": "eta"})


def test_a_record_read_back_is_the_record_written() -> None:
    """From the log come the same event, source and digest, operators' records included."""
    for by in (source("courier", "C1", hold_ms=5), source("operator", uid="ann")):
        record = event_record("Ж-1", status("DELIVERED", 1_790_000_000_000_001), by, event_id="e")
        loaded = load_record(dump_record(record))
        assert loaded == record


# --- identifiers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_id", "known_as"),
    [
        ("A-1", "A-1"),
        (17873, "17873"),
        ("017873", "017873"),
        ("  x y\u00a0", "x y"),
        (-5, "-5"),
        (0, "0"),
        ("Заказ", "Заказ"),
    ],
)
def test_ids_as_they_are_known(given_id: object, known_as: str) -> None:
    """Integers become text, outer spaces go, nothing else changes."""
    assert normalise_id(given_id) == known_as


@pytest.mark.parametrize(
    "junk",
    [
        *(None, True, False, 1.5, [], {}, b"x", "", "   ", "a\x00b", "a\nb", "a\x7fb", "a\x85b", "\ud800", "a\udfff"),
        *("x" * (MAX_ID_LENGTH + 1), 1 << 63, -(1 << 63)),
    ],
)
def test_what_is_no_id(junk: object) -> None:
    """Always ValueError, which pydantic turns into a field error."""
    with pytest.raises(ValueError, match="must"):
        normalise_id(junk)


@BOUNDED
@given(st.text(max_size=MAX_ID_LENGTH + 2) | st.integers())
def test_an_id_once_normalised_stays_as_it_is(value: object) -> None:
    """Otherwise a replayed record would name another order."""
    try:
        known = normalise_id(value)
    except ValueError:
        return
    assert normalise_id(known) == known
    assert 1 <= len(known) <= MAX_ID_LENGTH
    assert record_key("default", known).decode() == f"default:{known}"


DIGESTS = st.binary(min_size=16, max_size=16).map(bytes.hex)


@BOUNDED
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**63 - 1), DIGESTS)
def test_a_receipt_id_read_back(partition: int, offset: int, digest: str) -> None:
    """URL-safe text of always the same length."""
    receipt_id = ReceiptId(partition, offset, digest)
    text = str(receipt_id)
    assert ReceiptId.parse(text) == receipt_id
    assert len(text) == 39
    assert text.replace("-", "").replace("_", "").isalnum()


REAL = str(ReceiptId(3, 77, "ab" * 16))


@pytest.mark.parametrize(
    "junk",
    [
        *("", "x", "=", "====", "A" * 39, "_" * 39, "\ud800" * 39),
        *(REAL[:-1], REAL + "A", REAL + "=", REAL + "\n", " " + REAL, REAL[:-1] + chr(ord(REAL[-1]) + 1)),
        *(REAL[:5] + "é" + REAL[6:], REAL[:20] + "*" + REAL[20:], REAL[:10] + "+" + REAL[11:]),
    ],
)
def test_junk_is_no_receipt_id(junk: str) -> None:
    """Neither another length or alphabet, nor a version to come, nor a second spelling of a real one."""
    with pytest.raises(ValueError, match="not a receipt id"):
        ReceiptId.parse(junk)


@BOUNDED
@given(st.text(max_size=60) | st.text("ABCabc019-_=", min_size=36, max_size=42))
def test_whatever_text_is_parsed_or_refused(text: str) -> None:
    """Only what `str` would have given is taken; nothing else but ValueError is raised."""
    try:
        receipt_id = ReceiptId.parse(text)
    except ValueError:
        return
    assert str(receipt_id) == text


def test_a_receipt_digest_keeps_order_and_event_apart() -> None:
    """`AB` + `C` is not `A` + `BC`, and another key gives another digest."""
    digests = {receipt_digest(key, *pair) for key in (b"k", b"l") for pair in (("AB", "C"), ("A", "BC"), ("", "ABC"))}
    assert len(digests) == 6


# --- times ------------------------------------------------------------------------------------------------------------


@BOUNDED
@given(st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29)), st.integers(-1439, 1439))  # noqa: DTZ001
def test_times_are_exact_to_the_microsecond(naive: datetime, offset_minutes: int) -> None:
    """Any aware datetime, any offset, before and after 1970: the text names the same moment."""
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    text = rfc3339_micros(micros(moment))
    assert datetime.fromisoformat(text) == moment
    assert len(text) == 27
    assert text.endswith("Z")


def test_the_specifications_own_time() -> None:
    """An offset of twenty minutes, 33 years before the epoch."""
    us = micros(datetime.fromisoformat("1937-01-01T12:00:27.870000+00:20"))
    assert rfc3339_micros(us) == "1937-01-01T11:40:27.870000Z"
    assert not is_plausible(us, 1_790_000_000_000)


def test_millis_keep_their_three_digits() -> None:
    """Log time is whole milliseconds and is written so."""
    assert rfc3339_millis(0) == "1970-01-01T00:00:00.000Z"
    assert rfc3339_millis(1_790_000_000_007) == "2026-09-21T14:13:20.007Z"


def test_the_edges_of_what_may_be_believed() -> None:
    """From 2000 on, up to exactly a day ahead of the log."""
    assert micros(datetime(2000, 1, 1, tzinfo=UTC)) == PLAUSIBLE_FROM_US
    now_ms = 1_790_000_000_000
    day_us = 24 * 3600 * 1_000_000
    assert is_plausible(PLAUSIBLE_FROM_US, now_ms)
    assert not is_plausible(PLAUSIBLE_FROM_US - 1, now_ms)
    assert is_plausible(now_ms * 1000 + day_us, now_ms)
    assert not is_plausible(now_ms * 1000 + day_us + 1, now_ms)
