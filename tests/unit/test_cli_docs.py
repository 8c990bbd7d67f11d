"""docs/cli.md and the commands say the same."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from service.cli.entry import app
from service.cli.exits import ExitCode

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
EXAMPLES = [shlex.split(line) for line in re.findall(r"^\$ mealtrail (.+)$", GUIDE, re.MULTILINE)]


def commands(root: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that lead to it."""
    for name, command in root.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(get_command(app)))


def test_every_command_has_an_example() -> None:
    """Nothing is left to be found out."""
    shown = {path for path in COMMANDS for example in EXAMPLES if tuple(example[: len(path)]) == path}
    assert shown == set(COMMANDS)


def test_every_example_is_a_command_with_options_that_exist() -> None:
    """No example is out of date."""
    for example in EXAMPLES:
        [path] = [path for path in COMMANDS if tuple(example[: len(path)]) == path]
        known = {option for parameter in COMMANDS[path].params for option in parameter.opts}
        assert {word for word in example if word.startswith("--")} <= known, example


def test_every_exit_code_is_in_the_table() -> None:
    """Scripts rely on them."""
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", GUIDE, re.MULTILINE)] == [code.value for code in ExitCode]
