"""The session on the order-status API's page, pasted into a shell."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import orjson
import pytest

from tests.support.documents import ROOT
from tests.support.sessions import paste_session

PAGE = ROOT / "docs/order-status-api.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed commands use curl, which is not installed")
async def test_the_documented_session_prints_what_the_page_says(tmp_path: Path) -> None:
    """An order is announced, read, cancelled through PUT; a move out of CANCELLED is told with its code."""
    announced, shown, cancelled, refused, stranger = await paste_session(PAGE, tmp_path)
    assert orjson.loads(announced)["verdict"] == "applied"
    assert re.fullmatch(r'\{"status":"NEW","updatedAt":"[^"]*\+00:00","comment":"New order"\}', shown)
    assert cancelled == "204"
    text = PAGE.read_text("utf-8")
    assert refused in text
    assert stranger in text
