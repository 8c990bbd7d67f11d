"""`mealtrail send --day`: a partner's day for one order, played against a running service.

Each message goes out as the partner would send it: its body, its signature, its repeats and its disorder. Who acts
beside the partner (a kitchen, a platform that announces a courier's order) is not played: their steps are theirs to
send.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson
import typer
from yarl import URL

from schemas.errors import Unavailable
from schemas.identifiers import normalise_id
from service.cli.exits import ExitCode
from service.cli.interrupts import run_command
from service.cli.output import mask_url, print_document, print_line, print_remark
from service.dialects.days import Message, Signing
from service.dialects.partner import PartnerDialect
from service.dialects.registry import DIALECTS

_REQUEST_LIMIT_S = 15.0
_DAY = timedelta(hours=2)
"""The times that a day writes lie in the past: it begins so long before it is played."""
DEFAULT_STORE = "demo-store"


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySending:
    """One run. `signed_url` is the address that the partner has on file, where its signature covers it."""

    dialect: PartnerDialect
    source: str
    url: str
    signed_url: str
    order_id: str
    store: str
    auth: str
    secret: str = field(repr=False)

    async def play(self) -> list[dict[str, Any]]:
        """Sends the messages one after another; what each was and how it was answered. Raises Unavailable when nobody
        answers.
        """
        start = datetime.now(UTC).replace(microsecond=0) - _DAY
        timeout = aiohttp.ClientTimeout(total=_REQUEST_LIMIT_S)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                day = self.dialect.day(self.order_id, self.store, start)
                return [
                    await self._post(session, message) for message in day
                ]  # one after another: order is a part of it
        except (aiohttp.ClientError, TimeoutError) as error:
            what = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise Unavailable(f"{mask_url(self.url)}: {what}; is `mealtrail up` running?") from error

    async def _post(self, session: aiohttp.ClientSession, message: Message) -> dict[str, Any]:
        signing = Signing(
            secret=self.secret,
            auth=self.auth,
            url=self.signed_url,
            now_ms=int(time.time() * 1000),
            token_header=self.dialect.profile.token_header,
        )
        outgoing = self.dialect.sign(message.raw(), signing)
        headers = {"Content-Type": "application/json", **message.headers, **outgoing.headers}
        path = message.endpoint.address(message.variables)
        target = URL(f"{self.url}/v1/webhooks/{quote(self.source, safe='')}{path}", encoded=True)
        sending = session.request(
            message.endpoint.method, target, data=outgoing.body, headers=headers, allow_redirects=False
        )
        async with sending as answer:
            text = (await answer.read()).decode("utf-8", "replace")
            receipt = answer.headers.get("Location", "").rpartition("/")[2] or None
            return {"says": message.says, "status": answer.status, "receipt_id": receipt, "body": _readable(text)}


_OF_ONE_STATUS = (
    "order_id", "status", "read_token", "occurred_at", "event_id", "comment", "reason", "attribute", "repeat", "wait",
)  # fmt: skip
_OF_A_DAY = ("dialect", "order", "store", "auth", "signed_url")
_ARGUMENTS = {"order_id": "ID", "status": "STATUS"}


def check_usage(context: typer.Context, *, day: bool) -> None:
    """Raises a usage error that names what was given and means nothing with `--day`, or without it. What comes from the
    environment is there for whoever needs it, and no mistake.
    """
    given = []
    for name in _OF_ONE_STATUS if day else _OF_A_DAY:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            given.append(_ARGUMENTS.get(name, f"--{name.replace('_', '-')}"))
    if given:
        raise typer.BadParameter(f"{', '.join(given)}: {'not with --day' if day else 'with --day alone'}")


def play_day(
    *,
    dialect: str | None,
    source: str | None,
    order_id: str | None,
    store: str | None,
    auth: str | None,
    secret: str,
    url: str,
    signed_url: str | None,
    as_json: bool,
) -> None:
    """The command: plays the day, prints each answer, exits as `send` does."""
    partner = DIALECTS.get(dialect or "")
    if not isinstance(partner, PartnerDialect):
        known = ", ".join(name for name, one in DIALECTS.items() if isinstance(one, PartnerDialect))
        raise typer.BadParameter(f"whose day? one of {known}", param_hint="--dialect")
    scheme = auth or partner.profile.schemes[0]
    if scheme not in partner.profile.schemes:
        raise typer.BadParameter(f"one of {', '.join(partner.profile.schemes)}", param_hint="--auth")
    source = source or partner.name
    if "url" in partner.profile.needs and signed_url is None:
        signed_url = f"{url}/v1/webhooks/{quote(source, safe='')}"
    sending = DaySending(
        dialect=partner,
        source=source,
        url=url,
        signed_url=signed_url or "",
        order_id=_order_id(order_id),
        store=store or DEFAULT_STORE,
        auth=scheme,
        secret=secret.strip(),
    )
    told = run_command(sending.play)
    if as_json:
        print_document({"dialect": partner.name, "order_id": sending.order_id, "messages": told})
    else:
        print_line(f"{partner.profile.title}: the day of order {sending.order_id}")
        for one in told:
            print_line(f"{one['status']}  {one['says']}{_detail(one['body'])}")
        if any(one["status"] == 401 for one in told):
            print_remark(f"the reason of a 401, on mealtrail's own machine: mealtrail source refusals {source}")
        if any(one["receipt_id"] for one in told):
            print_remark(f"what became of it: mealtrail order show {sending.order_id} (with the source's id prefix)")
    code = _exit_code([one["status"] for one in told])
    if code:
        raise typer.Exit(code)


def _order_id(given: str | None) -> str:
    if given is None:
        return f"day-{uuid.uuid4().hex[:8]}"
    try:
        return normalise_id(given)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--order") from error


def _readable(text: str) -> Any:
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return text[:2000]


def _detail(body: Any) -> str:
    return f": {body['detail']}" if isinstance(body, dict) and "detail" in body else ""


def _exit_code(statuses: Sequence[int]) -> ExitCode:
    worst = max(statuses)
    if worst >= 500 or worst == 429:
        return ExitCode.UNAVAILABLE
    return ExitCode.REFUSED if worst >= 300 else ExitCode.OK
