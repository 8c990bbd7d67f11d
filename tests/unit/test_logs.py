"""Log lines as people see them on a terminal, and what is silent."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from backbone.logs import REQUEST_ID, configure_logs
from backbone.metrics import Metrics
from backbone.settings import Settings
from schemas.verdicts import Verdict
from service.edge import Accounts
from service.request_notes import RequestNotes

Configure = Callable[..., io.StringIO]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Sets logging up on a stream of its own; logging is as before afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)

    def set_up(*, only_ours: bool = False, **settings: str) -> io.StringIO:
        out = io.StringIO()
        configure_logs(Settings.model_validate(settings), stream=out, only_ours=only_ours)
        return out

    yield set_up
    structlog.reset_defaults()
    REQUEST_ID.set(None)
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(capture=False)


def test_a_request_begins_with_what_people_look_for(configure: Configure) -> None:
    """Time, method, route, status, duration; then the rest as it was given, in at most two rows of 80."""
    out = configure(log_format="console")
    REQUEST_ID.set("f" * 32)
    log = structlog.get_logger("x")
    line = {"method": "POST", "route": "/v1/webhooks/{source}", "status": 202, "duration_ms": 3.2, "bytes": 120}
    log.info("request", **line, source="kitchen-7", order_id="A-1", partition=3, offset=17)
    log.info("request", **line | {"status": 401}, source="kitchen-7", refusal="bad_token")
    good, bad = out.getvalue().splitlines()
    assert (
        good[8:] == " [info] POST /v1/webhooks/{source} 202 3.2 ms source=kitchen-7 order_id=A-1 partition=3 offset=17"
    )
    assert good[2] == good[5] == ":"
    assert len(good) <= 160
    assert bad.endswith(f"401 3.2 ms source=kitchen-7 refusal=bad_token request_id={'f' * 32}")


def test_enums_are_shown_by_their_values(configure: Configure) -> None:
    """As keys, in lists and alone; other lines keep their order."""
    out = configure(log_format="console")
    structlog.get_logger("x").info(
        "batch_applied", verdicts={Verdict.APPLIED: 1}, first=Verdict.LATE, all=[Verdict.NOTED], above=2
    )
    assert out.getvalue()[8:] == " [info] batch_applied verdicts={'applied': 1} first=late all=['noted'] above=2\n"


def test_a_commands_logs_are_ours_alone(configure: Configure) -> None:
    """Libraries are silent, our own lines are not."""
    out = configure(log_format="json", log_level="ERROR", only_ours=True)
    logging.getLogger("aiokafka").critical("noise")
    logging.getLogger("asyncio").error("noise")
    structlog.get_logger("x").warning("noise")
    assert out.getvalue() == ""
    structlog.get_logger("x").error("ours")
    assert '"event":"ours"' in out.getvalue()


@pytest.mark.parametrize(
    ("path", "status", "level"),
    [("/healthz", 200, "debug"), ("/readyz", 503, "warning"), ("/healthz", 404, "info"), ("/v1/orders", 200, "info")],
)
def test_probes_that_are_answered_well_are_no_news(path: str, status: int, level: str) -> None:
    """Machines ask every few seconds: only what is not well is logged at INFO and above."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    route = app.router.add_get(path, answer)
    request = make_mocked_request("GET", path, app=app)
    request._match_info = web.UrlMappingMatchInfo({}, route)
    with capture_logs() as logs:
        Accounts(Metrics()).add(request, status, RequestNotes("id", None), 0.001)
    assert [(entry["event"], entry["log_level"], entry["route"]) for entry in logs] == [("request", level, path)]


@pytest.mark.parametrize("name", ["aiosqlite", "sqlalchemy.engine.Engine", "aiokafka.producer", "asyncpg", "unknown"])
def test_debug_is_for_our_own_lines(configure: Configure, name: str) -> None:
    """Libraries print parameters and records below INFO, so that is never asked of them; ours are there."""
    out = configure(log_format="json", log_level="DEBUG")
    logging.getLogger(name).debug("executing %s", ("Ana Lovelace",))
    assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)
    structlog.get_logger("x").debug("ours")
    assert "Ana" not in out.getvalue()
    assert '"event":"ours"' in out.getvalue()
