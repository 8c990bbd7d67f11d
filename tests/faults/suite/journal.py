"""What a run did, second by second: a line of JSON each, kept in the run's folder."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, TextIO


class Journal:
    """Append-only; every line is on disk when `note` returns, so a run that dies tells how far it came."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w", buffering=1)
        self._began = time.monotonic()
        self.path = path

    @property
    def now_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def note(self, what: str, **more: Any) -> None:
        """Adds a line."""
        self._file.write(json.dumps({"at_s": round(self.now_s, 2), "what": what, **more}) + "\n")

    def close(self) -> None:
        """Ends it. May be repeated."""
        self._file.close()
