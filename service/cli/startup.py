"""What a server says when it is up, and how it waits at its start."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from backbone.settings import Settings
from service.app import Face
from service.cli.output import mask_url, print_line

NOT_INSTALLED = "0+unknown"
STOP_LINE = "  stop    Ctrl-C (or SIGTERM); a second one ends at once"


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
        lines.append(admin_line(face.admin.url))
    return [*lines, *place_lines(settings), STOP_LINE]


def admin_line(*urls: str) -> str:
    """Where metrics and health are."""
    return f"  admin   {', '.join(urls)}  (/metrics, /readyz)"


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
