"""The command line. `main` is the console script; each command or group of commands has one file.

Nothing is imported here before Ctrl-C can end the process without a traceback: importing the rest takes a second.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> None:
    """Runs this process's command line and ends with its exit code: always raises SystemExit. Once a process.

    Before the command begins and after it ended, Ctrl-C ends the process at once and silently: there is nothing to put
    in order, and Python's own way would print a traceback from the middle of an import or of its shutdown. Where it is
    ignored (a background job of a script) it stays ignored.
    """
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from service.cli.entry import main as run  # noqa: PLC0415 - not before Ctrl-C is quiet

    try:
        if heeded:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:  # between two lines of this function
        sys.exit(_INTERRUPTED)
    finally:
        if heeded:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
