"""The configured store, when a rebuild fills another one beside it: what it has, and that it is another one.

Filling the configured store by naming it a second time would hold it against itself: stopped where it stands, compared
with what it has, and let go half built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr
from sqlalchemy import make_url, select, text

from backbone.eventlog.port import EventLog
from backbone.settings import Settings
from backbone.store.engine import Store
from backbone.store.kept_settings import REBUILD, RECEIVED_TOPIC_ID, all_kept_within
from backbone.store.migration import check_schema
from backbone.store.opening import STORE_FILE, open_store
from backbone.store.tables import offsets
from consumers.rebuilt import Reached
from schemas.errors import (
    ConfigurationError,
    LogMismatch,
    RebuildRefused,
    SchemaOutdated,
    StoreRebuilding,
    StoreUnavailable,
)
from service.cli.output import print_remark

_POSTGRESQL_PORT = 5432
_SERVER = text("SELECT pg_postmaster_start_time()::text, current_database()")


@dataclass(frozen=True, slots=True)
class ComparedStore:
    """How far the configured store came in every partition, and the log that it was filled from, if it knows."""

    reached: Mapping[int, Reached]
    received_topic_id: str | None

    async def check_log(self, log: EventLog, topic: str) -> None:
        """Raises LogMismatch where its log is another one than this; LogUnavailable."""
        found = await log.identity(topic)
        if None not in {found, self.received_topic_id} and found != self.received_topic_id:
            raise LogMismatch(
                f"the topic {topic} is not the one that the configured store was filled from, so there is nothing to "
                "compare. See docs/runbook.md, log_replaced and log_mismatch"
            )


async def read_compared_store(settings: Settings, target: Settings) -> ComparedStore | None:
    """What the configured store has; None when there is none.

    Raises ConfigurationError when the target is the configured store, StoreRebuilding when that is half built itself,
    RebuildRefused when it has applied nothing.
    """
    if _is_same_place(settings, target):
        raise _same_store()
    if settings.embedded and not (settings.data_dir / STORE_FILE).exists():
        return None
    store = open_store(settings, purpose="service")
    try:
        await check_schema(store)
        await _refuse_same_database(store, target)
        return await _read(store)
    except (SchemaOutdated, StoreUnavailable) as error:
        print_remark(f"the configured store is not there ({error.code}): reading the log to its end")
        return None
    finally:
        await store.close()


async def _read(store: Store) -> ComparedStore:
    async with store.reading() as connection:
        kept = await all_kept_within(connection)
        columns = (offsets.c.partition, offsets.c.next, offsets.c.dead_seq, offsets.c.seq, offsets.c.hash)
        rows = (await connection.execute(select(*columns))).all()
    if REBUILD in kept:
        raise StoreRebuilding(
            "a rebuild of the configured store was begun and has not ended: run `mealtrail rebuild` without --to or "
            "--to-data-dir, which goes on with it. See docs/runbook.md, store_rebuilding"
        )
    found = {row.partition: Reached(row.next, row.dead_seq, row.seq, bytes(row.hash)) for row in rows}
    if not found:
        raise RebuildRefused(
            "the configured store has applied nothing, so there is nothing to compare with: run `mealtrail rebuild` "
            "without --to to fill it"
        )
    return ComparedStore(found, kept.get(RECEIVED_TOPIC_ID))


def _is_same_place(settings: Settings, target: Settings) -> bool:
    """Whether both name one place, as far as names tell."""
    if settings.embedded != target.embedded:
        return False
    if settings.embedded:
        return settings.data_dir.resolve() == target.data_dir.resolve()
    return _place_of(settings.database_url) == _place_of(target.database_url)


def _place_of(url: SecretStr | None) -> tuple[Any, ...]:
    place = make_url("" if url is None else url.get_secret_value())
    return place.host, place.port or _POSTGRESQL_PORT, place.database


async def _refuse_same_database(store: Store, target: Settings) -> None:
    """One database may have several names: asked, it says which it is."""
    if store.dialect != "postgresql" or target.embedded:
        return
    other = open_store(target, purpose="service")
    try:
        answers = [await _database_of(one) for one in (store, other)]
    except StoreUnavailable:  # whoever fills the target says what is wrong with it
        return
    finally:
        await other.close()
    if answers[0] == answers[1]:
        raise _same_store()


async def _database_of(store: Store) -> tuple[str, str]:
    """What tells a database from any other: its name, and when its server began to the microsecond."""
    async with store.reading() as connection:
        started, name = (await connection.execute(_SERVER)).one()
    return str(started), str(name)


def _same_store() -> ConfigurationError:
    return ConfigurationError(
        "--to or --to-data-dir names the configured store itself: leave it out to fill that one, or name an empty "
        "store somewhere else"
    )
