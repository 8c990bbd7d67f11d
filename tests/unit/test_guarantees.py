"""`docs/guarantees.md` names tests that exist, and has a section for every promise of the README."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "guarantees.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT)))
ROWS = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| promise")]


@cache
def functions_of(path: str) -> set[str]:
    """The functions of a test module."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_that_is_named_exists(path: str, name: str) -> None:
    """A promise whose test was renamed or taken away stands unproven."""
    assert (ROOT / path).exists(), f"{path} is gone"
    assert name in functions_of(path)


def test_every_promise_names_its_test() -> None:
    """No row without a mechanism and a test."""
    assert len(ROWS) > 25
    for row in ROWS:
        promise, mechanism, tests = (cell.strip() for cell in row.strip("|").split(" | "))
        assert promise, row
        assert mechanism, row
        assert "`tests/" in tests, row


def test_every_promise_of_the_readme_has_its_section_and_the_other_way_round() -> None:
    """What the README promises in bold begins like a section here, and no section is missing there."""
    section = re.search(r"## What it guarantees\n(.*?)\n## ", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert section is not None
    promises = re.findall(r"^- \*\*(.+?)\*\*", section.group(1), re.MULTILINE)
    headings = re.findall(r"^## (.+)$", DOCUMENT, re.MULTILINE)
    kept = {promise: [heading for heading in headings if promise.startswith(heading)] for promise in promises}
    assert all(len(found) == 1 for found in kept.values()), kept
    assert {found[0] for found in kept.values()} == set(headings)
