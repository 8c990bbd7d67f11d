"""The root of the command line, and the one place where errors become words and exit codes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.main import get_command

from schemas.errors import MealtrailError
from service.cli.accounts import accounts_app
from service.cli.audit import audit_app
from service.cli.consume import consume
from service.cli.dead_letters import dead_letters_app
from service.cli.erase import erase_app
from service.cli.exits import EXIT_CODES_HELP, ExitCode, report_error
from service.cli.invocation import PROGRAM
from service.cli.migrate import migrate
from service.cli.orders import orders_app
from service.cli.output import print_line
from service.cli.rebuild import rebuild
from service.cli.schema_files import schemas_app
from service.cli.send import send
from service.cli.serve import serve
from service.cli.sources import sources_app
from service.cli.startup import own_version
from service.cli.tokens import tokens_app
from service.cli.up import up

app = typer.Typer(
    name=PROGRAM,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,  # it would print local variables, and those hold secrets
    epilog=EXIT_CODES_HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        print_line(f"{PROGRAM} {own_version()}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Takes order-status webhooks, keeps each one before it answers, applies it exactly once, and proves it.

    Settings are MEALTRAIL_* variables. With --json a command prints exactly one JSON document on standard output;
    logs and errors go to standard error.
    """


app.command()(up)
app.command()(serve)
app.command()(consume)
app.command()(migrate)
app.command()(rebuild)
app.add_typer(sources_app, name="source")
app.add_typer(tokens_app, name="token")
app.add_typer(accounts_app, name="account")
app.command()(send)
app.add_typer(orders_app, name="order")
app.add_typer(audit_app, name="audit")
app.add_typer(dead_letters_app, name="dead-letters")
app.add_typer(erase_app, name="erase")
app.add_typer(schemas_app, name="schemas")


def command_line() -> Any:
    """All commands, as they are run. A flag's help shows no type: there is nothing to put behind it."""
    root_command = get_command(app)
    _drop_flag_types(root_command, None)
    return root_command


def _drop_flag_types(command: Any, parent: typer.Context | None) -> None:
    names = app.info.context_settings["help_option_names"] if app.info.context_settings else ["--help"]
    context = typer.Context(command, parent=parent, help_option_names=names)
    for param in (*command.params, command.get_help_option(context)):
        if getattr(param, "is_flag", False):
            param.metavar = ""
    for below in getattr(command, "commands", {}).values():
        _drop_flag_types(below, context)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command line (of this process unless given) and ends with its exit code: always raises SystemExit."""
    try:
        command_line()(args=arguments, prog_name=PROGRAM)
    except MealtrailError as error:
        sys.exit(report_error(error))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception:  # noqa: BLE001 - the end of the line: a fault of ours has a code of its own, never 1
        traceback.print_exc()
        sys.exit(ExitCode.INTERNAL)
