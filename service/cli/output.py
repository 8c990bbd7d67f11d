"""Writing to the terminal: documents for scripts on standard output, words for people.

Consoles are made when they are used and not when this module is imported, so that they follow a redirected stream.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

_FULL_WIDTH = 1000
_LEAST_FOLDED = 8
"""What is left of a column whose cells may be folded."""
_BETWEEN = 2


def stdout_console() -> Console:
    """For tables and timelines. No markup and no emoji: what is shown comes from partners.

    A file or a pipe has no width to wrap at, unless COLUMNS says one.
    """
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _FULL_WIDTH
    return Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False, soft_wrap=False)


def stderr_console() -> Console:
    """For progress and remarks beside a document on standard output."""
    return Console(file=sys.stderr, markup=False, emoji=False, highlight=False)


def print_document(document: Any) -> None:
    """The one JSON document of a `--json` run, on standard output, indented, ending in a newline."""
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    sys.stdout.write(text)
    sys.stdout.flush()


def print_line(text: str = "") -> None:
    """One line on standard output, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_remark(text: str) -> None:
    """One line on standard error, at once: for people, never part of a document."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str, whole: Collection[str] = ()
) -> None:
    """A plain table, or the words of `empty` when there is no row. Control characters are shown, not obeyed.

    On a narrow terminal cells are folded, except those of the columns in `whole` (ids, names, times): where these do
    not fit, lines are longer than the terminal, and nothing is cut.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold", no_wrap=name in whole)
    least = [len(name) if name in whole else _LEAST_FOLDED for name in columns]
    for row in rows:
        cells = [plain_text(cell) for cell in row]
        least = [
            max(width, cell.cell_len) if name in whole else width
            for width, cell, name in zip(least, cells, columns, strict=True)
        ]
        table.add_row(*cells)
    console = stdout_console()
    if table.row_count:
        console.width = max(console.width, sum(least) + _BETWEEN * len(columns))
        console.print(table)
    else:
        console.print(empty)


def plain_text(text: str) -> Text:
    """Text that came from outside, with what could drive a terminal made visible."""
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text))


def mask_url(url: str) -> str:
    """The URL without its password and query, for start-up lines and error messages."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port is not None:
        host += f":{parts.port}"
    if parts.username is not None:
        host = f"{parts.username}{':***' if parts.password is not None else ''}@{host}"
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
