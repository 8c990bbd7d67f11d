"""`mealtrail audit anchor` and `audit key`: signed heads to keep elsewhere, and the keys that they are checked with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import orjson
import typer

from backbone.clocks import SYSTEM_CLOCK
from backbone.store.anchoring import check_anchor, make_anchor
from backbone.store.anchors import MAX_BYTES, Anchor, PublicKeys, load_anchor
from backbone.store.secrets import SecretBox
from schemas.errors import AnchorUnreadable
from service.cli.interrupts import run_command
from service.cli.options import AsJson
from service.cli.output import print_document, print_line, print_table
from service.cli.parts import Parts, command_settings, lost_keys, open_parts, secret_box


def anchor(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there; a file that exists is left alone.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign the heads of all chains as they are now, to be kept where those who run mealtrail cannot change it.

    It signs what the store says without reading the rows: verify first. Exits 1 when the store contradicts itself.
    """

    async def run() -> Anchor:
        async with open_parts(command_settings()) as parts:
            return await make_anchor(parts.store, _ring(parts), now_ms=SYSTEM_CLOCK.now_ms)

    if out is not None and out.exists():
        raise typer.BadParameter(f"{out} exists, and an anchor is not written over", param_hint="--out")
    made = run_command(run)
    if out is not None:
        _write(out, made.document())
    if as_json:
        print_document(orjson.loads(made.document()))
    elif out is not None:
        print_line(f"{out}: {made.rows} rows in {made.partitions} partitions, key {made.key_id}, made {made.made_at}")
    else:
        print_line(made.document().decode().rstrip("\n"))


def show_keys(as_json: AsJson = False) -> None:
    """Print the public keys that anchors are checked with, one a key of the ring; the first one signs. No secrets."""

    async def run() -> dict[str, str]:
        async with open_parts(command_settings()) as parts:
            return PublicKeys.of_ring(_ring(parts)).texts()

    keys = run_command(run)
    if as_json:
        print_document({"keys": [{"key_id": key_id, "public_key": text} for key_id, text in keys.items()]})
        return
    print_table(
        ("key", "public key"), [(key_id, f"{key_id}:{text}") for key_id, text in keys.items()], empty="", whole=("key",)
    )


async def read_anchors(parts: Parts, files: Sequence[Path], public_keys: Sequence[str]) -> list[Anchor]:
    """The anchors in these files, each checked against keys, deployment and clock. With `public_keys` the ring is not
    opened. Raises AnchorRefused, SettingsInvalid, StoreUnavailable, and a usage error for a wrong key.
    """
    if not files:
        return []
    try:
        keys = PublicKeys.parse(public_keys) if public_keys else PublicKeys.of_ring(_ring(parts))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--public-key") from error
    anchors = []
    for file in files:
        found = load_anchor(_read(file), name=str(file))
        await check_anchor(parts.store, found, keys, name=str(file), now_ms=SYSTEM_CLOCK.now_ms())
        anchors.append(found)
    return anchors


def _ring(parts: Parts) -> SecretBox:
    if parts.keys_lost:
        raise lost_keys(parts.settings)
    return secret_box(parts.settings)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as content:
            found = content.read(MAX_BYTES + 1)
    except OSError as error:
        raise AnchorUnreadable(f"cannot read {file}: {error.strerror}") from error
    if len(found) > MAX_BYTES:
        raise AnchorUnreadable(f"{file} is no anchor: it is over {MAX_BYTES} bytes long")
    return found


def _write(file: Path, content: bytes) -> None:
    """A new file, on the disk when this returns. Raises a usage error."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "wb") as target:
            target.write(content)
            target.flush()
            os.fsync(target.fileno())
    except OSError as error:
        raise typer.BadParameter(f"cannot write {file}: {error.strerror}", param_hint="--out") from error
