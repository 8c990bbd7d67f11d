"""Serving an application on an address: port 0 gives the real one back, a taken port names its setting.

Bytes that are no HTTP never become a request: aiohttp answers them with a plain 400 and closes.
"""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from schemas.errors import AddressInUse, ConfigurationError

_KEEP_ALIVE_S = 75.0


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
) -> Listener:
    """Serves the application; start-up code of the application has run when this returns.

    `setting` is the prefix of the variables that choose the address (`MEALTRAIL_` or `MEALTRAIL_ADMIN_`).
    `reuse_port` lets several processes share one port (SO_REUSEPORT); they must all ask for it.
    Raises AddressInUse when the port is taken, ConfigurationError when the address cannot be used.
    """
    runner = web.AppRunner(
        app,
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
            raise _explain(error, host, port, setting) from error
        raise
    return Listener(runner, host, int(runner.addresses[0][1]))


def _explain(error: OSError, host: str, port: int, setting: str) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(
            f"port {port} on {host} is taken: choose another with {setting}PORT, or 0 for any, "
            "or end the program that holds it"
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return ConfigurationError(f"no permission for port {port}: choose one above 1023 with {setting}PORT")
    why = error.strerror or error
    return ConfigurationError(f"cannot listen on {host}:{port} ({setting}HOST, {setting}PORT): {why}")
