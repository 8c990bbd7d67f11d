"""`mealtrail source add`: a source with all that may be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from backbone.store.definitions import Auth
from backbone.store.sources import NewSource, Source
from schemas.errors import DefinitionInvalid
from schemas.records import DEFAULT_AHEAD_HOLD_MS, DEFAULT_HOLD_MS, DEFAULT_SKEW_MS
from schemas.statuses import Policy, Role
from service.cli.dialect_table import needed_options, unread_options
from service.cli.interrupts import run_command
from service.cli.options import AsJson, duration_option
from service.cli.output import print_remark
from service.cli.parts import command_settings, login_user, open_parts
from service.cli.source_credentials import (
    SecretEncodingOption,
    SecretFile,
    SourceName,
    issued_secret,
    show_credential,
)
from service.dialects.registry import DIALECTS, NATIVE


class SourceRole(StrEnum):
    """The roles that a source may have; operators act by command line."""

    RESTAURANT = Role.RESTAURANT.value
    COURIER = Role.COURIER.value
    MARKETPLACE = Role.MARKETPLACE.value
    PLATFORM = Role.PLATFORM.value


def add_source(  # noqa: PLR0917 - one parameter an option
    name: SourceName,
    role: Annotated[
        SourceRole | None, typer.Option("--role", help="What it is to an order; a partner's format has a usual one.")
    ] = None,
    party: Annotated[
        list[str] | None,
        typer.Option(
            "--party",
            metavar="ID",
            help="A party it speaks for; several times; none = all, or of a partner's marketplace its name.",
        ),
    ] = None,
    dialect: Annotated[
        str, typer.Option("--dialect", help=f"The format of its bodies: {', '.join(sorted(DIALECTS))}.")
    ] = "native",
    auth: Annotated[
        Auth | None, typer.Option("--auth", help="How it proves itself.", show_default="as its format does")
    ] = None,
    policy: Annotated[
        Policy,
        typer.Option("--policy", help="What skipped steps mean: forward takes them as done, strict waits for them."),
    ] = Policy.FORWARD,
    ahead_hold: Annotated[
        int | None,
        typer.Option(
            "--ahead-hold",
            parser=duration_option,
            metavar="DURATION",
            show_default="30s",
            help="With strict: how long an event waits for the statuses that it skips; 0 rejects at once.",
        ),
    ] = None,
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
    secret_encoding: SecretEncodingOption = None,
    url: Annotated[str | None, typer.Option("--url", help="Our URL, for signatures that cover it.")] = None,
    id_prefix: Annotated[
        str | None, typer.Option("--id-prefix", metavar="TEXT", help="Put before the order ids that it names.")
    ] = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            "--store", metavar="PARTNER_ID=PARTY", help="Its store's id as our party, where they differ; several times."
        ),
    ] = None,
    zone: Annotated[
        str | None, typer.Option("--zone", metavar="IANA", help="Of times without an offset, as America/Bogota.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add a source and print its secret or token, once."""
    if dialect not in DIALECTS:
        raise typer.BadParameter(f"known dialects: {', '.join(sorted(DIALECTS))}", param_hint="--dialect")
    profile = DIALECTS[dialect].profile
    given = {"--secret-file": secret_file, "--url": url, "--zone": zone}
    if missing := [option for option in needed_options(profile) if given[option] is None]:
        raise DefinitionInvalid(f"{profile.title} needs {' and '.join(missing)}: mealtrail source dialects")
    auth = auth or profile.schemes[0]
    if auth not in profile.schemes:
        raise DefinitionInvalid(f"{profile.title} proves itself by {' or '.join(profile.schemes)}, not {auth}")
    if role is None and dialect == NATIVE.name:
        raise typer.BadParameter(f"one of {', '.join(SourceRole)}", param_hint="--role")
    chosen = profile.roles[0] if role is None else Role(role.value)
    if chosen not in profile.roles:
        raise DefinitionInvalid(f"{profile.title} is {' or '.join(profile.roles)} to an order, not {chosen}")
    if ahead_hold is not None and policy is not Policy.STRICT:
        raise DefinitionInvalid("--ahead-hold is how long --policy strict waits; with forward nothing waits for it")
    issued = issued_secret(secret_file, secret_encoding, auth)
    # Else two marketplaces that number their orders alike would move each other's.
    speaks_for_itself = not party and chosen is Role.MARKETPLACE and dialect != NATIVE.name
    new = NewSource(
        name=name,
        role=chosen,
        parties=(name,) if speaks_for_itself else tuple(party) if party else None,
        dialect=dialect,
        auth=auth,
        policy=policy,
        hold_ms=hold,
        ahead_hold_ms=DEFAULT_AHEAD_HOLD_MS if ahead_hold is None else ahead_hold,
        skew_ms=skew,
        rate=rate,
        url=url,
        id_prefix=id_prefix,
        stores=_store_map(store or ()),
        zone=zone,
        secret=issued.value,
    )

    async def run() -> tuple[Source, str]:
        async with open_parts(command_settings(), make=True) as parts:
            return await parts.sources().add(new, actor=login_user())

    source, secret = run_command(run)
    show_credential(source, secret, issued, as_json=as_json)
    if speaks_for_itself:
        print_remark(f"it speaks for the party {source.name}: orders of another marketplace it does not move (--party)")
    for option in unread_options(profile, url=url, zone=zone):
        print_remark(f"{option} is kept and means nothing here: {profile.title} has no use for it")


def _store_map(given: Sequence[str]) -> dict[str, str]:
    stores: dict[str, str] = {}
    for item in given:
        store, separator, party = item.partition("=")
        if not (separator and store.strip() and party.strip()) or store.strip() in stores:
            raise typer.BadParameter(f"{item!r}: PARTNER_ID=PARTY, each store once", param_hint="--store")
        stores[store.strip()] = party.strip()
    return stores
