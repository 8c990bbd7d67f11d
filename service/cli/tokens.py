"""`mealtrail token …`: access tokens for people and programs that read."""

from __future__ import annotations

from typing import Annotated

import typer

from backbone.store.tokens import AccessToken, Scope
from schemas.times import rfc3339_millis
from service.cli.interrupts import run_command
from service.cli.options import AsJson
from service.cli.output import print_document, print_line, print_table
from service.cli.parts import command_settings, login_user, open_parts
from service.cli.walltimes import wall_time

tokens_app = typer.Typer(help="Access tokens for the HTTP API: add, list, revoke.", no_args_is_help=True)

TokenName = Annotated[str, typer.Argument(metavar="NAME")]


@tokens_app.command("add")
def add_token(
    name: TokenName,
    scope: Annotated[Scope, typer.Option("--scope", help="What it opens; every scope may read.")] = "read",
    as_json: AsJson = False,
) -> None:
    """Add an access token and print it, once."""

    async def run() -> str:
        async with open_parts(command_settings(), make=True) as parts:
            return await parts.tokens().add(name, scope, actor=login_user())

    token = run_command(run)
    if as_json:
        print_document({"name": name, "token": token})
        return
    print_line(f"token   {token}")
    print_line("Keep it now: it is not shown again.")


@tokens_app.command("list")
def list_tokens(as_json: AsJson = False) -> None:
    """List access tokens, revoked ones too; their text is never shown."""

    async def run() -> list[AccessToken]:
        async with open_parts(command_settings()) as parts:
            return await parts.tokens().all()

    found = run_command(run)
    if as_json:
        print_document(
            {
                "tokens": [
                    {
                        "name": token.name,
                        "scope": token.scope,
                        "created_at": rfc3339_millis(token.created_at),
                        "revoked_at": None if token.revoked_at is None else rfc3339_millis(token.revoked_at),
                    }
                    for token in found
                ]
            }
        )
        return
    print_table(
        ("name", "scope", "created", "state"),
        (
            (token.name, token.scope, wall_time(token.created_at), "live" if token.revoked_at is None else "revoked")
            for token in found
        ),
        empty="no tokens yet: mealtrail token add NAME",
    )


@tokens_app.command("revoke")
def revoke_token(name: TokenName, as_json: AsJson = False) -> None:
    """Make a token open nothing any more. Running servers know it within 5 s."""

    async def run() -> None:
        async with open_parts(command_settings()) as parts:
            await parts.tokens().revoke(name, actor=login_user())

    run_command(run)
    if as_json:
        print_document({"name": name, "revoked": True})
    else:
        print_line(f"{name} is revoked")
