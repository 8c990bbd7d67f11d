"""What a server says when it is up, and how it waits at its start."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from backbone.eventlog.port import EventLog
from backbone.settings import Settings
from backbone.store.engine import Store
from consumers.composition import check_parts
from consumers.patience import patiently
from service.app import Face
from service.cli.output import mask_url, print_line

NOT_INSTALLED = "0+unknown"


def own_version() -> str:
    """The installed release, or `0+unknown` when run from a tree that is not installed."""
    try:
        return version("mealtrail")
    except PackageNotFoundError:
        return NOT_INSTALLED


def summary_lines(settings: Settings, face: Face, command: str) -> list[str]:
    """Mode, real addresses, where the data lies (secrets masked) and how to stop."""
    mode = "embedded default" if settings.embedded else "Kafka and PostgreSQL"
    lines = [f"mealtrail {own_version()} {command}, {mode}", f"  http    {face.public.url}"]
    if face.admin is not None:
        lines.append(f"  admin   {face.admin.url}  (/metrics, /readyz)")
    lines += place_lines(settings)
    lines.append("  stop    Ctrl-C (or SIGTERM); a second one ends at once")
    return lines


def place_lines(settings: Settings) -> list[str]:
    """Where log and store are; passwords never show."""
    if settings.embedded:
        return [f"  data    {settings.data_dir.resolve()}"]
    url = settings.database_url.get_secret_value() if settings.database_url is not None else ""
    return [f"  kafka   {settings.kafka_bootstrap_servers}", f"  store   {mask_url(url)}"]


def print_summary(settings: Settings, face: Face, command: str) -> None:
    """Prints the summary on standard output."""
    for line in summary_lines(settings, face, command):
        print_line(line)


async def start_parts(settings: Settings, log: EventLog, store: Store) -> None:
    """Starts the log and checks that schema, topics and partitions are what this release needs; waits out outages.

    Repeats until log and store answer. Raises ConfigurationError and its kind when waiting does not help.
    """

    async def start() -> None:
        await log.start()
        await check_parts(settings, log, store)

    await patiently(start, doing="start", partition=-1)
