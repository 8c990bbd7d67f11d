"""The documents, and the code that they show, for tests that run it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
OUTCOMES = ROOT / "docs/outcomes.md"


def code_of(document: Path, label: str) -> str:
    """The one fenced block of Python that is labelled so."""
    found = re.findall(rf"^```python {label}\n(.*?)^```$", document.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{document.name} shows {len(found)} blocks labelled {label}"
    return str(found[0])


def run_code(document: Path, label: str) -> dict[str, Any]:
    """The names that a document's code defines. It runs as its reader would run it."""
    names: dict[str, Any] = {}
    exec(compile(code_of(document, label), f"{document.name}:{label}", "exec"), names)
    return names
