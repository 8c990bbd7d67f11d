"""Statements over many rows: worded for the databases that are known, and for no other."""

import pytest

from backbone.store.bulk import _insert_sql, _match_sql, insert_into
from backbone.store.tables import offsets

COLUMNS = ("partition", "next", "last_event_id", "hash")


def test_rows_go_in_as_columns_or_as_values() -> None:
    """One parameter a column on PostgreSQL, one place a column on SQLite; columns that are no key are replaced."""
    updates = '"next" = excluded."next", "last_event_id" = excluded."last_event_id", "hash" = excluded."hash"'
    end = f'ON CONFLICT ("partition") DO UPDATE SET {updates}'
    start = 'INSERT INTO "offsets" ("partition", "next", "last_event_id", "hash")'
    lists = ", ".join(f"json_array_elements_text(${number}::text::json)" for number in (1, 2, 3))
    columns = f"ROWS FROM ({lists}, unnest($4::bytea[])) AS rows(c1, c2, c3, c4)"
    values = f"SELECT c1::integer, c2::bigint, c3::text, c4::bytea FROM {columns}"
    assert _insert_sql(offsets, COLUMNS, "update", "postgresql") == f"{start} {values} {end}"
    assert _insert_sql(offsets, COLUMNS, "update", "sqlite") == f"{start} VALUES (?, ?, ?, ?) {end}"


def test_an_unknown_database_gets_no_other_ones_sql() -> None:
    """Every way into SQL that differs says which database has no wording."""
    for attempt in (
        lambda: insert_into(offsets, "oracle"),
        lambda: _insert_sql(offsets, COLUMNS, "fail", "oracle"),
        lambda: _match_sql(offsets, (), "partition", "oracle"),
    ):
        with pytest.raises(NotImplementedError, match="oracle"):
            attempt()
