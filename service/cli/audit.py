"""`mealtrail audit …`: what proves that the trail is what was written, and who changed what beside it."""

from __future__ import annotations

import typer

from service.cli.audit_acts import acts
from service.cli.audit_anchor import anchor, show_keys
from service.cli.audit_verify import verify

audit_app = typer.Typer(help="Prove that the trail is what was written.", no_args_is_help=True)


@audit_app.callback()
def audit() -> None:
    """Prove that the trail is what was written."""


audit_app.command("verify")(verify)
audit_app.command("anchor")(anchor)
audit_app.command("key")(show_keys)
audit_app.command("acts")(acts)
