"""`mealtrail source …`: who may post, as what, and with which credential."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from backbone.store.definitions import STANDARD_WEBHOOKS
from backbone.store.sources import Source
from schemas.errors import DefinitionInvalid
from schemas.times import rfc3339_millis
from service.cli.dialect_table import show_dialects
from service.cli.interrupts import run_command
from service.cli.options import AsJson, duration_option
from service.cli.output import print_document, print_line, print_table
from service.cli.parts import command_settings, login_user, open_parts
from service.cli.refusals import show_refusals
from service.cli.source_add import add_source
from service.cli.source_credentials import (
    Issued,
    SecretEncoding,
    SecretEncodingOption,
    SecretFile,
    SourceName,
    describe_policy,
    issued_secret,
    show_credential,
)
from service.dialects.registry import DIALECTS

_GRACE_MS = 24 * 3600 * 1000

sources_app = typer.Typer(
    help="Partners' credentials: add, list, rotate, disable, enable, refusals; dialects lists partners' formats.",
    no_args_is_help=True,
)

sources_app.command("add")(add_source)


@sources_app.command("list")
def list_sources(
    every: Annotated[bool, typer.Option("--all", help="Disabled ones too.")] = False, as_json: AsJson = False
) -> None:
    """List sources; secrets are never shown."""

    async def run() -> list[Source]:
        async with open_parts(command_settings()) as parts:
            return await parts.sources().all(include_disabled=True)

    known = run_command(run)
    found = [source for source in known if every or source.disabled_at is None]
    if as_json:
        print_document({"sources": [_document(source) for source in found]})
        return
    print_table(
        ("name", "dialect", "role", "parties", "auth", "policy", "state"),
        (
            (
                source.name,
                source.dialect,
                source.role.value,
                "all" if source.parties is None else ", ".join(source.parties),
                source.auth,
                describe_policy(source),
                _state(source),
            )
            for source in found
        ),
        empty=(
            f"no live source; {len(known)} disabled: --all shows them"
            if known
            else "no sources yet: mealtrail source add NAME --role ROLE"
        ),
        whole=("name", "dialect"),
    )


@sources_app.command("rotate")
def rotate_source(
    name: SourceName,
    grace: Annotated[
        int,
        typer.Option(
            "--grace",
            parser=duration_option,
            metavar="DURATION",
            show_default="24h",
            help="How long the credentials before it stay valid.",
        ),
    ] = _GRACE_MS,
    secret_file: SecretFile = None,
    secret_encoding: SecretEncodingOption = None,
    as_json: AsJson = False,
) -> None:
    """Give a source a new secret or token and print it, once. Running servers take it within 5 s."""

    async def run() -> tuple[Source, str, Issued]:
        async with open_parts(command_settings()) as parts:
            sources = parts.sources()
            known = {source.name: source for source in await sources.all(include_disabled=True)}
            issued = _new_secret(known.get(name), secret_file, secret_encoding)
            source, secret = await sources.rotate(name, grace_ms=grace, secret=issued.value, actor=login_user())
            return source, secret, issued

    source, secret, issued = run_command(run)
    show_credential(source, secret, issued, as_json=as_json)


def _new_secret(source: Source | None, path: Path | None, encoding: SecretEncoding | None) -> Issued:
    """The secret for a rotation. Raises DefinitionInvalid where the source's partner issues it and none is given."""
    dialect = None if source is None else DIALECTS.get(source.dialect)
    if path is None and dialect is not None and "secret" in dialect.profile.needs:
        raise DefinitionInvalid(
            f"{dialect.profile.title} issues its secret itself, one made here would refuse all that it sends: give "
            "--secret-file"
        )
    return issued_secret(path, encoding, STANDARD_WEBHOOKS if source is None else source.auth)


@sources_app.command("disable")
def disable_source(name: SourceName, as_json: AsJson = False) -> None:
    """Refuse everything that a source sends from now on. Running servers know it within 5 s. `enable` undoes it."""

    async def run() -> None:
        async with open_parts(command_settings()) as parts:
            await parts.sources().disable(name, actor=login_user())

    run_command(run)
    if as_json:
        print_document({"name": name, "disabled": True})
    else:
        print_line(f"{name} is disabled")


@sources_app.command("enable")
def enable_source(name: SourceName, as_json: AsJson = False) -> None:
    """Take a disabled source's requests again, with the credentials it had. Running servers know it within 5 s."""

    async def run() -> None:
        async with open_parts(command_settings()) as parts:
            await parts.sources().enable(name, actor=login_user())

    run_command(run)
    if as_json:
        print_document({"name": name, "disabled": False})
    else:
        print_line(f"{name} is enabled")


def _state(source: Source) -> str:
    state = "live" if source.disabled_at is None else "disabled"
    return f"{state}, does not open: {', '.join(source.sealed)}" if source.sealed else state


def _document(source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "uid": source.uid,
        "role": source.role.value,
        "parties": None if source.parties is None else list(source.parties),
        "dialect": source.dialect,
        "auth": source.auth,
        "policy": source.policy.value,
        "hold_ms": source.hold_ms,
        "ahead_hold_ms": source.ahead_hold_ms,
        "skew_ms": source.skew_ms,
        "rate": source.rate,
        "url": source.url,
        "id_prefix": source.id_prefix,
        "stores": dict(source.stores),
        "zone": source.zone,
        "credentials": len(source.secrets) + len(source.token_hashes),
        "created_at": rfc3339_millis(source.created_at),
        "disabled_at": None if source.disabled_at is None else rfc3339_millis(source.disabled_at),
        "does_not_open": list(source.sealed),
    }


sources_app.command("refusals")(show_refusals)
sources_app.command("dialects")(show_dialects)
