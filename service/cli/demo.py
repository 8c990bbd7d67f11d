"""The demonstration set-up of `mealtrail up --demo`: three sources, one access token, and the file that keeps them.

`demo.env` holds the tokens as shell lines. It can only be written when a token is made, since the store keeps hashes:
so where the file or one of its lines is lost, or a token in it is no longer the live one, that credential alone is
made anew.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backbone.store.secrets import hash_token
from backbone.store.sources import NewSource, Source, SourceRepository
from backbone.store.tokens import TokenRepository
from schemas.errors import ConfigurationError
from schemas.statuses import Role
from service.cli.demo_script import COURIER, PLATFORM, RESTAURANT

ENV_NAME = "demo.env"
READER = "demo-reader"
ACTOR = "mealtrail up --demo"
_EXPORT = re.compile(r"export ([A-Z_]+)=(.*)")


@dataclass(frozen=True, slots=True)
class _DemoSource:
    variable: str
    name: str
    role: Role
    parties: tuple[str, ...] | None


_SOURCES = (
    _DemoSource("DEMO_PLATFORM_TOKEN", PLATFORM, Role.PLATFORM, None),
    _DemoSource("DEMO_RESTAURANT_TOKEN", RESTAURANT, Role.RESTAURANT, (RESTAURANT,)),
    _DemoSource("DEMO_COURIER_TOKEN", COURIER, Role.COURIER, (COURIER,)),
)
_READ_VARIABLE = "DEMO_READ_TOKEN"


async def prepare_demo(sources: SourceRepository, tokens: TokenRepository, data_dir: Path) -> Path:
    """Sees to it that the demo credentials exist and lie in `data_dir`/demo.env (mode 0600); returns that path.

    Repeatable: what is there and still valid is kept. Raises StoreUnavailable, and ConfigurationError when the file
    cannot be written.
    """
    path = data_dir / ENV_NAME
    kept = read_env(path)
    values = _place(data_dir)
    known = {source.name: source for source in await sources.all(include_disabled=True)}
    for demo in _SOURCES:
        values[demo.variable] = await _source_token(sources, demo, known.get(demo.name), kept.get(demo.variable))
    values[_READ_VARIABLE] = await _read_token(tokens, kept.get(_READ_VARIABLE))
    try:
        if values != kept:
            write_env(path, values)
        path.chmod(0o600)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
    return path


def _place(data_dir: Path) -> dict[str, str]:
    """So that commands find the same data from any directory."""
    return {"MEALTRAIL_DATA_DIR": str(data_dir.resolve())}


async def _source_token(sources: SourceRepository, demo: _DemoSource, source: Source | None, token: str | None) -> str:
    if source is None:
        new = NewSource(name=demo.name, role=demo.role, parties=demo.parties, auth="bearer")
        return (await sources.add(new, actor=ACTOR))[1]
    if source.disabled_at is not None:  # someone's decision, which a start does not undo
        return token or ""
    if token is not None and hash_token(token) in source.token_hashes:
        return token
    return (await sources.rotate(demo.name, grace_ms=0, secret=None, actor=ACTOR))[1]


async def _read_token(tokens: TokenRepository, token: str | None) -> str:
    known = await tokens.all()
    live = [kept for kept in known if kept.revoked_at is None]
    if token is not None and hash_token(token) in {kept.token_hash for kept in live}:
        return token
    ours = re.compile(rf"{READER}(-\d+)?")
    for lost in live:
        if ours.fullmatch(lost.name):  # nobody knows it any more
            await tokens.revoke(lost.name, actor=ACTOR)
    number = sum(1 for kept in known if ours.fullmatch(kept.name))  # names are never used again
    return await tokens.add(f"{READER}-{number + 1}" if number else READER, "read", actor=ACTOR)


def read_env(path: Path) -> dict[str, str]:
    """The variables that the file exports; empty when there is no file. Lines of other shapes are passed over."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    found = (_EXPORT.fullmatch(line.strip()) for line in text.splitlines())
    return {match[1]: "".join(shlex.split(match[2])) for match in found if match}


def write_env(path: Path, values: Mapping[str, str]) -> None:
    """Replaces the file by one with these variables, readable by its owner alone; a reader never sees half of it."""
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600 from the start
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"# Made by `mealtrail up --demo`: secrets of the demonstration.\n{lines}")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
