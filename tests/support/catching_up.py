"""Waiting until a site's worker has decided all that lies in its log."""

from __future__ import annotations

from sqlalchemy import select

from backbone.store.tables import offsets
from schemas.topics import RECEIVED
from tests.support.http_face import Site
from tests.support.waiting import wait_until


async def caught_up(site: Site) -> None:
    """Returns when every partition's next offset is its log's end."""

    async def is_caught_up() -> bool:
        bounds = await site.log.bounds(RECEIVED, range(site.settings.partitions))
        async with site.store.reading() as connection:
            rows = await connection.execute(select(offsets.c.partition, offsets.c.next))
            reached = {partition: following for partition, following in rows}  # noqa: C416 - dict() of rows confuses mypy
        return all(reached.get(partition, 0) >= ends.end for partition, ends in bounds.items())

    await wait_until(is_caught_up, timeout=20.0, what="the worker to catch up")
