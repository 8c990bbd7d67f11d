"""`mealtrail migrate`: makes the store's tables and the log's topics, or brings them up to this release."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backbone.eventlog.opening import open_event_log, wanted_topics
from backbone.settings import Settings
from backbone.store.kept_settings import keep_partitions
from backbone.store.migration import migrate as migrate_store
from backbone.store.opening import open_store
from schemas.topics import TopicSpec
from service.cli.data_directory import prepare_data_dir
from service.cli.interrupts import run_command
from service.cli.options import AsJson
from service.cli.output import print_document, print_line, print_remark
from service.cli.parts import command_settings


@dataclass(frozen=True, slots=True)
class Migrated:
    """What is there after a migration."""

    revision: str
    topics: tuple[TopicSpec, ...]


async def migrate_all(settings: Settings, *, store_done: Callable[[str], None] | None = None) -> Migrated:
    """Store first, then the remembered number of partitions, then the topics. Repeatable, also by several at once.

    `store_done` is told the revision once the store is ready, whatever becomes of the topics.

    Raises ConfigurationError (PartitionSetInvalid, TopicMisconfigured), LogUnavailable, StoreUnavailable.
    """
    revision = await migrate_store(settings)
    store = open_store(settings, purpose="service")
    try:
        await keep_partitions(store, settings)
    finally:
        await store.close()
    if store_done is not None:
        store_done(revision)
    specs = await wanted_topics(settings)
    log = open_event_log(settings)
    try:
        await log.start()
        await log.create_topics(specs)
    finally:
        await log.stop()
    return Migrated(revision, specs)


def migrate(as_json: AsJson = False) -> None:
    """Make or upgrade the store's tables and the log's topics; repeatable.

    Uses MEALTRAIL_MIGRATE_DATABASE_URL (the owner role) where it is set. Upgrade consumers first, then the rest.
    """
    settings = command_settings("WARNING")  # what it warns of is about rights
    if settings.embedded:
        prepare_data_dir(settings.data_dir)
    say = print_remark if as_json else print_line
    done = run_command(lambda: migrate_all(settings, store_done=lambda revision: say(f"store   revision {revision}")))
    if as_json:
        print_document(
            {
                "revision": done.revision,
                "topics": [
                    {"name": spec.name, "partitions": spec.partitions, "replication": spec.replication}
                    for spec in done.topics
                ],
            }
        )
        return
    for spec in done.topics:
        print_line(f"topic   {spec.name}, {spec.partitions} partitions, replication {spec.replication}")
