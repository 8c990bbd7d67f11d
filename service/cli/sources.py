"""`mealtrail source …`: who may post, as what, and with which credential."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from backbone.settings import load_settings
from backbone.store.definitions import STANDARD_WEBHOOKS, Auth
from backbone.store.sources import NewSource, Source
from schemas.records import DEFAULT_HOLD_MS, DEFAULT_SKEW_MS
from schemas.statuses import Policy, Role
from schemas.times import rfc3339_millis
from service.cli.addresses import own_url
from service.cli.options import AsJson, duration_option, read_secret
from service.cli.output import print_document, print_line, print_table
from service.cli.parts import command_settings, login_user, open_parts
from service.cli.refusals import show_refusals
from service.dialects.registry import DIALECTS

_GRACE_MS = 24 * 3600 * 1000

sources_app = typer.Typer(
    help="Partners' credentials: add, list, rotate, disable, enable, refusals.", no_args_is_help=True
)

SourceName = Annotated[str, typer.Argument(metavar="NAME")]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--secret-file", metavar="F", help="A secret that the partner issued, from a file; - is standard input."
    ),
]


class SourceRole(StrEnum):
    """The roles that a source may have; operators act by command line."""

    RESTAURANT = Role.RESTAURANT.value
    COURIER = Role.COURIER.value
    MARKETPLACE = Role.MARKETPLACE.value
    PLATFORM = Role.PLATFORM.value


SecretEncoding = Literal["whsec", "raw"]
_WHSEC: SecretEncoding = "whsec"
SecretEncodingOption = Annotated[
    SecretEncoding,
    typer.Option(
        "--secret-encoding", help="What the secret file holds: whsec is the key in base64, raw is the key's own text."
    ),
]


def _issued_secret(path: Path | None, encoding: SecretEncoding) -> bytes | str | None:
    if path is None:
        return None
    text = read_secret(path)
    return text.encode() if encoding == "raw" else text


@sources_app.command("add")
def add_source(  # noqa: PLR0917 - one parameter an option
    name: SourceName,
    role: Annotated[SourceRole, typer.Option("--role", help="What it is to an order.")],
    party: Annotated[
        list[str] | None,
        typer.Option("--party", metavar="ID", help="A party it speaks for; several times; none = all."),
    ] = None,
    dialect: Annotated[
        str, typer.Option("--dialect", help=f"The format of its bodies: {', '.join(sorted(DIALECTS))}.")
    ] = "native",
    auth: Annotated[Auth, typer.Option("--auth", help="How it proves itself.")] = STANDARD_WEBHOOKS,
    policy: Annotated[
        Policy, typer.Option("--policy", help="What skipped steps mean; strict comes with a later release.")
    ] = Policy.FORWARD,
    hold: Annotated[
        int,
        typer.Option(
            "--hold",
            parser=duration_option,
            metavar="DURATION",
            show_default="24h",
            help="How long events of unknown orders wait; 0 rejects at once.",
        ),
    ] = DEFAULT_HOLD_MS,
    skew: Annotated[
        int,
        typer.Option(
            "--skew",
            parser=duration_option,
            metavar="DURATION",
            show_default="2m",
            help="How far its clock may be off.",
        ),
    ] = DEFAULT_SKEW_MS,
    rate: Annotated[int, typer.Option("--rate", min=1, help="Requests a second.")] = 1000,
    secret_file: SecretFile = None,
    secret_encoding: SecretEncodingOption = _WHSEC,
    url: Annotated[str | None, typer.Option("--url", help="Our URL, for signatures that cover it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Add a source and print its secret or token, once."""
    if dialect not in DIALECTS:
        raise typer.BadParameter(f"known dialects: {', '.join(sorted(DIALECTS))}", param_hint="--dialect")
    new = NewSource(
        name=name,
        role=Role(role.value),
        parties=tuple(party) if party else None,
        dialect=dialect,
        auth=auth,
        policy=policy,
        hold_ms=hold,
        skew_ms=skew,
        rate=rate,
        url=url,
        secret=_issued_secret(secret_file, secret_encoding),
    )

    async def run() -> tuple[Source, str]:
        async with open_parts(command_settings(), make=True) as parts:
            return await parts.sources().add(new, actor=login_user())

    source, secret = asyncio.run(run())
    _show_credential(source, secret, as_json=as_json)


@sources_app.command("list")
def list_sources(
    every: Annotated[bool, typer.Option("--all", help="Disabled ones too.")] = False, as_json: AsJson = False
) -> None:
    """List sources; secrets are never shown."""

    async def run() -> list[Source]:
        async with open_parts(command_settings()) as parts:
            return await parts.sources().all(include_disabled=True)

    known = asyncio.run(run())
    found = [source for source in known if every or source.disabled_at is None]
    if as_json:
        print_document({"sources": [_document(source) for source in found]})
        return
    print_table(
        ("name", "role", "parties", "auth", "state"),
        (
            (
                source.name,
                source.role.value,
                "all" if source.parties is None else ", ".join(source.parties),
                source.auth,
                _state(source),
            )
            for source in found
        ),
        empty=(
            f"no live source; {len(known)} disabled: --all shows them"
            if known
            else "no sources yet: mealtrail source add NAME --role ROLE"
        ),
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
    secret_encoding: SecretEncodingOption = _WHSEC,
    as_json: AsJson = False,
) -> None:
    """Give a source a new secret or token and print it, once. Running servers take it within 5 s."""

    async def run() -> tuple[Source, str]:
        issued = _issued_secret(secret_file, secret_encoding)
        async with open_parts(command_settings()) as parts:
            return await parts.sources().rotate(name, grace_ms=grace, secret=issued, actor=login_user())

    source, secret = asyncio.run(run())
    _show_credential(source, secret, as_json=as_json)


@sources_app.command("disable")
def disable_source(name: SourceName, as_json: AsJson = False) -> None:
    """Refuse everything that a source sends from now on. Running servers know it within 5 s. `enable` undoes it."""

    async def run() -> None:
        async with open_parts(command_settings()) as parts:
            await parts.sources().disable(name, actor=login_user())

    asyncio.run(run())
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

    asyncio.run(run())
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
        "skew_ms": source.skew_ms,
        "rate": source.rate,
        "url": source.url,
        "credentials": len(source.secrets) + len(source.token_hashes),
        "created_at": rfc3339_millis(source.created_at),
        "disabled_at": None if source.disabled_at is None else rfc3339_millis(source.disabled_at),
        "does_not_open": list(source.sealed),
    }


def _show_credential(source: Source, secret: str, *, as_json: bool) -> None:
    if as_json:
        print_document(
            {"name": source.name, "uid": source.uid, "role": source.role.value, "auth": source.auth, "secret": secret}
        )
        return
    print_line(f"source  {source.name} ({source.role.value}, {source.auth})")
    settings = load_settings()
    known = settings.public_url is not None or settings.port != 0
    print_line(f"posts   {own_url(settings) if known else ''}/v1/webhooks/{source.name}")
    print_line(f"secret  {secret}")
    print_line("Keep it now: it is not shown again.")


sources_app.command("refusals")(show_refusals)
