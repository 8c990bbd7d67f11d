"""The demonstration credentials, the file that keeps them, and the printed commands."""

import re
import stat
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from backbone.clocks import SYSTEM_CLOCK
from backbone.store.secrets import SecretBox, hash_token
from backbone.store.sources import SourceRepository
from backbone.store.tokens import TokenRepository
from service.cli.demo import prepare_demo, read_env, write_env
from service.cli.demo_script import DemoScript
from tests.support.stores import migrated_sqlite

SOURCES = {
    "demo-platform": "DEMO_PLATFORM_TOKEN",
    "demo-restaurant": "DEMO_RESTAURANT_TOKEN",
    "demo-courier": "DEMO_COURIER_TOKEN",
}


@dataclass
class Demo:
    """A data directory with its repositories."""

    folder: Path
    sources: SourceRepository
    tokens: TokenRepository

    async def prepare(self) -> dict[str, str]:
        """One start of `up --demo`; what demo.env says afterwards."""
        return read_env(await prepare_demo(self.sources, self.tokens, self.folder))

    async def assert_valid(self, env: dict[str, str]) -> None:
        """Every token of the file is the live one of its source, or a live access token."""
        live = {source.name: source.token_hashes for source in await self.sources.all()}
        for name, variable in SOURCES.items():
            assert live[name] == (hash_token(env[variable]),)
        readers = [token for token in await self.tokens.all() if token.revoked_at is None]
        assert [token.token_hash for token in readers] == [hash_token(env["DEMO_READ_TOKEN"])]
        assert readers[0].scope == "read"


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Demo]:
    """An empty, migrated data directory."""
    store = await migrated_sqlite(tmp_path)
    box = SecretBox.in_directory(tmp_path)
    yield Demo(
        tmp_path,
        SourceRepository(store, box, now_ms=SYSTEM_CLOCK.now_ms),
        TokenRepository(store, now_ms=SYSTEM_CLOCK.now_ms),
    )
    await store.close()


async def test_the_first_start_makes_everything(demo: Demo) -> None:
    """Three sources, one token, a private file."""
    env = await demo.prepare()
    await demo.assert_valid(env)
    assert stat.S_IMODE((demo.folder / "demo.env").stat().st_mode) == 0o600
    roles = {source.name: (source.role.value, source.parties) for source in await demo.sources.all()}
    assert roles == {
        "demo-platform": ("platform", None),
        "demo-restaurant": ("restaurant", ("demo-restaurant",)),
        "demo-courier": ("courier", ("demo-courier",)),
    }


async def test_later_starts_use_the_same_tokens(demo: Demo) -> None:
    """Commands in a shell that sourced the file go on working; a mode that was opened is closed again."""
    env = await demo.prepare()
    (demo.folder / "demo.env").chmod(0o644)
    assert await demo.prepare() == env
    await demo.assert_valid(env)
    assert stat.S_IMODE((demo.folder / "demo.env").stat().st_mode) == 0o600


async def test_a_lost_file_is_made_anew_and_old_tokens_end(demo: Demo) -> None:
    """Nobody knows the old ones; they must not stay valid, twice in a row."""
    before = await demo.prepare()
    for _ in range(2):
        (demo.folder / "demo.env").unlink()
        after = await demo.prepare()
        assert not set(after.values()) & (set(before.values()) - {str(demo.folder)})
        await demo.assert_valid(after)


async def test_only_what_is_lost_is_made_anew(demo: Demo) -> None:
    """A rotated source gets a new token, the others keep theirs."""
    before = await demo.prepare()
    await demo.sources.rotate("demo-courier", grace_ms=0, secret=None, actor="somebody")
    after = await demo.prepare()
    assert {name for name in after if after[name] != before[name]} == {"DEMO_COURIER_TOKEN"}
    await demo.assert_valid(after)


async def test_a_source_that_was_disabled_stays_so(demo: Demo) -> None:
    """A start does not undo a person's decision."""
    await demo.prepare()
    await demo.sources.disable("demo-courier", actor="somebody")
    await demo.prepare()
    assert "demo-courier" not in {source.name for source in await demo.sources.all()}


def test_the_file_works_in_a_shell(tmp_path: Path) -> None:
    """Whatever a value holds."""
    values = {"PLAIN": "abc", "ODD": "a 'b' $HOME \"c\" `d`"}
    write_env(tmp_path / "demo.env", values)
    said = subprocess.run(
        ["sh", "-c", '. "$0"; printf "%s|%s" "$PLAIN" "$ODD"', str(tmp_path / "demo.env")],
        capture_output=True,
        check=True,
        text=True,
    )
    assert said.stdout == "|".join(values.values())
    assert read_env(tmp_path / "demo.env") == values
    assert [path.name for path in tmp_path.iterdir()] == ["demo.env"]


def test_no_file_is_no_variables(tmp_path: Path) -> None:
    """And other lines are passed over."""
    assert read_env(tmp_path / "demo.env") == {}
    (tmp_path / "demo.env").write_text("# a remark\nPLAIN=1\nexport A=b\n")
    assert read_env(tmp_path / "demo.env") == {"A": "b"}


@pytest.fixture
def script() -> str:
    """The printed commands at a fixed moment."""
    return DemoScript(
        url="http://127.0.0.1:8080",
        env_file=Path("/home/a b/var/demo.env"),
        command="mealtrail",
        now=datetime(2026, 11, 21, 21, 26, 2, 192323, tzinfo=UTC),
    ).text()


def test_the_commands_fit_a_terminal_and_parse(script: str) -> None:
    """80 columns, any POSIX shell."""
    assert max(map(len, script.splitlines())) <= 80
    subprocess.run(["sh", "-n", "-c", script], check=True)


def test_the_commands_hold_no_secret_and_the_documents_fields(script: str) -> None:
    """Tokens come from the file; the last steps are OrderStatusPut bodies with an offset and fractional seconds."""
    assert "mts_" not in script
    assert ". '/home/a b/var/demo.env'" in script
    assert '"updatedAt":"2026-11-22T00:25:02.192323+03:00"' in script
    assert '"attributes":["paid"]' in script
    for step in ("ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "TAKEN_BY_COURIER", "DELIVERED"):
        assert re.search(rf'"status":"{step}"', script)
    assert script.endswith("mealtrail audit verify")
