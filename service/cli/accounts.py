"""`mealtrail account …`: accounts of the StoreHarmony API, which make store locations and track their orders."""

from __future__ import annotations

from typing import Annotated

import typer

from backbone.store.accounts import Account
from schemas.times import rfc3339_millis
from service.cli.interrupts import run_command
from service.cli.options import AsJson
from service.cli.output import print_document, print_line, print_table
from service.cli.parts import command_settings, login_user, open_parts
from service.cli.walltimes import wall_time

accounts_app = typer.Typer(help="Accounts of the StoreHarmony API: add, list, disable.", no_args_is_help=True)

AccountName = Annotated[str, typer.Argument(metavar="NAME")]


@accounts_app.command("add")
def add_account(name: AccountName, as_json: AsJson = False) -> None:
    """Add an account and print its id and its first session token, once."""

    async def run() -> tuple[Account, str]:
        async with open_parts(command_settings(), make=True) as parts:
            return await parts.accounts().add(name, actor=login_user())

    account, token = run_command(run)
    if as_json:
        print_document({"name": name, "account_id": account.account_id, "session_token": token})
        return
    print_line(f"account {account.account_id}")
    print_line(f"token   {token}")
    print_line("Keep the token now: it is not shown again.")


@accounts_app.command("list")
def list_accounts(as_json: AsJson = False) -> None:
    """List accounts, disabled ones too; tokens are never shown."""

    async def run() -> list[Account]:
        async with open_parts(command_settings()) as parts:
            return await parts.accounts().all()

    found = run_command(run)
    if as_json:
        print_document(
            {
                "accounts": [
                    {
                        "name": account.name,
                        "account_id": account.account_id,
                        "stores": account.stores,
                        "created_at": rfc3339_millis(account.created_at),
                        "disabled_at": None if account.disabled_at is None else rfc3339_millis(account.disabled_at),
                    }
                    for account in found
                ]
            }
        )
        return
    print_table(
        ("name", "account", "stores", "created", "state"),
        (
            (
                account.name,
                account.account_id,
                str(account.stores),
                wall_time(account.created_at),
                "live" if account.disabled_at is None else "disabled",
            )
            for account in found
        ),
        empty="no accounts yet: mealtrail account add NAME",
    )


@accounts_app.command("disable")
def disable_account(name: AccountName, as_json: AsJson = False) -> None:
    """Make an account's tokens and those of its stores open nothing any more, at once and for good."""

    async def run() -> None:
        async with open_parts(command_settings()) as parts:
            await parts.accounts().disable(name, actor=login_user())

    run_command(run)
    if as_json:
        print_document({"name": name, "disabled": True})
    else:
        print_line(f"{name} is disabled")
