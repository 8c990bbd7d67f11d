"""Copies of a filled database: filling takes seconds or minutes, copying its files a moment."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.durable_postgres import plain_url
from tests.support.postgres_databases import OWNER, DatabaseUrls, drop_database


@contextmanager
def copied_database(admin_url: str, template: DatabaseUrls) -> Iterator[DatabaseUrls]:
    """A database like the template, rows and rights included, dropped at the end. Nobody may be connected to the
    template meanwhile. Blocks shortly.
    """
    name = f"mealtrail_{uuid.uuid4().hex[:12]}"
    copy = DatabaseUrls(_renamed(template.owner, name), _renamed(template.runtime, name))
    statement = f"CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {_name(template.owner)}"
    with ThreadPoolExecutor(1) as pool:  # a loop may run in this thread already
        pool.submit(lambda: asyncio.run(_execute(admin_url, statement))).result()
    try:
        yield copy
    finally:
        drop_database(admin_url, copy)


def _name(url: str) -> str:
    return urlsplit(url).path.lstrip("/")


def _renamed(url: str, database: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


async def _execute(admin_url: str, statement: str) -> None:
    connection = await asyncpg.connect(plain_url(admin_url), timeout=10)
    try:
        await connection.execute(statement)
    finally:
        await connection.close(timeout=10)
