"""`mealtrail source …` as a person meets it: what is refused, what is remarked on, what is shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.dialects.registry import DIALECTS
from tests.unit.test_cli_commands import run as run  # noqa: PLC0414 - a fixture

Run = Callable[..., tuple[int, str, str]]
LONG = "a-long-enough-secret-of-theirs"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A secret that a partner issued."""
    path = tmp_path / "secret"
    path.write_text(LONG + "\n")
    return path


def refusal(result: tuple[int, str, str]) -> str:
    """What a refused command says."""
    assert result[0] not in {0, 1}, result
    return " ".join(result[2].split())


def test_a_secret_that_the_partner_issues_is_not_made_by_a_rotation(run: Run, secret: Path) -> None:
    """Ours would refuse all that the partner sends; what we issue ourselves is made as before."""
    assert run("source", "add", "market", "--dialect", "ifood", "--secret-file", str(secret))[0] == 0
    said = refusal(run("source", "rotate", "market"))
    assert "iFood issues its secret itself" in said
    assert "--secret-file" in said
    [source] = json.loads(run("source", "list", "--json")[1])["sources"]
    assert source["credentials"] == 1
    assert run("source", "rotate", "market", "--secret-file", str(secret))[0] == 0
    assert run("source", "add", "dash", "--dialect", "doordash-drive")[0] == 0
    assert run("source", "rotate", "dash")[0] == 0


def test_what_a_format_does_not_have_is_refused(run: Run, secret: Path) -> None:
    """A role that the profile does not list, a waiting time without waiting, an encoding of what is its own text."""
    of_ifood = ("source", "add", "x", "--dialect", "ifood", "--secret-file", str(secret))
    assert "iFood is marketplace to an order, not courier" in refusal(run(*of_ifood, "--role", "courier"))
    for encoding in ("raw", "whsec"):
        assert "--secret-encoding is for Standard Webhooks" in refusal(run(*of_ifood, "--secret-encoding", encoding))
    native = ("source", "add", "x", "--role", "courier")
    assert "--ahead-hold" in refusal(run(*native, "--ahead-hold", "1m"))
    assert "--secret-file, which is not given" in refusal(run(*native, "--secret-encoding", "raw"))
    assert run(*of_ifood, "--role", "marketplace")[0] == 0
    assert len(json.loads(run("source", "list", "--json")[1])["sources"]) == 1
    said = refusal(run("source", "rotate", "x", "--secret-file", str(secret), "--secret-encoding", "raw"))
    assert "--secret-encoding is for Standard Webhooks" in said


def test_what_a_format_does_not_look_at_is_remarked_on(run: Run, secret: Path) -> None:
    """The source is made all the same."""
    url = "https://orders.example/v1/webhooks/x"
    _, _, err = run("source", "add", "one", "--role", "courier", "--url", url, "--zone", "UTC")
    assert "--url is kept and means nothing here" in err
    assert "--zone is kept and means nothing here" in err
    given = ("--secret-file", str(secret))
    code, _, err = run("source", "add", "two", "--dialect", "square", *given, "--url", url, "--zone", "UTC")
    assert (code, "means nothing" in err) == (0, False)


@pytest.mark.parametrize(
    ("options", "text", "size"),
    [
        (("--dialect", "ifood"), "x" * 15, 15),
        (("--dialect", "ifood"), "x" * 16, None),
        (("--dialect", "shipday"), "x" * 8, 8),
        (("--dialect", "shipday"), "x" * 16, None),
        (("--dialect", "doordash-drive", "--auth", "basic"), "somebody-with-a-name:" + "x" * 15, 15),
        (("--dialect", "doordash-drive", "--auth", "basic"), "u:" + "x" * 16, None),
        (("--role", "courier"), base64.b64encode(b"x" * 16).decode(), None),
    ],
)
def test_a_short_secret_is_said_to_be_short(
    run: Run, secret: Path, options: tuple[str, ...], text: str, size: int | None
) -> None:
    """Whatever the scheme; of user and password the password is what counts. What was given is not repeated."""
    secret.write_text(text)
    code, out, err = run("source", "add", "x", *options, "--secret-file", str(secret))
    assert code == 0
    assert "secret  as given" in out
    assert text not in out + err
    assert (f"a secret of {size} bytes" in err) if size is not None else "can be guessed" not in err


def test_a_secret_that_was_made_is_shown_once(run: Run) -> None:
    """It is the only time that anybody sees it; so is a raw key as the libraries want it."""
    _, out, _ = run("source", "add", "one", "--role", "courier", "--auth", "bearer")
    assert "secret  mts_" in out
    assert "Keep it now" in out


@pytest.mark.parametrize(("dialect", "path"), [("order-status", "/security/oauth/token"), ("grabfood", "/oauth/token")])
def test_where_a_partner_fetches_its_tokens_is_said(run: Run, dialect: str, path: str) -> None:
    """The URL and the client id, which the partner's form asks for."""
    _, out, _ = run("source", "add", "eats", "--dialect", dialect)
    assert f"/v1/webhooks/eats{path}, client id eats" in out
    assert "tokens" not in run("source", "add", "dash", "--dialect", "doordash-drive")[1]


def test_a_strict_source_is_told_apart(run: Run) -> None:
    """When it is made and in the list: the policy, and how long it waits."""
    _, out, _ = run("source", "add", "one", "--role", "courier", "--policy", "strict")
    assert "policy  strict, waits 30 s" in out
    _, out, _ = run("source", "add", "two", "--role", "courier", "--policy", "strict", "--ahead-hold", "2m")
    assert "policy  strict, waits 120 s" in out
    _, out, _ = run("source", "add", "none", "--role", "courier", "--policy", "strict", "--ahead-hold", "0")
    assert "policy  strict, waits for nothing" in out
    assert "policy" not in run("source", "add", "four", "--role", "courier")[1]
    listed = run("source", "list")[1].splitlines()
    assert ["strict, waits 120 s" in line for line in listed] == [False, False, False, False, True]
    assert "forward" in listed[1]


def test_the_formats_fit_a_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """80 columns: one line a format, with name and options whole."""
    monkeypatch.setenv("COLUMNS", "80")
    _, out, err = run("source", "dialects")
    head, *rows = out.splitlines()
    assert [row.split()[0] for row in rows] == list(DIALECTS)
    assert all(len(line.rstrip()) <= 80 for line in (head, *rows))
    assert "--secret-file --zone" in out
    assert "source dialects NAME" in err


@pytest.mark.parametrize("name", DIALECTS)
def test_one_format_with_all_that_is_known_of_it(run: Run, name: str) -> None:
    """Its proof, what each refusal causes there, and where all that is known from."""
    profile = DIALECTS[name].profile
    _, out, _ = run("source", "dialects", name)
    assert profile.proof.replace("`", "") in out
    assert all(f"on {refusal}" in out for refusal in profile.refusals)
    assert all(fact.replace("`", "") in out for fact in profile.facts)
    assert ", ".join(profile.roles) in out
    assert json.loads(run("source", "dialects", name, "--json")[1])["name"] == name


def test_a_format_that_is_none(run: Run) -> None:
    """Wrong usage, with the list of those that are."""
    assert "deliverect" in refusal(run("source", "dialects", "morse"))
    assert run("source", "dialects", "rappi", "--markdown")[0] == 2
