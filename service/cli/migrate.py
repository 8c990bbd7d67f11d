"""`mealtrail migrate`: makes the store's tables and the log's topics, or brings them up to this release."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from backbone.eventlog.opening import open_event_log, replication_of
from backbone.settings import Settings
from backbone.store.engine import open_store
from backbone.store.migration import migrate as migrate_store
from schemas.topics import TopicSpec, topic_specs
from service.cli.data_directory import prepare_data_dir
from service.cli.options import AsJson
from service.cli.output import print_document, print_line
from service.cli.parts import command_settings, known_partitions


@dataclass(frozen=True, slots=True)
class Migrated:
    """What is there after a migration."""

    revision: str
    topics: tuple[TopicSpec, ...]


async def migrate_all(settings: Settings) -> Migrated:
    """Store first, then the remembered number of partitions, then the topics. Repeatable, also by several at once.

    Raises ConfigurationError (PartitionSetInvalid, TopicMisconfigured), LogUnavailable, StoreUnavailable.
    """
    revision = await migrate_store(settings)
    store = open_store(settings, purpose="service")
    try:
        partitions = await known_partitions(store, settings)
    finally:
        await store.close()
    replication, min_insync = await replication_of(settings)
    specs = topic_specs(
        prefix=settings.topic_prefix, partitions=partitions, replication=replication, min_insync=min_insync
    )
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
    settings = command_settings()
    if settings.embedded:
        prepare_data_dir(settings.data_dir)
    done = asyncio.run(migrate_all(settings))
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
    print_line(f"store   revision {done.revision}")
    for spec in done.topics:
        print_line(f"topic   {spec.name}, {spec.partitions} partitions, replication {spec.replication}")
