"""The outermost middleware: a request id, one shape for an API's errors, one canonical log line, the metrics.

The line names the route's template, never the path or the query, and what `RequestNotes` holds. A refused or failed
request is a line like any other; an unexpected error is logged with its frames and answered with an empty-handed 500.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Counter, Histogram

from backbone.clocks import Clock
from backbone.logs import REQUEST_ID
from backbone.metrics import Metrics
from schemas.errors import RecordTooLarge
from service.facades.mounting import failure_renderer
from service.failures import INTERNAL, Failure, failure_of
from service.problems import problem_of
from service.request_notes import LOGGED_NOTES, NOTES, RequestNotes

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_PROBED = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: what went well there is logged at DEBUG."""
_log = structlog.get_logger("mealtrail.http")


def request_id_of(request: web.BaseRequest) -> str:
    """The caller's X-Request-Id if it is a sane one, else a new random id."""
    given = request.headers.get("X-Request-Id")
    if given is not None and _SANE_REQUEST_ID.fullmatch(given):
        return given
    return os.urandom(16).hex()


def edge(metrics: Metrics, clock: Clock, read_remote: Callable[[web.BaseRequest], str | None]) -> Middleware:
    """The middleware. It must be the first of its application."""
    account = Accounts(metrics).add

    @web.middleware
    async def handle_request(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = clock.monotonic()
        notes = RequestNotes(request_id_of(request), read_remote(request))
        request[NOTES] = notes
        token = REQUEST_ID.set(notes.request_id)
        try:
            answer = await _answer(request, handler, notes)
            answer.headers["X-Request-Id"] = notes.request_id
            answer.headers["Server"] = "mealtrail"  # not what it is made of, nor which release
            account(request, answer.status, notes, clock.monotonic() - begun)
            return answer
        except asyncio.CancelledError:
            _log.info("request_cancelled", method=request.method, route=route_of(request))
            raise
        finally:
            REQUEST_ID.reset(token)

    return handle_request


async def _answer(request: web.Request, handler: Handler, notes: RequestNotes) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        failure = failure_of(error)
    except Exception as error:  # noqa: BLE001 - the last resort of every request: answered without internals
        failure = failure_of(error)
        if failure is INTERNAL or isinstance(error, RecordTooLarge):
            _log.error("request_failed", exc_info=error)
        else:
            notes.refusal = notes.refusal or failure.reason or failure.code
    render = await failure_renderer(request)
    answer = render(failure, notes.request_id)
    if failure.closes:
        answer.force_close()  # the rest of its body may still come
    return answer


def broken_http(metrics: Metrics) -> Callable[[], web.Response]:
    """What answers bytes that never became a request: a problem like any other, a line and a count like any other.

    It quotes nothing of what was sent: the line that is wrong may be the one with a token.
    """

    def refuse() -> web.Response:
        request_id = os.urandom(16).hex()
        metrics.requests.labels("-", "-", "400").inc()
        metrics.refusals.labels("broken_http").inc()
        _log.info("request", method="-", route="-", status=400, refusal="broken_http", request_id=request_id)
        answer = problem_of(Failure(400, "malformed", "This is no HTTP request that can be read."), request_id)
        answer.headers["X-Request-Id"] = request_id
        return answer

    return refuse


def route_of(request: web.Request) -> str:
    """The route's template, such as `/v1/orders/{order_id}`; `-` where there is no such route."""
    resource = request.match_info.route.resource
    return "-" if resource is None else resource.canonical


class Accounts:
    """The metrics and the canonical line of each request. Metric children are kept: finding them costs more than
    counting, and there are only as many as routes times statuses.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = _log.bind()  # the proxy would look up how to log with every line
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def add(self, request: web.Request, status: int, notes: RequestNotes, seconds: float) -> None:
        """Counts and logs one answered request."""
        route = route_of(request)
        method = request.method if route != "-" or request.method in _METHODS else "-"  # anyone can make up a method
        children = self._children.get((method, route, status))
        if children is None:
            children = (
                self._metrics.requests.labels(method, route, str(status)),
                self._metrics.request_seconds.labels(route),
            )
            self._children[method, route, status] = children
        children[0].inc()
        children[1].observe(seconds)
        if notes.refusal is not None:
            self._metrics.refusals.labels(notes.refusal).inc()
        line = {"method": method, "route": route, "status": status, "duration_ms": round(seconds * 1000, 3)}
        for name in LOGGED_NOTES:
            value = getattr(notes, name)
            if value is not None:
                line[name] = value
        if status >= 500:
            self._log.warning("request", **line)
        elif status < 300 and route in _PROBED:
            self._log.debug("request", **line)
        else:
            self._log.info("request", **line)
