"""Commands that tests fork from a process with all imports are what `python -m service.cli` is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.deployments import base_environment
from tests.support.warm_commands import run_command, start_command


@pytest.mark.parametrize("arguments", [["order", "show", "none"], ["order"], ["source", "list", "--json"]])
def test_a_forked_command_says_and_ends_like_a_started_one(tmp_path: Path, arguments: list[str]) -> None:
    """Output, errors and exit code, of a mistake, of help, and of an answer."""
    env = base_environment({"MEALTRAIL_DATA_DIR": str(tmp_path / "var")})
    assert run_command(["migrate"], env).returncode == 0
    started, forked = start_command(arguments, env), run_command(arguments, env)
    assert (forked.returncode, forked.stdout, forked.stderr) == (started.returncode, started.stdout, started.stderr)


def test_each_has_the_environment_that_it_is_given(tmp_path: Path) -> None:
    """And nothing of the one before it."""
    for name in ("one", "two"):
        env = base_environment({"MEALTRAIL_DATA_DIR": str(tmp_path / name)})
        done = run_command(["source", "list"], env)
        assert done.returncode == 3
        assert str(tmp_path / name) in done.stderr
    done = run_command(["source", "list"], base_environment({"MEALTRAIL_PORT": "none"}))
    assert (done.returncode, "MEALTRAIL_PORT" in done.stderr) == (3, True)
