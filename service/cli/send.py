"""`mealtrail send`: posts an order status as a partner would, and says what became of it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import aiohttp
import orjson
import typer

from backbone.settings import load_settings
from backbone.store.definitions import Auth
from schemas.errors import Unavailable
from service.cli.addresses import own_url
from service.cli.exits import ExitCode
from service.cli.interrupts import run_command
from service.cli.options import AsJson, OptionalStatus, read_secret, seconds_option
from service.cli.output import mask_url, print_document, print_line, print_remark
from service.cli.partner import Credential, StatusReport, signing_key
from service.cli.receipt_line import FINAL, describe_receipt
from service.cli.send_day import check_usage, play_day

_REQUEST_LIMIT_S = 15.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Any
    retry_after: str | None

    def document(self) -> dict[str, Any]:
        return {"status": self.status, "body": self.body, "retry_after": self.retry_after}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sending:
    """One run: where to, as whom, how often, how long to wait."""

    url: str
    source: str
    credential: Credential
    read_token: str | None
    report: StatusReport
    repeat: int
    wait_s: float

    async def post_all(self) -> tuple[list[_Answer], dict[str, Any] | None]:
        """The answers, and the receipt as far as it is known. Raises Unavailable when nobody answers."""
        timeout = aiohttp.ClientTimeout(total=_REQUEST_LIMIT_S + self.wait_s)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                answers = [await self._post(session, last=n == self.repeat - 1) for n in range(self.repeat)]
                return answers, await self._receipt(session, answers)
        except (aiohttp.ClientError, TimeoutError) as error:
            what = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise Unavailable(f"{mask_url(self.url)}: {what}; is `mealtrail up` running?") from error

    async def _post(self, session: aiohttp.ClientSession, *, last: bool) -> _Answer:
        body = self.report.body()
        headers = {
            "Content-Type": "application/json",
            **self.credential.headers(self.report.event_id, int(time.time()), body),
        }
        if last and self.wait_s >= 1:
            headers["Prefer"] = f"wait={int(self.wait_s)}"
        target = f"{self.url}/v1/webhooks/{quote(self.source, safe='')}"
        async with session.post(target, data=body, headers=headers, allow_redirects=False) as response:
            return _Answer(response.status, _readable(await response.read()), response.headers.get("Retry-After"))

    async def _receipt(self, session: aiohttp.ClientSession, answers: list[_Answer]) -> dict[str, Any] | None:
        """The receipt: from the answer where the server waited for us, else asked for until it is final."""
        body = answers[-1].body
        if self.wait_s <= 0 or not isinstance(body, dict) or "receipt_id" not in body:
            return None
        receipt: dict[str, Any] | None = body if "state" in body else None
        token = self.read_token or self.credential.token
        give_up = time.monotonic() + self.wait_s
        while token is not None and (receipt is None or receipt["state"] != FINAL):
            asked = await self._ask(session, str(body["receipt_id"]), token)
            receipt = asked if asked is not None else receipt
            if time.monotonic() > give_up or asked is None:
                break
            await asyncio.sleep(_POLL_S)
        return receipt

    async def _ask(self, session: aiohttp.ClientSession, receipt_id: str, token: str) -> dict[str, Any] | None:
        headers = {"Authorization": f"Bearer {token}"}
        async with session.get(f"{self.url}/v1/receipts/{receipt_id}", headers=headers) as response:
            body = _readable(await response.read())
            return body if response.status == 200 and isinstance(body, dict) and "state" in body else None


def send(  # noqa: PLR0917 - one parameter an option
    context: typer.Context,
    order_id: Annotated[str | None, typer.Argument(metavar="ID", show_default=False)] = None,
    status: OptionalStatus = None,
    source: Annotated[
        str | None,
        typer.Option("--source", help="The source's name; with --day the dialect's if unset.", show_default=False),
    ] = None,
    secret: Annotated[
        str | None,
        typer.Option("--secret", envvar="MEALTRAIL_SEND_SECRET", help="whsec_… to sign with.", show_default=False),
    ] = None,
    secret_file: Annotated[
        Path | None, typer.Option("--secret-file", help="The same from a file; - is standard input.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="MEALTRAIL_SEND_TOKEN", help="The source's bearer token.", show_default=False),
    ] = None,
    read_token: Annotated[
        str | None,
        typer.Option(
            "--read-token",
            envvar="MEALTRAIL_READ_TOKEN",
            help="Access token to ask for the receipt.",
            show_default=False,
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="Where mealtrail answers; from the settings if unset.")
    ] = None,
    occurred_at: Annotated[
        str, typer.Option("--occurred-at", help="RFC 3339 time, sent as it is; now; or none to leave it out.")
    ] = "now",
    event_id: Annotated[str | None, typer.Option("--event-id", help="Random if unset.")] = None,
    comment: Annotated[str | None, typer.Option("--comment")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="For CANCELLED: why.")] = None,
    attribute: Annotated[list[str] | None, typer.Option("--attribute", help="May be given several times.")] = None,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, max=1000, help="Send the same event so many times, one after another.")
    ] = 1,
    wait: Annotated[
        float, typer.Option("--wait", parser=seconds_option, metavar="SECONDS", help="Wait so long for the verdict.")
    ] = 0.0,
    day: Annotated[bool, typer.Option("--day", help="Play the whole day of a partner's order instead.")] = False,
    dialect: Annotated[
        str | None, typer.Option("--dialect", help="With --day: whose, as `source dialects` lists.")
    ] = None,
    order: Annotated[
        str | None, typer.Option("--order", metavar="ID", help="With --day: the order; a new id if unset.")
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", help="With --day: the partner's id of the restaurant.")
    ] = None,
    auth: Annotated[
        Auth | None,
        typer.Option("--auth", help="With --day: how the source proves itself.", show_default="as its format does"),
    ] = None,
    signed_url: Annotated[
        str | None, typer.Option("--signed-url", help="With --day: the source's --url, where a signature covers it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Sign an order status and post it as a partner would; show the answer. With --day, a partner's whole day.

    Exits 0 when it was taken, 1 when the verdict waited for is a rejection, 4 when the server is not reached or
    answers 429 or 5xx, 7 when it refuses.
    """
    check_usage(context, day=day)
    if day:
        given = [value for value in (secret, None if secret_file is None else read_secret(secret_file), token) if value]
        if len(given) != 1:
            raise typer.BadParameter("--day takes exactly one of --secret, --secret-file, --token")
        if token is not None and auth not in {None, "bearer"}:
            raise typer.BadParameter(f"--token is of bearer, not {auth}: give --secret or --secret-file")
        play_day(
            dialect=dialect,
            source=source,
            order_id=order,
            store=store,
            auth="bearer" if token is not None else auth,
            secret=given[0],
            url=(url or own_url(load_settings())).rstrip("/"),
            signed_url=signed_url,
            as_json=as_json,
        )
        return
    if order_id is None or status is None or source is None:
        raise typer.BadParameter("give an order's ID, a STATUS and --source, or --day")
    sending = _Sending(
        url=(url or own_url(load_settings())).rstrip("/"),
        source=source,
        credential=_credential(secret, secret_file, token),
        read_token=read_token,
        report=StatusReport(
            order_id=order_id,
            status=status.value,
            event_id=event_id or f"cli-{uuid.uuid4().hex}",
            occurred_at=_claimed_time(occurred_at),
            comment=comment,
            reason=reason,
            attributes=tuple(attribute or ()),
        ),
        repeat=repeat,
        wait_s=wait,
    )
    answers, receipt = run_command(sending.post_all)
    if as_json:
        body = answers[-1].body if isinstance(answers[-1].body, dict) else {}
        print_document(
            {
                "event_id": body.get("event_id", sending.report.event_id),
                "receipt_id": body.get("receipt_id"),
                "answers": [answer.document() for answer in answers],
                "receipt": receipt,
            }
        )
    else:
        _print_answers(sending, answers, receipt)
    code = _exit_code(answers, receipt)
    if code:
        raise typer.Exit(code)


def _credential(secret: str | None, secret_file: Path | None, token: str | None) -> Credential:
    given = [value for value in (secret, secret_file, token) if value is not None]
    if len(given) != 1:
        raise typer.BadParameter("give exactly one of --secret, --secret-file, --token")
    if token is not None:
        return Credential(token=token)
    text = secret if secret is not None else read_secret(secret_file or Path("-"))
    try:
        return Credential(key=signing_key(text))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--secret") from error


def _claimed_time(text: str) -> str | None:
    if text == "none":
        return None
    return datetime.now(UTC).isoformat(timespec="microseconds") if text == "now" else text


def _readable(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode("utf-8", "replace")[:2000]


def _print_answers(sending: _Sending, answers: list[_Answer], receipt: Mapping[str, Any] | None) -> None:
    for answer in answers:
        body = answer.body if isinstance(answer.body, dict) else {}
        if "receipt_id" in body:
            print_line(f"{answer.status}  event {body['event_id']}  receipt {body['receipt_id']}")
        else:
            print_line(f"{answer.status}  {body.get('detail') or body.get('title') or answer.body}")
            for problem in body.get("errors") or ():
                print_line(f"     {problem.get('field')}: {problem.get('message')}")
            if answer.status == 401:
                print_line(f"     the reason, on mealtrail's own machine: mealtrail source refusals {sending.source}")
        if answer.retry_after is not None:
            print_line(f"     Retry-After: {answer.retry_after}")
    if receipt is not None:
        print_line(describe_receipt(receipt, order_id=sending.report.order_id, source=sending.source))
    elif sending.wait_s > 0 and answers[-1].status < 300:
        print_remark("the verdict is not known: asking for a receipt needs --token or --read-token")


def _exit_code(answers: list[_Answer], receipt: Mapping[str, Any] | None) -> ExitCode:
    if receipt is not None and receipt.get("verdict") == "rejected":
        return ExitCode.NEGATIVE
    worst = max(answer.status for answer in answers)
    if worst == 409:
        return ExitCode.NEGATIVE
    if worst >= 500 or worst == 429:
        return ExitCode.UNAVAILABLE
    return ExitCode.REFUSED if worst >= 300 else ExitCode.OK
