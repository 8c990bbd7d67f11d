"""The copy-paste session on an API's page, pasted into a shell on ports of its own."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

from kafka_broker import free_port
from tests.support.documents import ROOT

PASTE_WITHIN_S = 90.0
MEALTRAIL = f'exec "{sys.executable}" -m service.cli "$@"'


def session_of(page: Path) -> str:
    """The page's one `sh session` block."""
    (session,) = re.findall(r"^```sh session\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(session)


async def paste_session(page: Path, folder: Path) -> list[str]:
    """Runs the page's `sh session` block as it is printed, in a clone's stead; the lines that it printed.

    Every command must succeed, nothing but the answers is shown, and the server that the session starts must end in
    order.
    """
    pasted = await run_session(page, folder, mealtrail=MEALTRAIL)
    assert pasted.returncode == 0, pasted.stderr
    assert not pasted.stderr
    return pasted.stdout.splitlines()


async def run_session(page: Path, folder: Path, *, mealtrail: str) -> subprocess.CompletedProcess[str]:
    """Runs the block in a folder whose `.venv/bin/mealtrail` is this shell script. Raises subprocess.TimeoutExpired."""
    command = folder / ".venv/bin/mealtrail"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\n{mealtrail}\n")
    command.chmod(0o755)
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MEALTRAIL_")}
    environment = {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(folder),
        "MEALTRAIL_PORT": str(port),
        "MEALTRAIL_ADMIN_PORT": "0",
    }
    return await asyncio.to_thread(
        subprocess.run,
        ["sh", "-e"],
        input=session_of(page).replace("8080", str(port)),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PASTE_WITHIN_S,
        check=False,
    )
