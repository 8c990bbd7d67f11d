"""Lists of orders go by indexes that hold them in order, however many orders there are."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite

from backbone.store.engine import Store
from backbone.store.listing import OrderFilter, select_page
from backbone.store.views import SEES_ALL
from schemas.identifiers import DEFAULT_WORKSPACE
from tests.support.stores import store

__all__ = ["store"]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (OrderFilter(), "ix_orders_workspace_announced_ms"),
        (OrderFilter(status="COOKING"), "ix_orders_workspace_status"),
    ],
)
async def test_a_page_is_read_from_an_index_in_order(store: Store, wanted: OrderFilter, index: str) -> None:
    """Neither a walk over all orders nor a sort: a status that few orders have is found as fast as any."""
    query = select_page(DEFAULT_WORKSPACE, wanted, SEES_ALL, after=None, limit=51)
    on_postgres = store.dialect == "postgresql"
    dialect = postgresql.dialect() if on_postgres else sqlite.dialect()  # type: ignore[no-untyped-call]
    sql = str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    async with store.reading() as connection:
        if on_postgres:  # small tables are scanned, and this one is empty
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
        explained = await connection.exec_driver_sql(f"EXPLAIN {'' if on_postgres else 'QUERY PLAN '}{sql}")
        plan = " ".join(str(column) for row in explained for column in row)
    assert index in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan
