"""`mealtrail source dialects`: which partners' formats there are, and what each asks for."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from service.cli.options import AsJson
from service.cli.output import print_document, print_line, print_remark, print_table
from service.dialects.endpoints import POSTED
from service.dialects.profile import Profile, Refusal
from service.dialects.registry import DIALECTS, NATIVE

_OPTIONS = {"secret": "--secret-file", "url": "--url", "zone": "--zone"}


def profiles() -> list[Profile]:
    """The profiles of all dialects, native first, then by name."""
    return [dialect.profile for dialect in DIALECTS.values()]


def needed_options(profile: Profile) -> list[str]:
    """The options of `source add` that this format cannot do without."""
    return [_OPTIONS[need] for need in sorted(profile.needs)]


def unread_options(profile: Profile, *, url: str | None, zone: str | None) -> list[str]:
    """The options that were given and that this format does not look at."""
    unread = [] if url is None or "url" in profile.needs else ["--url"]
    return unread if zone is None or profile.reads_zone else [*unread, "--zone"]


def show_dialects(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One format with all that is known of it; all if unset.")
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="The tables of docs/dialects.md, generated from the code.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the formats that a source may speak, with what each asks for; of one, its proof, refusals and facts."""
    if name is not None:
        if name not in DIALECTS:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(DIALECTS)}", param_hint="NAME")
        _show_one(DIALECTS[name].profile, markdown=markdown, as_json=as_json)
    elif markdown:
        print_line(markdown_tables().rstrip())
    elif as_json:
        print_document({"dialects": [_document(profile) for profile in profiles()]})
    else:
        columns = ("dialect", "needs", "usual role", "usual auth", "answers")
        print_table(columns, (_row(profile) for profile in profiles()), empty="none", whole=columns)
        print_remark("each with its other roles, its proof, its refusals and facts: mealtrail source dialects NAME")


def _row(profile: Profile) -> tuple[str, ...]:
    """What fits a line of 80 characters."""
    native = profile.name == NATIVE.name
    needs = " ".join([*(["--role"] if native else []), *needed_options(profile)]) or "-"
    return (
        profile.name,
        needs,
        "-" if native else profile.roles[0].value,
        profile.schemes[0],
        str(profile.success_status),
    )


def _show_one(profile: Profile, *, markdown: bool, as_json: bool) -> None:
    """One format in lines of `what  it says`, the usual role and scheme first."""
    if markdown:
        raise typer.BadParameter("is of all formats, without NAME", param_hint="--markdown")
    if as_json:
        print_document(_document(profile))
        return
    lines = [
        ("partner", f"{profile.title}, --dialect {profile.name}"),
        ("needs", " ".join(needed_options(profile)) or "nothing beside a name"),
        ("roles", ", ".join(profile.roles)),
        ("auth", ", ".join(profile.schemes)),
        ("proof", profile.proof),
        ("calls", _calls(profile)),
        *([] if profile.token is None else [("tokens", _tokens(profile))]),
        ("order", profile.order_field),
        ("event id", profile.event_id),
        ("time", profile.times),
        ("answer", f"{profile.success_status}, wanted within: {profile.within}"),
        ("resends", profile.resends),
        *((f"on {refusal}", _told(profile, refusal)) for refusal in Refusal),
        *(("fact", fact) for fact in profile.facts),
    ]
    for what, says in lines:
        print_line(f"{what:<12}{says.replace('`', '').replace('**', '')}")


def _document(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "title": profile.title,
        "roles": list(profile.roles),
        "auth": list(profile.schemes),
        "needs": needed_options(profile),
        "proof": profile.proof,
        "answers": profile.success_status,
        "within": profile.within,
        "resends": profile.resends,
        "order_field": profile.order_field,
        "event_id": profile.event_id,
        "times": profile.times,
        "calls": [{"method": endpoint.method, "path": endpoint.path} for endpoint in profile.endpoints],
        "token": None
        if profile.token is None
        else {"path": profile.token.path, "scopes": list(profile.token.scopes), "expires_in": profile.token.lifetime_s},
        "refusals": {
            refusal.value: {"status": told.status, "causes": told.causes} for refusal, told in profile.refusals.items()
        },
        "facts": list(profile.facts),
    }


def markdown_tables() -> str:
    """What stands between the marks in docs/dialects.md."""
    return "\n".join(
        (
            _table(
                ("`--dialect`", "Partner", "Roles", "Needs", "Auth", "Proof", "Answer", "Wants it within"),
                [
                    (
                        f"`{profile.name}`",
                        profile.title,
                        ", ".join(f"`{role}`" for role in profile.roles),
                        " ".join(f"`{option}`" for option in needed_options(profile)) or "–",
                        ", ".join(f"`{scheme}`" for scheme in profile.schemes),
                        profile.proof,
                        f"{profile.success_status}{'' if profile.success_body is not None else ' empty'}",
                        profile.within,
                    )
                    for profile in profiles()
                ],
            ),
            _table(
                ("", "Names the order in", "Event id", "Time", "Sends again"),
                [
                    (f"`{profile.name}`", profile.order_field, profile.event_id, profile.times, profile.resends)
                    for profile in profiles()
                ],
            ),
            _table(
                ("Our refusal causes", *(refusal.value for refusal in Refusal)),
                [(f"`{profile.name}`", *(_told(profile, refusal) for refusal in Refusal)) for profile in profiles()],
            ),
            _table(
                ("", "Calls, on and below `/v1/webhooks/NAME`", "Access tokens"),
                [
                    (f"`{profile.name}`", _calls(profile), _tokens(profile))
                    for profile in profiles()
                    if profile.token is not None or profile.endpoints != (POSTED,)
                ],
            ),
            "Where these facts come from ([O] the partner's own page or SDK, [I] other people's code, [D] derived):\n",
            *(f"- `{profile.name}`: {'; '.join(profile.facts)}." for profile in profiles() if profile.facts),
            "",
        )
    )


def _calls(profile: Profile) -> str:
    return ", ".join(f"`{f'{one.method} {one.path}'.strip()}`" for one in profile.endpoints)


def _tokens(profile: Profile) -> str:
    grant = profile.token
    return "–" if grant is None else f"`POST {grant.path}`, scope `{' '.join(grant.scopes)}`, {grant.lifetime_s} s"


def _told(profile: Profile, refusal: Refusal) -> str:
    told = profile.refusals.get(refusal)
    if told is None:
        return "–"
    return told.causes if told.status is None else f"**told {told.status}**: {told.causes}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines) + "\n"
