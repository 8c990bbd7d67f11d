"""Serving an application on an address: port 0 gives the real one back, a taken port names its setting.

Bytes that are no HTTP never become a request, so no middleware sees them. aiohttp would answer with its own name, its
release and the line it stumbled over; here whoever listens says how (`Refuse`), and the connection ends.

A connection that does not bring a first request in time is closed. Between requests it may idle for longer, as callers
that keep connections do; how many there may be at once is for a proxy in front to say.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from schemas.errors import AddressInUse, ConfigurationError

_KEEP_ALIVE_S = 75.0
FIRST_HEAD_WITHIN_S = 10.0
"""How long a new connection may take until the head of its first request is there."""

Refuse = Callable[[], web.Response]
"""Answers bytes that are no HTTP, and keeps account of it. The response must not quote them."""


class _BelowRequests(logging.Filter):
    """What goes wrong below a request. aiohttp would log the caller's address and, for every scanner that does not
    speak HTTP, an error with what it sent; here those are one word at INFO, other failures keep their error.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites the record; drops it where its new level is not wanted."""
        error = record.exc_info[1] if record.exc_info else None
        record.msg, record.args = "connection_failed", ()
        if isinstance(error, HttpProcessingError | ConnectionError):
            record.msg, record.exc_info = "broken_http", None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return logging.getLogger().isEnabledFor(record.levelno)


_protocol_log = logging.getLogger("mealtrail.http.protocol")
_protocol_log.addFilter(_BelowRequests())


def _refuse_plainly() -> web.Response:
    structlog.get_logger("mealtrail.http").info("broken_http")
    return web.Response(status=400)


class _Connection(web.RequestHandler):
    """One connection, with our answer to what is no HTTP, and our patience with what never becomes a request."""

    __slots__ = ("_refuse",)

    def __init__(self, manager: web.Server, refuse: Refuse, **options: Any) -> None:
        super().__init__(manager, **options)
        self._refuse = refuse

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As aiohttp's, which gives a first request as long as an idle connection."""
        super().connection_made(transport)
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
        close_at = self._loop.time() + FIRST_HEAD_WITHIN_S
        self._next_keepalive_close_time = close_at  # after the first answer aiohttp sets it by its own limit
        self._keepalive_handle = self._loop.call_at(close_at, self._process_keepalive)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what failed below or outside of all handlers; the connection ends with it."""
        answer: web.StreamResponse
        if isinstance(exc, HttpProcessingError) and request.writer.output_size == 0:
            answer = self._refuse()
            answer.force_close()
            answer.headers["Connection"] = "close"  # aiohttp takes such bytes for HTTP/1.0 and would leave it out
        else:
            answer = super().handle_error(request, status, exc, message)
        answer.headers["Server"] = "mealtrail"
        return answer


class _Server(web.Server):
    """Makes our connections."""

    def __init__(self, like: web.Server, refuse: Refuse) -> None:
        super().__init__(
            like.request_handler,
            request_factory=like.request_factory,
            handler_cancellation=like.handler_cancellation,
            **like._kwargs,  # noqa: SLF001 - the options of the one that it stands in for
        )
        self._refuse = refuse

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._refuse, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    """Serves by our server."""

    __slots__ = ("_refuse",)

    def __init__(self, app: web.Application, refuse: Refuse, **options: Any) -> None:
        super().__init__(app, **options)
        self._refuse = refuse

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._refuse)


@dataclass(frozen=True, slots=True)
class Listener:
    """A served application."""

    runner: web.AppRunner
    host: str
    port: int

    @property
    def url(self) -> str:
        """Where it answers, for people and tests."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def stop(self) -> None:
        """Stops accepting, lets requests in hand end within the shutdown time-out, runs clean-ups."""
        await self.runner.cleanup()


async def listen(
    app: web.Application,
    *,
    host: str,
    port: int,
    setting: str,
    shutdown_timeout_s: float = 10.0,
    reuse_port: bool = False,
    refuse: Refuse = _refuse_plainly,
) -> Listener:
    """Serves the application; start-up code of the application has run when this returns.

    `setting` is the prefix of the variables that choose the address (`MEALTRAIL_` or `MEALTRAIL_ADMIN_`).
    `reuse_port` lets several processes share one port (SO_REUSEPORT); they must all ask for it.
    `refuse` answers bytes that are no HTTP.
    Raises AddressInUse when the port is taken, ConfigurationError when the address cannot be used.
    """
    runner = _Runner(
        app,
        refuse,
        handle_signals=False,
        access_log=None,  # the canonical line replaces it
        logger=_protocol_log,
        auto_decompress=False,  # a signature covers the bytes as sent, and nothing may grow on arrival
        keepalive_timeout=_KEEP_ALIVE_S,
        shutdown_timeout=shutdown_timeout_s,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_port=reuse_port or None, backlog=1024).start()
    except BaseException as error:
        await runner.cleanup()
        if isinstance(error, OSError):
            raise explain_refusal(error, host, port, setting) from error
        raise
    return Listener(runner, host, int(runner.addresses[0][1]))


def explain_refusal(error: OSError, host: str, port: int, setting: str) -> ConfigurationError:
    """Why an address cannot be listened on, naming the settings that choose it."""
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(
            f"port {port} on {host} is taken: choose another with {setting}PORT, or 0 for any, "
            "or end the program that holds it"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConfigurationError(f"no permission for port {port}: choose one above 1023 with {setting}PORT")
    why = error.strerror or error
    return ConfigurationError(f"cannot listen on {host}:{port} ({setting}HOST, {setting}PORT): {why}")
