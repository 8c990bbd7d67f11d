"""Many rows in one statement, on both databases.

PostgreSQL takes one array per column through `unnest`: one statement, one plan, whatever the number of rows. SQLite
runs in this process, so one prepared statement stepped over all rows inside one call is the same thing there.
Look-ups by many keys go through `= ANY(array)` and `json_each`. Column types come from the tables, so values need no
casting. Every name in the SQL made here comes from our tables, never from outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, Table
from sqlalchemy.ext.asyncio import AsyncConnection

Rows = Sequence[tuple[Any, ...]]


def _array_type(table: Table, column: str) -> str:
    kind = table.c[column].type
    if isinstance(kind, BigInteger):
        return "bigint[]"
    if isinstance(kind, Integer):
        return "integer[]"
    if isinstance(kind, Boolean):
        return "boolean[]"
    return "bytea[]" if isinstance(kind, LargeBinary) else "text[]"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


@lru_cache(maxsize=256)
def _insert_sql(table: Table, columns: tuple[str, ...], on_conflict: str, dialect: str) -> str:
    if dialect == "postgresql":
        arrays = ", ".join(f"${i}::{_array_type(table, name)}" for i, name in enumerate(columns, 1))
        source = f"SELECT * FROM unnest({arrays})"  # noqa: S608 - names come from our tables
    else:
        source = f"VALUES ({', '.join('?' * len(columns))})"
    sql = f'INSERT INTO "{table.name}" ({_quoted(columns)}) {source}'
    if on_conflict == "fail":
        return sql
    keys = [column.name for column in table.primary_key]
    if on_conflict == "ignore":
        return f"{sql} ON CONFLICT ({_quoted(keys)}) DO NOTHING"
    updates = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in keys)
    return f"{sql} ON CONFLICT ({_quoted(keys)}) DO UPDATE SET {updates}"


async def insert_rows(
    connection: AsyncConnection, table: Table, columns: tuple[str, ...], rows: Rows, *, on_conflict: str = "fail"
) -> None:
    """Inserts rows (tuples in the order of `columns`) in one statement; nothing for no rows.

    `on_conflict` on the primary key: "fail" raises IntegrityError, "ignore" keeps what is there, "update" replaces the
    named columns. No key may occur twice in `rows` with "update". Runs in the caller's transaction.
    """
    if not rows:
        return
    dialect = connection.dialect.name
    sql = _insert_sql(table, columns, on_conflict, dialect)
    if dialect == "postgresql":
        await connection.exec_driver_sql(sql, tuple(list(values) for values in zip(*rows, strict=True)))
    else:
        await connection.exec_driver_sql(sql, list(rows))


@lru_cache(maxsize=256)
def _match_sql(table: Table, fixed: tuple[str, ...], many: str, dialect: str) -> str:
    conditions = []
    for i, name in enumerate(fixed, 1):
        conditions.append(f'"{name}" = ${i}' if dialect == "postgresql" else f'"{name}" = ?')
    if dialect == "postgresql":
        conditions.append(f'"{many}" = ANY(${len(fixed) + 1}::{_array_type(table, many)})')
    else:
        conditions.append(f'"{many}" IN (SELECT value FROM json_each(?))')  # noqa: S608 - names come from our tables
    return " AND ".join(conditions)


async def select_rows(
    connection: AsyncConnection,
    table: Table,
    columns: tuple[str, ...],
    *,
    fixed: Mapping[str, Any],
    many: tuple[str, Sequence[Any]],
) -> list[tuple[Any, ...]]:
    """Rows whose `fixed` columns have the given values and whose `many` column is among the given ones."""
    name, values = many
    if not values:
        return []
    dialect = connection.dialect.name
    where = _match_sql(table, tuple(fixed), name, dialect)
    sql = f'SELECT {_quoted(columns)} FROM "{table.name}" WHERE {where}'  # noqa: S608 - names come from our tables
    listed: Any = list(values) if dialect == "postgresql" else orjson.dumps(list(values)).decode()
    result = await connection.exec_driver_sql(sql, (*fixed.values(), listed))
    return [tuple(row) for row in result.fetchall()]


async def delete_rows(
    connection: AsyncConnection, table: Table, *, fixed: Mapping[str, Any], many: tuple[str, Sequence[Any]]
) -> None:
    """Deletes the rows that `select_rows` with the same arguments would find."""
    name, values = many
    if not values:
        return
    dialect = connection.dialect.name
    where = _match_sql(table, tuple(fixed), name, dialect)
    listed: Any = list(values) if dialect == "postgresql" else orjson.dumps(list(values)).decode()
    await connection.exec_driver_sql(f'DELETE FROM "{table.name}" WHERE {where}', (*fixed.values(), listed))  # noqa: S608
