"""Log lines that cannot be written."""

from __future__ import annotations

import errno
import io
import logging
from collections.abc import Iterator

import orjson
import pytest
import structlog

from backbone.logs import configure_logs
from backbone.settings import Settings


class FullDisk(io.StringIO):
    """A stream whose writes fail while `full`."""

    full = False

    def write(self, text: str) -> int:
        """As the system call answers."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


@pytest.fixture
def out() -> Iterator[FullDisk]:
    """A stream that logging is set up on; logging is as before afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    stream = FullDisk()
    configure_logs(Settings.model_validate({"log_format": "json"}), stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def test_a_full_disk_breaks_no_caller(out: FullDisk) -> None:
    """Lines are left out, ours and the libraries', and how many follows when there is room again."""
    log = structlog.get_logger("x")
    log.info("before")
    out.full = True
    log.info("lost")
    logging.getLogger("library").error("lost too")
    out.full = False
    log.info("after")
    lines = [orjson.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["before", "log_lines_lost", "after"]
    assert lines[1]["lines"] == 2
