"""The sessions on the pages of the existing systems' APIs, pasted into a shell."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import orjson
import pytest

from tests.support.documented import problems
from tests.support.documented_storeharmony import TRACKING_SCHEMA
from tests.support.documented_vendor import VENDOR_SCHEMA
from tests.support.documents import ROOT
from tests.support.sessions import paste_session, run_session

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="the printed commands use curl, which is not installed"
)


async def test_the_vendor_session_prints_the_order(tmp_path: Path) -> None:
    """The last line is the whole order, with what the page says about it."""
    page = ROOT / "docs/vendor-api.md"
    announced, order = await paste_session(page, tmp_path)
    assert orjson.loads(announced)["verdict"] == "applied"
    assert problems(VENDOR_SCHEMA, orjson.loads(order)) == []
    text = page.read_text("utf-8")
    said = re.findall(r"`([^`]*)`", text.split("The last answer begins", 1)[1].split("## Who sees what", 1)[0])
    assert order.startswith(said[0].removesuffix("…"))
    assert all(part in order for part in said[1:4])
    assert f'"key":"{said[4]}"' in order


async def test_the_storeharmony_session_prints_the_order(tmp_path: Path) -> None:
    """The last line is what the page shows, but for the date."""
    page = ROOT / "docs/storeharmony-api.md"
    announced, shown = await paste_session(page, tmp_path)
    assert orjson.loads(announced)["verdict"] == "applied"
    [printed] = re.findall(r"```json\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    expected, answer = orjson.loads(printed), orjson.loads(shown)
    assert problems(TRACKING_SCHEMA, answer) == problems(TRACKING_SCHEMA, expected) == []
    del expected["orderDate"], answer["orderDate"]
    assert answer == expected


@pytest.mark.parametrize("name", ["order-status-api", "vendor-api", "storeharmony-api"])
async def test_a_session_whose_server_does_not_start_ends_and_says_why(name: str, tmp_path: Path) -> None:
    """It neither waits for ever nor goes on without a server; what the server said is shown."""
    pasted = await run_session(ROOT / f"docs/{name}.md", tmp_path, mealtrail="echo the port is busy >&2; exit 3")
    assert pasted.returncode == 1
    assert pasted.stdout == "the port is busy\n"
