"""The README's first screen, run as a newcomer would: the printed commands, pasted into a shell in one piece."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

from tests.support.documents import ROOT
from tests.support.waiting import wait_until

START_WITHIN_S, PASTE_WITHIN_S, STOP_WITHIN_S = 60.0, 60.0, 30.0
END_OF_SCRIPT = "audit verify\n"


@contextmanager
def demo_server(data_dir: Path, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`mealtrail up --demo` on ports of its own, its standard output in a file, until the block ends."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEALTRAIL_")}
    ours = {"MEALTRAIL_DATA_DIR": str(data_dir), "MEALTRAIL_PORT": "0", "MEALTRAIL_ADMIN_PORT": "0"}
    with output.open("wb") as out, output.with_suffix(".err").open("wb") as err:
        server = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "up", "--demo"], cwd=ROOT, env=kept | ours, stdout=out, stderr=err
        )
        try:
            yield server
        finally:
            if server.poll() is None:
                server.kill()
            server.wait()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the printed commands use curl, which is not installed")
async def test_the_printed_commands_deliver_an_order_and_prove_it(tmp_path: Path) -> None:
    """Pasted at once: seven events are taken, the illegal move is rejected, the trail has all of it and verifies."""
    output = tmp_path / "up.out"
    with demo_server(tmp_path / "var", output) as server:
        await wait_until(lambda: output.read_text("utf-8").rstrip().endswith(END_OF_SCRIPT.rstrip()), START_WITHIN_S)
        printed = output.read_text("utf-8")
        script = printed[printed.index("echo '--- The demo tokens") :]
        pasted = await asyncio.to_thread(
            subprocess.run,
            ["sh", "-e"],
            input=script,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=PASTE_WITHIN_S,
            check=False,
        )
        server.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, STOP_WITHIN_S) == 0
    assert pasted.returncode == 0, pasted.stderr
    documents = [orjson.loads(line) for line in pasted.stdout.splitlines() if line.startswith("{")]
    taken, (receipt, order, history) = documents[:7], documents[7:]
    assert all(set(answer) == {"event_id", "receipt_id"} for answer in taken)
    assert (receipt["state"], receipt["verdict"], receipt["reason"]) == ("final", "rejected", "illegal_transition")
    assert order["status"] == "DELIVERED"
    assert [item["to_status"] for item in history["items"] if item["verdict"] == "applied"] == [
        "NEW", "ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "TAKEN_BY_COURIER", "DELIVERED",
    ]  # fmt: skip
    assert re.search(r"^ok: 7 rows", pasted.stdout, re.MULTILINE)
