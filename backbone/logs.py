"""Logs: structlog for our own lines, the standard library's loggers of others routed through the same renderer.

Lines go to standard error, as JSON when nobody is looking at a terminal. Four things hold by construction, whatever a
call site passes:
 - names that carry bodies, secrets or personal data never leave (`NEVER_LOGGED`), and bytes are never printed;
 - an exception is rendered as its type and the places it went through. Its message is kept only where we wrote it
   (MealtrailError) or the operating system did (OSError): others quote what a partner sent;
 - libraries' loggers never go below INFO, whatever the level is: below it they print parameters and records;
 - a line that cannot be rendered is replaced, and one that cannot be written (the disk is full, nobody reads the pipe
   any more) is counted and left out, so logging never breaks a request. The count follows when lines pass again.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from enum import Enum
from typing import Any, TextIO, cast

import orjson
import structlog
from structlog.typing import Processor

from backbone.settings import Settings
from schemas.errors import MealtrailError
from schemas.times import rfc3339_micros

NEVER_LOGGED: frozenset[str] = frozenset(
    {
        "address", "attributes", "authorization", "body", "cancel_reason", "comment", "cookie", "customer", "details",
        "headers", "name_of_customer", "password", "payload", "phone", "raw", "record", "salt", "secret", "secrets",
        "signature", "token", "value", "webhook_signature",
    }
)  # fmt: skip
"""Keys that are dropped from every line."""

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The request in hand, set by the edge."""
_PLAIN = frozenset({str, int, float, bool, type(None)})
_FRAMES = 12
_CAUSES = 5
_SILENT = logging.CRITICAL + 1
_LIBRARIES = logging.INFO
"""Libraries never log below this: at DEBUG drivers print statements with their parameters and clients print records,
which are bodies, names and salts."""
_QUIET = ("aiokafka", "aiosqlite", "alembic", "asyncio", "sqlalchemy", "transitions", "urllib3")


def configure_logs(settings: Settings, *, stream: TextIO | None = None, only_ours: bool = False) -> None:
    """Sets up all logging of this process; call once, from the composition root. May be repeated.

    A log level of DEBUG is for our own lines: libraries stay at INFO, since theirs quote what they carry. `stream` is
    standard error unless given. With log_format `auto` the console format is used on a terminal, JSON
    anywhere else. `only_ours` silences the libraries' loggers, for commands whose error is one line of their own.
    """
    out: TextIO = sys.stderr if stream is None else stream
    console = settings.log_format == "console" or (settings.log_format == "auto" and out.isatty())
    lines = cast("TextIO", _Lines(out))
    level = logging.getLevelNamesMapping()[settings.log_level]
    shared: list[Processor] = [
        add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=True, key="time") if console else stamp_time,
        drop_sensitive,
        render_exception,
    ]
    renderer: Processor = _render_json
    if console:
        shared.append(shorten_request)
        renderer = structlog.dev.ConsoleRenderer(
            colors=out.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
            sort_keys=False,  # as the call site has them
            timestamp_key="time",
            pad_level=False,
            pad_event_to=0,
        )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=lines),
        cache_logger_on_first_use=False,
    )
    _route_standard_library(lines, _SILENT if only_ours else level, shared, renderer)


def add_request_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: whatever is logged within a request carries its id."""
    request_id = REQUEST_ID.get()
    return event if request_id is None else {"request_id": request_id, **event}


def stamp_time(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: the wall clock's time in RFC 3339, to the microsecond."""
    event["time"] = rfc3339_micros(time.time_ns() // 1000)
    return event


def drop_sensitive(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: takes out what must never be logged, one level of nesting included; enums become their values."""
    if _PLAIN.issuperset(map(type, event.values())) and NEVER_LOGGED.isdisjoint(map(str.lower, event)):
        return event  # nearly always; the rest is slower to look at
    for name in list(event):
        value = event[name]
        if name.lower() in NEVER_LOGGED:
            del event[name]
        elif isinstance(value, bytes | bytearray | memoryview):
            event[name] = f"<{len(value)} bytes>"
        elif isinstance(value, Mapping):
            event[name] = {_plain(k): _plain(v) for k, v in value.items() if str(k).lower() not in NEVER_LOGGED}
        elif isinstance(value, list | tuple | set | frozenset):
            event[name] = [_plain(item) for item in value]
        else:
            event[name] = _plain(value)
    return event


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def shorten_request(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor for the console alone: a request begins with method, route, status and duration, as people read it.

    The request id comes last, and only where something went wrong: the caller has it in every answer.
    """
    request_id = event.pop("request_id", None)
    if event.get("event") == "request" and {"method", "route", "status", "duration_ms"} <= event.keys():
        method, route, status, taken = (event.pop(name) for name in ("method", "route", "status", "duration_ms"))
        event["event"] = f"{method} {route} {status} {taken} ms"
        event.pop("bytes", None)
        if status < 400:
            request_id = None
    if request_id is not None:
        event["request_id"] = request_id
    return event


def render_exception(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor: `exc_info` becomes `error` (see `describe`) and `error_at` (the frames, innermost last)."""
    info = event.pop("exc_info", None)
    if not info:
        return event
    if isinstance(info, BaseException):
        error: BaseException | None = info
    elif isinstance(info, tuple):
        error = info[1]
    else:
        error = sys.exc_info()[1]
    if error is None:
        return event
    event["error"] = describe(error)
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    event["error_at"] = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames]
    return event


def describe(error: BaseException) -> str:
    """An exception and what it came from, in words that quote nothing a caller sent."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < _CAUSES:
        own = isinstance(seen, MealtrailError | OSError)
        parts.append(f"{type(seen).__name__}: {seen}" if own else type(seen).__name__)
        seen = seen.__cause__
    return " <- ".join(parts)


def _render_json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:  # lone surrogates, numbers beyond 64 bits
        return orjson.dumps({k: ascii(v) for k, v in event.items()}).decode()


class _Lines:
    """The stream that lines go to, as far as loggers use one. Never raises OSError."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lost = 0

    def write(self, text: str) -> int:
        """Writes a whole line, at once."""
        try:
            if self._lost:
                self._put(f'{{"event":"log_lines_lost","level":"warning","lines":{self._lost}}}\n')
                self._lost = 0
            self._put(text)
        except OSError:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Every line is flushed as it is written."""

    def _put(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class _StandardLibraryHandler(logging.Handler):
    """Renders records of the standard library's loggers as lines of ours."""

    def __init__(self, out: TextIO, processors: list[Processor]) -> None:
        super().__init__()
        self._out = out
        self._processors = processors

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line; what fails inside goes to `handleError`, never to the caller."""
        try:
            event: Any = {"event": record.getMessage(), "logger": record.name}
            if record.exc_info:
                event["exc_info"] = record.exc_info
            for process in self._processors:
                event = process(None, record.levelname.lower(), event)
            self._out.write(f"{event}\n")
            self._out.flush()
        except Exception:  # noqa: BLE001 - logging's own contract
            self.handleError(record)


def _route_standard_library(out: TextIO, level: int, shared: list[Processor], renderer: Processor) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _StandardLibraryHandler):
            root.removeHandler(handler)
    root.addHandler(_StandardLibraryHandler(out, [*shared, renderer]))
    root.setLevel(max(level, _LIBRARIES))
    for name in _QUIET:  # their INFO lines are about themselves: shown where DEBUG asks for all that there may be
        logging.getLogger(name).setLevel(_LIBRARIES if level <= logging.DEBUG else max(level, logging.WARNING))
    logging.captureWarnings(capture=True)
