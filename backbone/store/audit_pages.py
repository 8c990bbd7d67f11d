"""Going through a table that hangs on the trail: by pages of its key, each page in a snapshot of its own.

So live consumers are not met half-way and no statement takes long. A row must name a partition whose chain was
verified. Rows of partitions whose chains are bad are left out, since the chain says more; a row of any other partition
is a finding by itself: where it lies there is no chain to hold it against.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Row, Select, Table, tuple_
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.audit_report import BadRow, Check
from backbone.store.engine import Store

PAGE_ROWS = 2000
UNREADABLE = (DBAPIError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading a row raises that holds what no row can hold. An outage is none of these: it has been told apart."""
_log = structlog.get_logger("mealtrail.audit")


@dataclass(frozen=True, slots=True)
class StateReport:
    """How many were compared, and the first of each partition that differs."""

    compared: int
    bad: tuple[BadRow, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the keys between which they lie: behind `after` up to `until`; None is the table's own end."""

    rows: Sequence[Row[Any]]
    after: tuple[Any, ...] | None
    until: tuple[Any, ...] | None


@dataclass(frozen=True, slots=True)
class Walk:
    """One table, and what is said of it. `page` selects its key's columns, `partition` and what `differs` reads."""

    table: Table
    check: Check
    page: Select[Any]
    differs: Callable[[AsyncConnection, Row[Any]], Awaitable[BadRow | None]]
    about: Callable[[Row[Any]], str]
    besides: Callable[[AsyncConnection, Page], Awaitable[list[BadRow]]] | None = None


def bad_row(partition: int | None, seq: int | None, problem: str, check: Check) -> BadRow:
    """A finding."""
    return BadRow(partition=partition, seq=seq, problem=problem, check=check)


def unreadable(what: str, error: Exception, check: Check) -> BadRow:
    """The finding that something holds what cannot be read."""
    _log.warning("audit_unreadable", what=what, exc_info=error)
    cause = error.orig if isinstance(error, DBAPIError) else error
    return bad_row(None, None, f"{what} cannot be read: {type(cause).__name__}", check)


async def compare_pages(
    store: Store,
    walk: Walk,
    good: Collection[int],
    bad: Collection[int],
    progress: Callable[[int], None] | None,
) -> StateReport:
    """All rows of the table, and the first difference of each partition. Raises StoreUnavailable."""
    key = tuple_(*walk.table.primary_key.columns)
    names = [column.name for column in walk.table.primary_key.columns]
    compared, after = 0, None
    found: dict[int | None, BadRow] = {}
    while True:
        rest = walk.page if after is None else walk.page.where(key > tuple_(*after))
        try:
            async with store.snapshot() as connection:
                rows = (await connection.execute(rest.limit(PAGE_ROWS))).all()
                is_last = len(rows) < PAGE_ROWS
                until = None if is_last else tuple(getattr(rows[-1], name) for name in names)
                for finding in await _compare(connection, walk, Page(rows, after, until), good, bad, found):
                    found.setdefault(finding["partition"], finding)
        except UNREADABLE as error:
            return StateReport(
                compared, (*found.values(), unreadable(f"the table {walk.table.name}", error, walk.check))
            )
        compared += len(rows)
        if progress is not None:
            progress(len(rows))
        if is_last:
            return StateReport(compared, tuple(found.values()))
        after = until


async def _compare(
    connection: AsyncConnection,
    walk: Walk,
    page: Page,
    good: Collection[int],
    bad: Collection[int],
    known: Collection[int | None],
) -> list[BadRow]:
    findings: list[BadRow] = []
    for row in page.rows:
        if row.partition in bad or row.partition in known:
            continue
        if row.partition not in good:
            problem = f"{walk.about(row)} names the partition {row.partition!r}, of which there is no chain"
            findings.append(bad_row(None, None, problem, walk.check))
        elif (finding := await walk.differs(connection, row)) is not None:
            findings.append(finding)
    if walk.besides is not None:
        findings += await walk.besides(connection, page)
    return findings
