from __future__ import annotations

import io
import logging
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import aiohttp
import orjson
import pytest
import structlog
from aiohttp import web
from multidict import CIMultiDict

from backbone.clocks import SYSTEM_CLOCK
from backbone.health import Check, Health
from backbone.listening import listen
from backbone.logs import configure_logs, describe
from backbone.metrics import Metrics
from backbone.settings import Settings
from schemas.errors import AddressInUse, ConfigurationError, LogUnavailable, SettingsInvalid
from service.edge import edge
from service.remotes import remote_reader


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """JSON log lines of this test; logging is as before afterwards."""
    out = io.StringIO()
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    configure_logs(Settings(log_format="json", log_level="INFO"), stream=out)
    yield out
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(capture=False)


def logged(out: io.StringIO) -> list[dict[str, object]]:
    """The lines as mappings."""
    return [orjson.loads(line) for line in out.getvalue().splitlines()]


async def test_unexpected_error_is_an_empty_handed_500(lines: io.StringIO) -> None:
    """The answer says nothing of what failed; the log has the type and the place, not the message."""

    async def fail(_request: web.Request) -> web.Response:
        raise ValueError("Ann, +48 600 100 200")

    app = web.Application(middlewares=[edge(Metrics(), SYSTEM_CLOCK, remote_reader(()))])
    app.router.add_get("/x/{id}", fail)
    listener = await listen(app, host="127.0.0.1", port=0, setting="MEALTRAIL_")
    async with aiohttp.ClientSession() as http, http.get(listener.url + "/x/personal?name=Ann") as answer:
        body = await answer.read()
        status = answer.status
    await listener.stop()
    assert status == 500
    assert orjson.loads(body)["code"] == "internal_error"
    assert b"Ann" not in body
    assert "Ann" not in lines.getvalue()
    assert "personal" not in lines.getvalue()
    failed, request = logged(lines)
    assert failed["error"] == "ValueError"
    assert request["route"] == "/x/{id}"
    assert failed["request_id"] == request["request_id"] == orjson.loads(body)["request_id"]


async def test_taken_port_names_its_setting() -> None:
    """A busy port is a clear error that says which variable to change; so is a name that is no address of ours."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match="MEALTRAIL_ADMIN_PORT"):
            await listen(web.Application(), host="127.0.0.1", port=port, setting="MEALTRAIL_ADMIN_")
    with pytest.raises(ConfigurationError, match="MEALTRAIL_HOST"):
        await listen(web.Application(), host="203.0.113.1", port=0, setting="MEALTRAIL_")


async def test_health_asks_parts_together_and_keeps_answers() -> None:
    """A required part that fails makes unready, an optional one degrades; answers are kept for their time."""
    now, asked = 0.0, 0

    async def fine() -> None:
        nonlocal asked
        asked += 1

    async def away() -> None:
        raise LogUnavailable("at 10.0.0.1")

    async def broken() -> None:
        raise KeyError("secret")

    health = Health(
        [Check(part="a", probe=fine), Check(part="b", probe=away, required=False), Check(part="c", probe=broken)],
        monotonic=lambda: now,
    )
    state = await health.readiness()
    assert state.parts == {"a": "ok", "b": "degraded: log_unavailable", "c": "down: KeyError"}
    assert not state.ready
    await health.readiness()
    assert asked == 1
    now = 1.5
    await health.readiness()
    assert asked == 2


def test_lines_never_carry_secrets_bodies_or_foreign_messages(lines: io.StringIO) -> None:
    """Sensitive names are dropped, bytes are not printed, exceptions of others are named only."""
    log = structlog.get_logger("t")
    log.info("x", comment="Ann", secret="s3", nested={"token": "s3", "ok": 1}, blob=b"abc", order_id="\ud800")
    error = LogUnavailable("broker away")
    error.__cause__ = KeyError("Ann")
    assert describe(error) == "LogUnavailable: broker away <- KeyError"
    log.error("y", exc_info=error)
    logging.getLogger("aiokafka.x").warning("lost %s", "broker 1", exc_info=None)
    logging.getLogger("aiokafka.x").info("chatter")
    text = lines.getvalue()
    assert "Ann" not in text
    assert "s3" not in text
    first, second, third = logged(lines)
    assert "3 bytes" in str(first["blob"])
    assert second["error"] == "LogUnavailable: broker away <- KeyError"
    assert (third["event"], third["logger"], third["level"]) == ("lost broker 1", "aiokafka.x", "warning")


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("9.9.9.9", ["1.1.1.1"], "9.9.9.9"),
        ("10.0.0.1", ["1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6, 1.1.1.1, 10.0.0.7"], "1.1.1.1"),
        ("10.0.0.1", ["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", ["1.1.1.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        (None, ["1.1.1.1"], None),
    ],
)
def test_forwarded_address_is_believed_from_trusted_proxies_only(
    peer: str | None, forwarded: list[str], expected: str | None
) -> None:
    """Read from the nearest hop outward, as far as trusted proxies vouch."""
    headers = CIMultiDict(("X-Forwarded-For", line) for line in forwarded)
    request = SimpleNamespace(remote=peer, headers=headers)
    assert remote_reader(("10.0.0.0/8",))(request) == expected  # type: ignore[arg-type]


def test_wrong_proxies_are_named() -> None:
    """What is no address or network is a settings error."""
    with pytest.raises(SettingsInvalid, match="nonsense"):
        remote_reader(("nonsense",))
