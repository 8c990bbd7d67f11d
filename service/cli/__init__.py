"""The command line. `main` is the console script; each command or group of commands has one file."""

from service.cli.entry import main

__all__ = ["main"]
