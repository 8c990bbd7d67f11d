"""Commands run in this process on a fresh embedded data directory: arguments, JSON shapes, exit codes."""

import base64
import io
import json
import logging
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog

from schemas.refusals import Why
from service.cli.entry import main
from service.cli.schema_files import schema_documents

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run one command line; its exit code, standard output and standard error."""
    for name in ("MEALTRAIL_KAFKA_BOOTSTRAP_SERVERS", "MEALTRAIL_DATABASE_URL", "MEALTRAIL_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEALTRAIL_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)  # the test process keeps its own

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        written = capsys.readouterr()
        return int(ended.value.code or 0), written.out, written.err

    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield call
    structlog.reset_defaults()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.captureWarnings(capture=False)


def document(result: tuple[int, str, str]) -> Any:
    """The one JSON document of a successful run."""
    assert result[0] == 0, result
    return json.loads(result[1])


def test_version(run: Run) -> None:
    """One line, exit 0."""
    code, out, _ = run("--version")
    assert code == 0
    assert out.startswith("mealtrail ")


def test_help_lists_commands_and_exit_codes(run: Run) -> None:
    """The first thing anybody reads."""
    code, out, _ = run("--help")
    assert code == 0
    for word in ("up", "serve", "consume", "migrate", "source", "token", "send", "order", "audit", "schemas", "130"):
        assert word in out


def test_no_command_or_a_wrong_one_is_wrong_usage(run: Run) -> None:
    """Exit 2, words on standard error."""
    assert run("sauce")[0] == 2
    assert run("source", "add", "x")[0] == 2
    assert run("source", "add", "x", "--role", "operator")[0] == 2
    assert run("source", "add", "x", "--role", "courier", "--hold", "24")[0] == 2
    assert run("source", "add", "x", "--role", "courier", "--dialect", "morse")[0] == 2
    assert run("order", "show", " ")[0] == 2
    assert run("order", "move", "x", "READY", "--reason", "\udcff")[0] == 2


def test_source_add_prints_exactly_the_promised_document(run: Run, tmp_path: Path) -> None:
    """Five fields, the secret among them, and a private data directory."""
    added = document(run("source", "add", "kitchen", "--role", "restaurant", "--party", "R1", "--json"))
    assert list(added) == ["name", "uid", "role", "auth", "secret"]
    assert (added["name"], added["role"], added["auth"]) == ("kitchen", "restaurant", "standard-webhooks")
    assert added["secret"].startswith("whsec_")
    assert stat.S_IMODE((tmp_path / "var").stat().st_mode) == 0o700


def test_source_add_takes_every_option(run: Run) -> None:
    """Options reach the store in the units it keeps."""
    run(
        *("source", "add", "rider", "--role", "courier", "--party", "C1", "--party", "C2", "--auth", "bearer"),
        *("--policy", "forward", "--hold", "0", "--skew", "1m30s", "--rate", "7", "--url", "https://x.example/hook"),
    )
    [listed] = document(run("source", "list", "--json"))["sources"]
    assert listed["parties"] == ["C1", "C2"]
    assert (listed["hold_ms"], listed["skew_ms"], listed["rate"]) == (0, 90_000, 7)
    assert (listed["auth"], listed["policy"], listed["url"]) == ("bearer", "forward", "https://x.example/hook")
    assert listed["credentials"] == 1
    assert listed["disabled_at"] is None


def test_lists_never_show_a_secret(run: Run) -> None:
    """A secret is printed once, when it is made."""
    secret = document(run("source", "add", "kitchen", "--role", "restaurant", "--json"))["secret"]
    token = document(run("token", "add", "board", "--scope", "read", "--json"))["token"]
    for command in (("source", "list"), ("source", "list", "--json"), ("token", "list"), ("token", "list", "--json")):
        code, out, err = run(*command)
        assert code == 0
        assert secret not in out + err
        assert token not in out + err


def test_a_partners_secret_comes_by_file_or_standard_input(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The issued secret is the one that is kept."""
    issued = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    file = tmp_path / "issued"
    file.write_text(issued + "\n")
    command = ("source", "add", "--role", "courier", "--json", "--secret-file")
    assert document(run(*command, str(file), "one"))["secret"] == issued
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(issued.encode())))
    assert document(run(*command, "-", "two"))["secret"] == issued


def test_a_partners_raw_secret_is_the_key_itself(run: Run, tmp_path: Path) -> None:
    """Its UTF-8 bytes, for a new source and at a rotation; without the option such a text is wrong usage."""
    file = tmp_path / "issued"
    file.write_text("acme-shared-sécret!\n")
    encoded = "whsec_" + base64.b64encode("acme-shared-sécret!".encode()).decode()
    options = ("--json", "--secret-file", str(file))
    assert run("source", "add", "acme", "--role", "courier", *options)[0] == 2
    raw = (*options, "--secret-encoding", "raw")
    assert document(run("source", "add", "acme", "--role", "courier", *raw))["secret"] == encoded
    assert document(run("source", "rotate", "acme", *raw))["secret"] == encoded
    assert run("source", "rotate", "acme", *options, "--secret-encoding", "hex")[0] == 2


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"a" * 5000])
def test_a_secret_file_that_holds_none_is_wrong_usage(run: Run, tmp_path: Path, content: bytes) -> None:
    """Exit 2, and what was in it is not repeated."""
    file = tmp_path / "secret"
    file.write_bytes(content)
    code, out, err = run("source", "add", "one", "--role", "courier", "--secret-file", str(file))
    assert (code, out) == (2, "")
    assert "aaaa" not in err


def test_the_same_name_twice_is_a_conflict(run: Run) -> None:
    """Exit 6, for sources and tokens."""
    for command in (("source", "add", "x", "--role", "courier"), ("token", "add", "x", "--scope", "read")):
        assert run(*command)[0] == 0
        code, out, err = run(*command)
        assert (code, out) == (6, "")
        assert err.endswith("[conflicting_name]\n")


def test_rotate_disable_and_enable(run: Run) -> None:
    """A rotation gives a new secret, a disabled source leaves the list and comes back with its credentials."""
    before = document(run("source", "add", "x", "--role", "courier", "--json"))
    after = document(run("source", "rotate", "x", "--grace", "1h", "--json"))
    assert after["uid"] == before["uid"]
    assert after["secret"] != before["secret"]
    assert document(run("source", "list", "--json"))["sources"][0]["credentials"] == 2
    assert document(run("source", "disable", "x", "--json")) == {"name": "x", "disabled": True}
    assert document(run("source", "list", "--json")) == {"sources": []}
    assert run("source", "list")[1] == "no live source; 1 disabled: --all shows them\n"
    code, _, err = run("source", "rotate", "x")
    assert code == 5
    assert "mealtrail source enable x" in err
    assert document(run("source", "list", "--all", "--json"))["sources"][0]["disabled_at"] is not None
    for _ in range(2):
        assert document(run("source", "enable", "x", "--json")) == {"name": "x", "disabled": False}
    [again] = document(run("source", "list", "--json"))["sources"]
    assert (again["disabled_at"], again["credentials"]) == (None, 2)


@pytest.mark.parametrize(
    "command",
    [
        ("source", "rotate", "nobody"),
        ("source", "disable", "nobody"),
        ("source", "enable", "nobody"),
        ("source", "refusals", "nobody"),
        ("token", "revoke", "nobody"),
        ("order", "show", "nothing"),
        ("order", "move", "nothing", "READY", "--reason", "x"),
    ],
)
def test_what_is_not_there_is_not_found(run: Run, command: tuple[str, ...]) -> None:
    """Exit 5, one line on standard error, nothing on standard output."""
    run("migrate")
    code, out, err = run(*command, "--json")
    assert (code, out) == (5, "")
    assert err.endswith("[not_found]\n")
    assert err.count("\n") == 1


def test_tokens_are_revoked(run: Run) -> None:
    """Add, list, revoke."""
    assert list(document(run("token", "add", "board", "--scope", "read", "--json"))) == ["name", "token"]
    assert document(run("token", "revoke", "board", "--json")) == {"name": "board", "revoked": True}
    [listed] = document(run("token", "list", "--json"))["tokens"]
    assert (listed["name"], listed["scope"]) == ("board", "read")
    assert listed["revoked_at"] is not None


def test_accounts_are_added_listed_and_disabled(run: Run) -> None:
    """The token is shown once; a name is taken once; an unknown one is not found."""
    made = document(run("account", "add", "chain-9", "--json"))
    assert set(made) == {"name", "account_id", "session_token"}
    assert run("account", "add", "chain-9")[0] == 6
    assert run("account", "add", "Chain 9")[0] == 2
    code, out, _ = run("account", "add", "chain-8")
    assert code == 0
    assert "mtu_" in out
    code, out, _ = run("account", "list")
    assert made["account_id"] in out
    assert "mtu_" not in out
    document(run("account", "disable", "chain-9", "--json"))
    listed = {account["name"]: account for account in document(run("account", "list", "--json"))["accounts"]}
    assert listed["chain-9"]["disabled_at"] is not None
    assert listed["chain-8"] | {"account_id": "", "created_at": ""} == {
        "name": "chain-8", "account_id": "", "stores": 0, "created_at": "", "disabled_at": None,
    }  # fmt: skip
    assert run("account", "disable", "nobody")[0] == 5


def test_commands_that_look_make_no_directory(run: Run, tmp_path: Path) -> None:
    """In the wrong directory `audit verify` must not say ok about nothing."""
    for command in (("audit", "verify"), ("source", "list"), ("order", "show", "x")):
        code, out, err = run(*command)
        assert (code, out) == (3, "")
        assert "MEALTRAIL_DATA_DIR" in err
    assert not (tmp_path / "var").exists()


def test_migrate_says_what_is_there_and_may_be_repeated(run: Run) -> None:
    """Revision and topics with their partitions."""
    first = document(run("migrate", "--json"))
    assert first == document(run("migrate", "--json"))
    assert {topic["name"] for topic in first["topics"]} == {
        "mealtrail.received.v1",
        "mealtrail.outcomes.v1",
        "mealtrail.dead-letters.v1",
    }
    assert {topic["partitions"] for topic in first["topics"]} == {12}


def test_the_number_of_partitions_is_remembered(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3: orders would move to other partitions."""
    run("migrate")
    monkeypatch.setenv("MEALTRAIL_PARTITIONS", "6")
    code, _, err = run("migrate")
    assert code == 3
    assert "[partition_set_invalid]" in err


def test_an_empty_trail_verifies(run: Run) -> None:
    """The promised document, exit 0."""
    run("migrate")
    report = document(run("audit", "verify", "--json"))
    promised: dict[str, object] = {"rows": 0, "partitions": 0, "ok": True, "first_bad": None, "heads": {}}
    assert report | promised == report


def test_a_missing_table_is_a_negative_answer(run: Run, tmp_path: Path) -> None:
    """The verification names it; it is no fault of ours."""
    run("migrate")
    with closing(sqlite3.connect(tmp_path / "var" / "store.db")) as store, store:
        store.execute("DROP TABLE offsets")
    code, out, _ = run("audit", "verify")
    assert code == 1
    assert "the table offsets is missing" in out


def test_wrong_settings_are_all_named_and_never_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3, every problem at once, no value of a secret."""
    monkeypatch.setenv("MEALTRAIL_PORT", "99999")
    monkeypatch.setenv("MEALTRAIL_BATCH_SIZE", "0")
    monkeypatch.setenv("MEALTRAIL_DATABASE_URL", "mysql://u:hunter2@h/d")
    code, out, err = run("source", "list")
    assert (code, out) == (3, "")
    assert "MEALTRAIL_PORT" in err
    assert "MEALTRAIL_BATCH_SIZE" in err
    assert "hunter2" not in err


def test_each_command_says_which_mode_it_is_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` and `consume` need Kafka and PostgreSQL, up runs without."""
    for command in ("serve", "consume"):
        code, _, err = run(command)
        assert code == 3
        assert "mealtrail up" in err
    monkeypatch.setenv("MEALTRAIL_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("MEALTRAIL_DATABASE_URL", "postgresql+asyncpg://u:hunter2@127.0.0.1:1/d")
    monkeypatch.setenv("MEALTRAIL_SECRET_KEYS", "a:" + "A" * 43 + "=")
    code, _, err = run("up")
    assert code == 3
    assert "hunter2" not in err


def test_a_store_that_is_away_is_exit_4(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying again may help; the password is not shown."""
    monkeypatch.setenv("MEALTRAIL_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("MEALTRAIL_DATABASE_URL", "postgresql+asyncpg://u:hunter2@127.0.0.1:1/d")
    monkeypatch.setenv("MEALTRAIL_SECRET_KEYS", "a:" + "A" * 43 + "=")
    code, out, err = run("source", "list")
    assert (code, out) == (4, "")
    assert "[store_unavailable]" in err
    assert "hunter2" not in err


def test_schemas_are_exported_and_the_same_each_time(run: Run, tmp_path: Path) -> None:
    """One file a schema, byte for byte what another export gives."""
    exported = document(run("schemas", "export", str(tmp_path / "a"), "--json"))
    assert run("schemas", "export", str(tmp_path / "b"))[0] == 0
    assert exported["files"] == sorted(schema_documents())
    for name in exported["files"]:
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes() == schema_documents()[name]
        assert json.loads(content)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "received.v1.schema.json" in exported["files"]
    assert "outcome.v1.schema.json" in exported["files"]


def test_send_needs_exactly_one_credential(run: Run) -> None:
    """Exit 2, and a secret that is none is not repeated."""
    assert run("send", "o1", "READY", "--source", "x")[0] == 2
    assert run("send", "o1", "READY", "--source", "x", "--token", "t", "--secret", "whsec_AAAA")[0] == 2
    code, _, err = run("send", "o1", "READY", "--source", "x", "--secret", "not*base64")
    assert code == 2
    assert "not*base64" not in err


def test_send_to_nobody_is_exit_4(run: Run) -> None:
    """The server is not there."""
    code, out, err = run(
        "send", "o1", "READY", "--source", "x", "--token", "t", "--url", "http://127.0.0.1:1", "--json"
    )
    assert (code, out) == (4, "")
    assert "127.0.0.1:1" in err


@pytest.mark.parametrize("command", [("send",), ("order", "move")])
def test_statuses_are_in_upper_case(run: Run, command: tuple[str, ...]) -> None:
    """In help, in errors, as everywhere else; typed in any case."""
    named = ("--source", "x", "--token", "t") if command == ("send",) else ("--reason", "x")
    helped, refused = run(*command, "--help"), run(*command, "o1", "cooked", *named)
    assert (helped[0], refused[0]) == (0, 2)
    for words in (helped[1], refused[2]):
        assert "STATUS" in words
        assert "ACCEPTED_BY_RESTAURANT" in words
        assert "accepted_by_restaurant" not in words


def test_the_full_address_is_shown_with_a_new_source(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the partner is given; a port that is not known yet is not made up."""
    monkeypatch.delenv("MEALTRAIL_PUBLIC_URL", raising=False)
    monkeypatch.delenv("MEALTRAIL_PORT", raising=False)
    add = ("source", "add", "--role", "courier")
    assert "posts   http://127.0.0.1:8080/v1/webhooks/one\n" in run(*add, "one")[1]
    monkeypatch.setenv("MEALTRAIL_PORT", "0")
    assert "posts   /v1/webhooks/two\n" in run(*add, "two")[1]
    monkeypatch.setenv("MEALTRAIL_PUBLIC_URL", "https://meals.example/")
    assert "posts   https://meals.example/v1/webhooks/three\n" in run(*add, "three")[1]


def test_a_token_reads_unless_said_otherwise(run: Run) -> None:
    """The default scope."""
    assert run("token", "add", "board")[0] == 0
    assert document(run("token", "list", "--json"))["tokens"][0]["scope"] == "read"


def test_refusals_are_never_cut(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest reason stays whole on a narrow terminal, and nothing is folded in a pipe."""
    name = "a-partner-with-a-long-name"
    run("source", "add", name, "--role", "courier")
    with closing(sqlite3.connect(tmp_path / "var" / "store.db")) as store, store:
        store.execute(
            "INSERT INTO refusals (workspace, source, reason, count, first_at, last_at, last_remote)"
            " VALUES ('default', ?, ?, 3, 1763760000000, 1763763600000, '2001:db8::1234')",
            (name, Why.OLD_TIMESTAMP.value),
        )
    monkeypatch.setenv("COLUMNS", "80")
    assert Why.OLD_TIMESTAMP.value in run("source", "refusals", name)[1]
    monkeypatch.delenv("COLUMNS")
    lines = run("source", "refusals")[1].splitlines()
    assert len(lines) == 2
    assert lines[1].split() == [
        *(name, Why.OLD_TIMESTAMP.value, "3", "11-21", "21:20", "11-21", "22:20", "2001:db8::1234"),
    ]


def test_a_command_logs_nothing_about_an_outage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with its code on standard error; DEBUG shows the rest."""
    for name, value in {
        "MEALTRAIL_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "MEALTRAIL_DATABASE_URL": "postgresql+asyncpg://app@127.0.0.1:1/meals",
        "MEALTRAIL_SECRET_KEYS": "k1:" + base64.b64encode(bytes(32)).decode(),
    }.items():
        monkeypatch.setenv(name, value)
    code, out, err = run("order", "show", "x")
    assert (code, out) == (4, "")
    assert err.endswith("[store_unavailable]\n")
    assert err.count("\n") == 1
    logging.getLogger("aiokafka").error("noise")
    structlog.get_logger("mealtrail.x").warning("noise")
    assert "noise" not in run("order", "show", "x")[2]


def test_ctrl_c_ends_quietly_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback, nothing on standard output."""

    def interrupted(*_arguments: Any, **_named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("service.cli.tokens.command_settings", interrupted)
    code, out, err = run("token", "list")
    assert (code, out) == (130, "")
    assert "Traceback" not in err


def test_a_fault_of_ours_has_a_code_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """70 and a traceback: never mistaken for a negative answer."""

    def broken(*_arguments: Any, **_named: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("service.cli.tokens.command_settings", broken)
    code, _, err = run("token", "list")
    assert code == 70
    assert "ZeroDivisionError" in err


def test_a_flag_shows_no_type(run: Run) -> None:
    """There is nothing to put behind it; what takes a value still says which."""
    for command in (("erase", "order"), ("audit", "verify"), ("dead-letters", "list"), ()):
        code, out, _ = run(*command, "--help")
        assert (code, "<bool>" in out, "--help" in out) == (0, False, True)
    assert "STATE" in run("dead-letters", "list", "--help")[1]


@pytest.mark.parametrize(
    "command",
    [
        ("erase", "order", "o1", "--yes"),
        ("erase", "customer", "C-77", "--yes"),
        ("dead-letters", "replay", "--all"),
        ("dead-letters", "discard", "--all"),
        ("order", "move", "o1", "READY"),
    ],
)
def test_a_missing_reason_is_told_in_the_same_words(run: Run, command: tuple[str, ...]) -> None:
    """Whichever command wants it."""
    code, _, err = run(*command)
    assert (code, "Missing option '--reason'." in err) == (2, True)
    code, _, err = run(*command, "--reason", "  ")
    assert (code, "a reason has 1 to 500 characters" in err) == (2, True)
