"""`mealtrail rebuild`: makes a lost store again from the log, or a second one to hold against the first."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from backbone.clocks import SYSTEM_CLOCK
from backbone.eventlog.embedded_file import FILE_NAME
from backbone.eventlog.opening import open_event_log, wanted_topics
from backbone.settings import Settings
from backbone.store.acts import record_act
from backbone.store.engine import Store
from backbone.store.kept_settings import keep_partitions
from backbone.store.migration import check_schema, migrate
from backbone.store.opening import STORE_FILE, open_store
from consumers.rebuild import Progress as Show
from consumers.rebuild import Rebuild
from consumers.rebuilt import Rebuilt
from schemas.errors import ConfigurationError, SchemaOutdated
from schemas.identifiers import DEFAULT_WORKSPACE
from service.cli.compared_store import read_compared_store
from service.cli.data_directory import hold_server_lock, prepare_data_dir
from service.cli.exits import ExitCode
from service.cli.interrupts import run_command
from service.cli.options import AsJson
from service.cli.output import mask_url, print_document, print_line
from service.cli.parts import command_settings, login_user
from service.cli.progress import progress_bars
from service.cli.rebuild_report import rebuild_document, rebuild_lines

_POSTGRESQL = "postgresql+asyncpg://"


def rebuild(
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="Fill this empty database instead: postgresql+asyncpg://…"),
    ] = None,
    to_data_dir: Annotated[
        Path | None, typer.Option("--to-data-dir", help="Fill an empty store in this directory instead.")
    ] = None,
    accept_differences: Annotated[
        bool,
        typer.Option("--accept-differences", help="Let consumers work on a store that differs from the outcomes."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the store again from the log, and compare it with the published outcomes.

    Reads the dead-letters topic and the received log from their beginning, appends nothing. Fills the configured store,
    which must be empty, unless told another one. An interrupted run goes on where it stopped. Sources, tokens and
    accounts are not in the log. Exits 1 when the result differs from what was published.
    """
    if to is not None and to_data_dir is not None:
        raise typer.BadParameter("name one store", param_hint="--to, --to-data-dir")
    settings = command_settings("WARNING")
    target = _target_settings(settings, to, to_data_dir)
    if settings.embedded and not (settings.data_dir / FILE_NAME).exists():
        raise ConfigurationError(f"there is no log to rebuild from: {settings.data_dir / FILE_NAME} is missing")
    with ExitStack() as held:
        if target.embedded:
            prepare_data_dir(target.data_dir)
            held.enter_context(hold_server_lock(target.data_dir))
        bars = held.enter_context(progress_bars())
        show = None if bars is None else partial(bars.reach, "records applied")
        done = run_command(lambda: _run(settings, target, accept_differences=accept_differences, show=show))
    where = _name_of(target)
    if as_json:
        print_document(rebuild_document(done, where))
    else:
        for line in rebuild_lines(done, where):
            print_line(line)
    if not done.same:
        raise typer.Exit(ExitCode.NEGATIVE)


def _target_settings(settings: Settings, to: str | None, to_data_dir: Path | None) -> Settings:
    """Settings of the store to fill. The log's settings in them are never used."""
    if to_data_dir is not None:
        return settings.model_copy(
            update={"kafka_bootstrap_servers": None, "database_url": None, "data_dir": to_data_dir}
        )
    if to is None:
        return settings
    if not to.startswith(_POSTGRESQL):
        raise typer.BadParameter(f"a database is named {_POSTGRESQL}…", param_hint="--to")
    return settings.model_copy(
        update={
            "kafka_bootstrap_servers": settings.kafka_bootstrap_servers or "none",
            "database_url": SecretStr(to),
            "migrate_database_url": SecretStr(to),
        }
    )


async def _run(settings: Settings, target: Settings, *, accept_differences: bool, show: Show | None) -> Rebuilt:
    compared = None if target is settings else await read_compared_store(settings, target)
    store = open_store(target, purpose="service")
    log = open_event_log(settings)
    try:
        try:
            await check_schema(store)
        except SchemaOutdated:
            await migrate(target)
        partitions = await keep_partitions(store, settings)
        await log.start()
        await log.check_topics(await wanted_topics(settings), may_have_grown=True)
        if compared is not None:
            await compared.check_log(log, settings.topics.received)
        done = await Rebuild(log, store, settings.topics, partitions).run(
            reached=None if compared is None else compared.reached, accept_differences=accept_differences, progress=show
        )
        if done.let_go:
            await _record_act(store, done)
        return done
    finally:
        await log.stop()
        await store.close()


async def _record_act(store: Store, done: Rebuilt) -> None:
    """On the record of the store itself: who made it, and whether differences were accepted."""
    async with store.transaction() as connection:
        await record_act(
            connection,
            workspace=DEFAULT_WORKSPACE,
            at=SYSTEM_CLOCK.now_ms(),
            actor=login_user(),
            act="store.rebuild",
            subject="store",
            detail={"records": done.records, "resumed": done.resumed, "same_as_published": done.same},
        )


def _name_of(target: Settings) -> str:
    if target.database_url is None:
        return str(target.data_dir / STORE_FILE)
    return mask_url(target.database_url.get_secret_value())
