"""What this program calls itself in the commands it prints."""

import sys
from pathlib import Path

import pytest

from service.cli.invocation import own_command


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of our name in a directory with a space, which has started us."""
    program = tmp_path / "my env" / "mealtrail"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program), "up"])
    return program


def test_on_the_path_the_name_is_enough(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell finds this very program."""
    monkeypatch.setenv("PATH", str(installed.parent))
    assert own_command() == "mealtrail"


def test_elsewhere_it_is_the_whole_path(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the shell would find another program of that name; quoted for the shell."""
    other = installed.parent.parent / "mealtrail"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    for path in ("", str(other.parent)):
        monkeypatch.setenv("PATH", path)
        assert own_command() == f"'{installed}'"


def test_as_a_module_it_is_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m service.cli`."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/service/cli/__main__.py"])
    assert own_command().endswith(" -m service.cli")
