"""The documents, the messages and the commands say the same: what is shown to be typed can be typed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from service.cli.entry import app
from service.cli.exits import ExitCode

ROOT = Path(__file__).resolve().parents[2]
CLI_PAGE = ROOT / "docs/cli.md"
GUIDE = CLI_PAGE.read_text(encoding="utf-8")
EXAMPLES = [shlex.split(line) for line in re.findall(r"^\$ mealtrail (.+)$", GUIDE, re.MULTILINE)]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
MODULES = sorted(
    path for name in ("schemas", "backbone", "consumers", "service") for path in (ROOT / name).rglob("*.py")
)
_FENCED = re.compile(r"^ *```(?P<language>\w*).*?\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
_INLINE = re.compile(r"`mealtrail ([a-z][^`]*)`")
_TYPED = re.compile(r"(?:^|[\s(;&|])(?:\.venv/bin/)?mealtrail (?=[a-z])", re.MULTILINE)
_COMMENT = re.compile(r"(?:^|\s)#.*$", re.MULTILINE)


class Shown(NamedTuple):
    """A command as a document shows it: its words behind `mealtrail`."""

    words: list[str]
    is_typed: bool
    """Whether it is there to be typed, rather than spoken of."""


def commands(root: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that lead to it."""
    for name, command in root.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


TREE: Any = get_command(app)
COMMANDS = dict(commands(TREE))


def words_of(line: str) -> list[str]:
    """The words of a shell's line up to what is not the command's own: a pipe, another command, a comment."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if set(word) <= set("();<>|&"):
            break
        words.append(word)
    return words


def shown_in(text: str) -> list[Shown]:
    """The commands in a Markdown text: in blocks for a shell, and between backticks."""
    blocks = [match["text"] for match in _FENCED.finditer(text) if match["language"] in {"sh", "console"}]
    prose = _FENCED.sub("", text)
    blocks += _INDENTED.findall(prose)
    found: list[Shown] = []
    for block in blocks:
        whole = _COMMENT.sub("", block).replace("\\\n", " ")
        found += [Shown(words_of(whole[at.end() :].split("\n", 1)[0]), is_typed=True) for at in _TYPED.finditer(whole)]
    for inline in _INLINE.findall(prose):
        words = words_of(" ".join(inline.split()))
        # Who names an option means to have it typed; a bare name is only spoken of.
        found.append(Shown(words, is_typed=any(word.startswith("-") for word in words)))
    return found


def problem_of(shown: Shown) -> str | None:
    """What is wrong with a command that is shown, or None."""
    command, words = TREE, list(shown.words)
    while hasattr(command, "commands"):
        if not words or words[0] == "…":
            return "names no command" if shown.is_typed else None
        if words[0] not in command.commands:
            return f"there is no command {words[0]}"
        command = command.commands[words.pop(0)]
    options = {name: param for param in command.params for name in (*param.opts, *param.secondary_opts)}
    given, values, goes_on = set(), 0, False
    while words:
        word, _, value = words.pop(0).partition("=")
        if not word.startswith("-") or word == "-":
            values, goes_on = values + 1, goes_on or word == "…"
            continue
        if word not in options and word != "--help":
            return f"there is no option {word}"
        given.add(options.get(word))
        if word != "--help" and not value and not getattr(options[word], "is_flag", False) and words:
            words.pop(0)
    if not shown.is_typed or goes_on:
        return None
    required = [param for param in command.params if param.required]
    missing = [param.opts[0] for param in required if param.param_type_name == "option" and param not in given]
    if missing:
        return f"lacks {', '.join(missing)}"
    return "lacks an argument" if values < sum(p.param_type_name == "argument" for p in required) else None


def problems_of(text: str) -> list[str]:
    """Each wrong command of a Markdown text, with what is wrong."""
    return [
        f"mealtrail {' '.join(shown.words)}: {problem}"
        for shown in shown_in(text)
        if (problem := problem_of(shown)) is not None
    ]


def texts_of(module: Path) -> Iterator[str]:
    """The texts in a module, docstrings and messages; what is filled in later stands as VALUE."""
    tree = ast.parse(module.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "VALUE" for part in node.values)


def test_every_command_has_an_example() -> None:
    """Nothing is left to be found out."""
    shown = {path for path in COMMANDS for example in EXAMPLES if tuple(example[: len(path)]) == path}
    assert shown == set(COMMANDS)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_shown_can_be_typed(document: Path) -> None:
    """It exists, its options exist, and one that is there to be typed has what it must have."""
    assert not problems_of(document.read_text("utf-8"))


def test_every_command_that_code_names_can_be_typed() -> None:
    """What a message or a docstring tells people to run runs."""
    wrong = {
        f"{module.relative_to(ROOT)}: {problem}"
        for module in MODULES
        for text in texts_of(module)
        for inline in _INLINE.findall(text)
        for problem in problems_of(f"`mealtrail {inline}`")
    }
    assert not wrong


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`mealtrail dead-letters replay --all`", "lacks --reason"),
        ("```sh\nmealtrail dead-letters replay\n```\n", "lacks --reason"),
        ("```console\n$ mealtrail order show\n```\n", "lacks an argument"),
        ("see:\n\n    mealtrail audit verify --anchors x\n", "no option --anchors"),
        ('`mealtrail dead-letters replay --order "…"`', "lacks --reason"),
        ("`mealtrail dead-letter list`", "no command dead-letter"),
        ("```sh\nmealtrail erase\n```\n", "names no command"),
        ("`mealtrail dead-letters replay`, `mealtrail dead-letters …`, `mealtrail source`", None),
        ('```sh\nX=1 mealtrail dead-letters replay --all \\\n  --reason "it\'s" | cat # mealtrail what\n```\n', None),
        ("```text\nmealtrail nothing of the kind\n```\n", None),
    ],
)
def test_what_cannot_be_typed_is_found(text: str, problem: str | None) -> None:
    """The check itself finds what it is there for, and nothing else."""
    found = problems_of(text)
    if problem is None:
        assert not found
    else:
        assert len(found) == 1
        assert problem in found[0]


def test_every_exit_code_is_in_the_table() -> None:
    """Scripts rely on them."""
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", GUIDE, re.MULTILINE)] == [code.value for code in ExitCode]
