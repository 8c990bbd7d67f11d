"""What this program is called, for commands that we print."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "mealtrail"


def own_command() -> str:
    """`mealtrail` where the shell finds this very program under that name, else what starts it from anywhere."""
    started = Path(sys.argv[0])
    if started.name != PROGRAM or not started.exists():
        return f"{shlex.quote(sys.executable)} -m service.cli"
    found = shutil.which(PROGRAM)
    if found is not None and Path(found).resolve() == started.resolve():
        return PROGRAM
    return shlex.quote(str(started.absolute()))
