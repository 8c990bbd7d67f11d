"""Many rows in one statement, on both databases.

PostgreSQL takes one parameter per column: one statement, one plan, whatever the number of rows. The parameter is the
column as a JSON array, since the driver looks at every value of a PostgreSQL array, and that took five times as long as
all the rest of sending; bytes, which JSON has none of, go as an array. SQLite runs in this process, so one prepared
statement stepped over all rows inside one call is the same thing there.
Look-ups by many keys go through `= ANY(array)` and `json_each`. Column types come from the tables, so values need no
casting. Every name in the SQL made here comes from our tables, never from outside.
A database that has no wording here is refused, never addressed in another's SQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import orjson
from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Rows = Sequence[tuple[Any, ...]]


class _Wording(Protocol):
    """How one database is told of many rows: pieces of SQL, and the parameters that go with them."""

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """SQLAlchemy's INSERT with ON CONFLICT."""

    def rows(self, table: Table, columns: Sequence[str]) -> str:
        """The rows of an INSERT, after its list of columns."""

    def row_parameters(self, table: Table, columns: Sequence[str], rows: Rows) -> Any:
        """The parameters of `rows`."""

    def place(self, number: int) -> str:
        """The place of the parameter of that number, from 1."""

    def among(self, table: Table, column: str, number: int) -> str:
        """The condition that a column is one of the values listed in that parameter."""

    def listed(self, values: Sequence[Any]) -> Any:
        """The parameter of `among`."""


class _PostgreSQL:
    def insert(self, table: Table) -> postgresql.Insert:
        return postgresql.insert(table)

    def rows(self, table: Table, columns: Sequence[str]) -> str:
        kinds = [_type(table, name) for name in columns]
        lists = ", ".join(_elements(number, kind) for number, kind in enumerate(kinds, 1))
        names = ", ".join(f"c{number}" for number in range(1, len(kinds) + 1))
        values = ", ".join(f"c{number}::{kind}" for number, kind in enumerate(kinds, 1))
        return f"SELECT {values} FROM ROWS FROM ({lists}) AS rows({names})"  # noqa: S608 - names come from our tables

    def row_parameters(self, table: Table, columns: Sequence[str], rows: Rows) -> Any:
        return tuple(
            list(values) if isinstance(table.c[name].type, LargeBinary) else orjson.dumps(values).decode()
            for name, values in zip(columns, zip(*rows, strict=True), strict=True)
        )

    def place(self, number: int) -> str:
        return f"${number}"

    def among(self, table: Table, column: str, number: int) -> str:
        return f'"{column}" = ANY(${number}::{_type(table, column)}[])'

    def listed(self, values: Sequence[Any]) -> Any:
        return list(values)


class _SQLite:
    def insert(self, table: Table) -> sqlite.Insert:
        return sqlite.insert(table)

    def rows(self, _table: Table, columns: Sequence[str]) -> str:
        return f"VALUES ({', '.join('?' * len(columns))})"

    def row_parameters(self, _table: Table, _columns: Sequence[str], rows: Rows) -> Any:
        return list(rows)

    def place(self, _number: int) -> str:
        return "?"

    def among(self, _table: Table, column: str, _number: int) -> str:
        return f'"{column}" IN (SELECT value FROM json_each(?))'  # noqa: S608 - names come from our tables

    def listed(self, values: Sequence[Any]) -> Any:
        return orjson.dumps(list(values)).decode()


_WORDINGS: Mapping[str, _Wording] = {"postgresql": _PostgreSQL(), "sqlite": _SQLite()}


def _wording(dialect: str) -> _Wording:
    try:
        return _WORDINGS[dialect]
    except KeyError:
        raise NotImplementedError(f"no statements are worded for the database {dialect!r}") from None


def _type(table: Table, column: str) -> str:
    kind = table.c[column].type
    if isinstance(kind, BigInteger):
        return "bigint"
    if isinstance(kind, Integer):
        return "integer"
    if isinstance(kind, Boolean):
        return "boolean"
    return "bytea" if isinstance(kind, LargeBinary) else "text"


def _elements(number: int, kind: str) -> str:
    """The values of one column, out of the parameter of that number."""
    return f"unnest(${number}::bytea[])" if kind == "bytea" else f"json_array_elements_text(${number}::text::json)"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def insert_into(table: Table, dialect: str) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that has ON CONFLICT, for the database of that name. Raises NotImplementedError for an unknown one."""
    return _wording(dialect).insert(table)


@lru_cache(maxsize=256)
def _insert_sql(table: Table, columns: tuple[str, ...], on_conflict: str, dialect: str) -> str:
    sql = f'INSERT INTO "{table.name}" ({_quoted(columns)}) {_wording(dialect).rows(table, columns)}'
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
    await connection.exec_driver_sql(sql, _wording(dialect).row_parameters(table, columns, rows))


@lru_cache(maxsize=256)
def _match_sql(table: Table, fixed: tuple[str, ...], many: str, dialect: str) -> str:
    wording = _wording(dialect)
    conditions = [f'"{name}" = {wording.place(number)}' for number, name in enumerate(fixed, 1)]
    return " AND ".join([*conditions, wording.among(table, many, len(fixed) + 1)])


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
    result = await connection.exec_driver_sql(sql, (*fixed.values(), _wording(dialect).listed(values)))
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
    sql = f'DELETE FROM "{table.name}" WHERE {where}'  # noqa: S608 - names come from our tables
    await connection.exec_driver_sql(sql, (*fixed.values(), _wording(dialect).listed(values)))
