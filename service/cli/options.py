"""Option types that several commands share."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from schemas.statuses import OrderStatus
from schemas.storable import text_problem
from service.cli.durations import parse_duration

_MAX_SECRET_BYTES = 4096
_LONGEST_WAIT_S = 86_400.0
LONGEST_REASON = 500
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]


def duration_option(value: str | int) -> int:
    """A typer parser: a duration in milliseconds, or a usage error that says what is wrong.

    An integer is an option's default (typer parses those too) and already in milliseconds.
    """
    if isinstance(value, int):
        return value
    try:
        return parse_duration(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def seconds_option(value: str | float) -> float:
    """A typer parser: a duration in seconds; here a bare number counts as seconds. At most a day."""
    text = str(value).strip()
    seconds = float(text) if _NUMBER.fullmatch(text) else duration_option(text) / 1000
    if seconds > _LONGEST_WAIT_S:
        raise typer.BadParameter("nobody waits longer than a day")
    return seconds


def status_option(value: str) -> OrderStatus:
    """A typer parser: an order's status in any case, or a usage error that lists them as they are written."""
    try:
        return OrderStatus(value.strip().upper())
    except ValueError as error:
        raise typer.BadParameter(f"{value!r} is none of {', '.join(OrderStatus)}") from error


def checked_reason(text: str) -> str:
    """A person's reason without outer spaces, or a usage error that says what is wrong."""
    why = text.strip()
    if not 1 <= len(why) <= LONGEST_REASON:
        raise typer.BadParameter(f"a reason has 1 to {LONGEST_REASON} characters", param_hint="--reason")
    if problem := text_problem(why):  # bytes that are no UTF-8 come in as lone surrogates
        raise typer.BadParameter(f"the reason {problem}", param_hint="--reason")
    return why


StatusArgument = Annotated[
    OrderStatus, typer.Argument(parser=status_option, metavar="STATUS", help=", ".join(OrderStatus))
]

OptionalStatus = Annotated[
    OrderStatus | None,
    typer.Argument(parser=status_option, metavar="STATUS", help=", ".join(OrderStatus), show_default=False),
]


def read_secret(path: Path, option: str = "--secret-file") -> str:
    """The secret in a file, `-` being standard input; one line end at its end does not count.

    Raises a usage error when it cannot be read, is empty, is not text or is over 4096 bytes.
    """
    try:
        raw = sys.stdin.buffer.read(_MAX_SECRET_BYTES + 1) if str(path) == "-" else _read_file(path)
        text = raw.decode("utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}", param_hint=option) from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter("the secret must be text", param_hint=option) from error
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret.strip() or len(raw) > _MAX_SECRET_BYTES:
        raise typer.BadParameter(f"the secret must have 1 to {_MAX_SECRET_BYTES} bytes", param_hint=option)
    return secret


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_SECRET_BYTES + 1)
