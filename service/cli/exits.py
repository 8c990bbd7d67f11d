"""What the exit codes mean, and how an error becomes one line and a code.

Scripts may rely on the codes; they are listed in `mealtrail --help` and in docs/cli.md.
"""

from __future__ import annotations

import os
import sys
import traceback
from enum import IntEnum

from schemas.errors import (
    AnchorRefused,
    ConfigurationError,
    ConflictingName,
    DefinitionInvalid,
    LogUnusable,
    MalformedEvent,
    MealtrailError,
    NotFound,
    PartitionStopped,
    RequestRefused,
    StoreRefused,
    TrailBroken,
    Unavailable,
)


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    NEGATIVE = 1
    """It worked and the answer is no: the trail does not verify, a move was rejected."""
    USAGE = 2
    """The command line itself is wrong."""
    CONFIGURATION = 3
    """Settings or set-up cannot work; trying again does not help."""
    UNAVAILABLE = 4
    """The log, the store or the server does not answer; trying again may help."""
    NOT_FOUND = 5
    """There is no such source, token or order."""
    CONFLICT = 6
    """The name is taken."""
    REFUSED = 7
    """What was sent cannot be taken: malformed, or not allowed."""
    ANCHOR = 8
    """An anchor cannot be used: unreadable, forged, its key unknown, another deployment's, of the future."""
    INTERNAL = 70
    """A fault of mealtrail itself."""
    INTERRUPTED = 130
    """Ended by Ctrl-C."""


EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 the answer is no (trail not verified, move rejected); 2 wrong usage; "
    "3 settings or set-up; 4 log, store or server does not answer; 5 not found; 6 name taken; "
    "7 refused; 8 anchor cannot be used; 70 internal fault; 130 Ctrl-C."
)

_CODES: tuple[tuple[type[MealtrailError], ExitCode], ...] = (
    (DefinitionInvalid, ExitCode.USAGE),
    (StoreRefused, ExitCode.CONFIGURATION),
    (LogUnusable, ExitCode.CONFIGURATION),
    (ConfigurationError, ExitCode.CONFIGURATION),
    (PartitionStopped, ExitCode.CONFIGURATION),
    (Unavailable, ExitCode.UNAVAILABLE),
    (NotFound, ExitCode.NOT_FOUND),
    (ConflictingName, ExitCode.CONFLICT),
    (RequestRefused, ExitCode.REFUSED),
    (AnchorRefused, ExitCode.ANCHOR),
    (TrailBroken, ExitCode.NEGATIVE),
)


def exit_code_of(error: MealtrailError) -> ExitCode:
    """The exit code that an error ends a command with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.INTERNAL)


def describe_error(error: MealtrailError) -> str:
    """The error in words for a person: what is wrong, then its stable code in brackets."""
    text = str(error) or type(error).__name__
    if isinstance(error, MalformedEvent) and error.errors:
        text += "".join(f"\n  {field}: {problem}" for field, problem in error.errors)
    return f"mealtrail: {text} [{error.code}]"


def report_error(error: MealtrailError) -> ExitCode:
    """Writes the error to standard error and returns the exit code.

    The traceback is shown with MEALTRAIL_LOG_LEVEL=DEBUG alone: for everyone else the line says what to do.
    """
    if os.environ.get("MEALTRAIL_LOG_LEVEL", "").upper() == "DEBUG":
        traceback.print_exception(error, file=sys.stderr)
    print(describe_error(error), file=sys.stderr)  # noqa: T201 - this is the command line's own output
    return exit_code_of(error)
