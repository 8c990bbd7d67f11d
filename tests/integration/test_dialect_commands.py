"""Partners' formats on the command line: a source in one command, and its day against a running service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from service.cli.exits import ExitCode
from service.dialects.partner import PartnerDialect
from service.dialects.registry import DIALECTS
from tests.support.deployments import Deployment, embedded_deployment
from tests.support.dialect_fixtures import partners
from tests.unit.test_cli_commands import run as run  # noqa: PLC0414 - a fixture

Run = Callable[..., tuple[int, str, str]]
URL = "https://orders.example/v1/webhooks/pos"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Deployment]:
    """An embedded service."""
    deployment = embedded_deployment(tmp_path)
    try:
        await deployment.up()
        yield deployment
    finally:
        deployment.close()


async def test_each_partners_day_after_one_command(served: Deployment, tmp_path: Path) -> None:
    """`source add` with nothing but what the format needs, then `send --day`: every message is taken."""
    day: list[str] = []
    for name, partner in partners().items():
        dialect = DIALECTS[name]
        assert isinstance(dialect, PartnerDialect)
        secret = tmp_path / f"{name}.secret"
        secret.write_text(partner.described["secret"] + "\n")
        options = ["--secret-file", str(secret)]
        if "zone" in dialect.profile.needs:
            options += ["--zone", "America/Bogota"]
        if "url" in dialect.profile.needs:
            options += ["--url", URL]
        made = await served.cli_json("source", "add", name, "--dialect", name, *options)
        assert (made["role"], made["auth"]) == (dialect.profile.roles[0].value, dialect.profile.schemes[0])
        day = ["send", "--day", "--dialect", name, "--order", "17", "--secret-file", str(secret), "--url", served.url]
        if "url" in dialect.profile.needs:
            day += ["--signed-url", URL]
        told = await served.cli_json(*day)
        assert told["order_id"] == "17"
        assert {one["status"] for one in told["messages"]} == {dialect.profile.success_status}, told
        assert any(one["receipt_id"] for one in told["messages"])
    said = await served.cli(*day)
    assert "the day of order 17" in said


async def test_a_day_that_is_refused_says_so(served: Deployment, run: Run, tmp_path: Path) -> None:
    """A wrong secret: each refusal in its line, where the reason is to be seen, and the exit code of a refusal."""
    secret = tmp_path / "secret"
    secret.write_text("ifood-client-secret")
    await served.cli_json("source", "add", "ifood", "--dialect", "ifood", "--secret-file", str(secret))
    secret.write_text("another-client-secret")
    day = ("send", "--day", "--dialect", "ifood", "--secret-file", str(secret), "--url", served.url)
    code, out, err = await asyncio.to_thread(run, *day)
    assert code == ExitCode.REFUSED
    assert "401" in out
    assert "mealtrail source refusals ifood" in err
    assert "order show" not in err


def test_a_day_that_nobody_answers(run: Run, tmp_path: Path) -> None:
    """An address where nothing runs."""
    secret = tmp_path / "secret"
    secret.write_text("ifood-client-secret")
    day = ("send", "--day", "--dialect", "ifood", "--secret-file", str(secret), "--url", "http://127.0.0.1:1")
    code, _, err = run(*day)
    assert code == ExitCode.UNAVAILABLE
    assert "mealtrail up" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("send", "A-1", "READY", "--secret", "whsec_AAAA"),
        ("send", "--source", "x", "--secret", "whsec_AAAA"),
        ("send", "--day", "--secret", "x"),
        ("send", "--day", "--dialect", "native", "--secret", "x"),
        ("send", "--day", "--dialect", "ifood"),
        ("send", "--day", "--dialect", "ifood", "--secret", "x", "--token", "y"),
        ("send", "--day", "--dialect", "ifood", "--token", "y"),
        ("send", "--day", "--dialect", "ifood", "--secret", "x", "--order", " "),
        ("send", "A-1", "READY", "--day", "--dialect", "ifood", "--secret", "x"),
        ("send", "--day", "--dialect", "doordash-drive", "--secret", "u:p", "--auth", "signature"),
        ("send", "--day", "--dialect", "doordash-drive", "--token", "t", "--auth", "basic"),
        ("source", "add", "x", "--dialect", "square", "--secret-file", "-", "--url", URL, "--store", "nonsense"),
        ("source", "add", "x", "--role", "courier", "--store", "a=b", "--store", "a=c"),
    ],
)
def test_wrong_usage(run: Run, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is made or sent."""
    monkeypatch.setattr("service.cli.source_credentials.read_secret", lambda _path: "a-partners-secret")
    assert run(*arguments)[0] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("A-1", "READY", "--source", "x", "--token", "t", "--dialect", "ifood"), "--dialect: with --day alone"),
        (("A-1", "READY", "--source", "x", "--token", "t", "--auth", "basic"), "--auth: with --day alone"),
        (("--dialect", "ifood", "--secret", "x", "--order", "17"), "--dialect, --order: with --day alone"),
        (("--signed-url", URL, "--store", "s"), "--store, --signed-url: with --day alone"),
        (("A-1", "READY", "--day", "--dialect", "ifood", "--secret", "x"), "ID, STATUS: not with --day"),
        (
            ("--day", "--dialect", "ifood", "--secret", "x", "--repeat", "2", "--wait", "5", "--comment", "x"),
            "--comment, --repeat, --wait: not with --day",
        ),
        (("--day", "--dialect", "ifood", "--secret", "x", "--occurred-at", "now"), "--occurred-at: not with --day"),
    ],
)
def test_options_that_mean_nothing_together(run: Run, arguments: tuple[str, ...], said: str) -> None:
    """Named, instead of being passed over in silence."""
    code, _, err = run("send", *arguments)
    assert code == ExitCode.USAGE
    assert said in " ".join(err.replace("│", " ").split())


async def test_the_day_of_a_source_with_user_and_password(served: Deployment, tmp_path: Path) -> None:
    """`--auth` plays a scheme that is not the format's first one."""
    secret = tmp_path / "secret"
    secret.write_text("dasher:a-long-password")
    given = ("--dialect", "doordash-drive", "--secret-file", str(secret), "--auth", "basic")
    await served.cli_json("source", "add", "dash", *given)
    told = await served.cli_json("send", "--day", "--source", "dash", "--url", served.url, *given)
    assert {one["status"] for one in told["messages"]} == {200}


def test_what_a_format_needs_is_asked_for_by_name(run: Run, tmp_path: Path) -> None:
    """All that is missing at once, in the words of the command line."""
    secret = tmp_path / "secret"
    secret.write_text("dummysecret\n")
    code, _, err = run("source", "add", "x", "--dialect", "square")
    assert code != 0
    assert "--secret-file and --url" in err
    code, _, err = run("source", "add", "x", "--dialect", "ifood", "--secret-file", str(secret), "--auth", "bearer")
    assert code != 0
    assert "signature, not bearer" in err


def test_a_marketplace_without_a_party_is_its_own(run: Run, tmp_path: Path) -> None:
    """Else two of them would move each other's orders; couriers, and who gives a party, are left as they are."""
    secret = tmp_path / "secret"
    secret.write_text("a-secret-of-some-length-0123456789\n")
    said = {}
    for name, dialect, more in (
        ("one", "ifood", ()),
        ("two", "ifood", ("--party", "market")),
        ("three", "uber-direct", ()),
    ):
        code, _, said[name] = run("source", "add", name, "--dialect", dialect, "--secret-file", str(secret), *more)
        assert code == 0
    assert "the party one" in said["one"]
    assert "the party" not in said["two"] + said["three"]
    code, listed, _ = run("source", "list", "--json")
    assert code == 0
    found = {source["name"]: source["parties"] for source in json.loads(listed)["sources"]}
    assert found == {"one": ["one"], "two": ["market"], "three": None}


def test_a_source_with_all_that_a_format_may_need(run: Run, tmp_path: Path) -> None:
    """Prefix, stores and zone reach the store; a short secret is taken, not repeated, and said to be short."""
    secret = tmp_path / "secret"
    secret.write_text("dummysecret\n")
    added = run(
        *("source", "add", "market", "--dialect", "ifood", "--secret-file", str(secret), "--id-prefix", "if-"),
        *("--store", "9=r1", "--store", "10 = r2", "--zone", "America/Sao_Paulo"),
    )
    assert added[0] == 0
    assert "secret  as given" in added[1]
    assert "dummysecret" not in "".join(added[1:])
    assert "11 bytes" in added[2]
    code, listed, _ = run("source", "list", "--json")
    assert code == 0
    [source] = json.loads(listed)["sources"]
    wanted: dict[str, Any] = {
        "dialect": "ifood",
        "role": "marketplace",
        "auth": "signature",
        "id_prefix": "if-",
        "stores": {"9": "r1", "10": "r2"},
        "zone": "America/Sao_Paulo",
    }
    assert {name: source[name] for name in wanted} == wanted
    secret.write_text("a-much-longer-secret-of-theirs")
    code, shown, err = run("source", "rotate", "market", "--secret-file", str(secret))
    assert (code, "secret  as given" in shown, "a-much-longer" in shown, "bytes" in err) == (0, True, False, False)
