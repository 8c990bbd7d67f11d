"""The data directory and its lock."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.errors import ConfigurationError, DataDirectoryLocked
from service.cli.data_directory import hold_server_lock, prepare_data_dir, require_data_dir


@pytest.fixture(autouse=True)
def _umask(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test process keeps its own umask."""
    monkeypatch.setattr("os.umask", lambda _mask: 0o022)


def test_the_directory_is_private(tmp_path: Path) -> None:
    """0700, also repeatedly; the lock file is 0600."""
    folder = tmp_path / "a" / "var"
    for _ in range(2):
        prepare_data_dir(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with hold_server_lock(folder):
        assert stat.S_IMODE((folder / "server.lock").stat().st_mode) == 0o600


def test_a_directory_that_cannot_be_made_names_the_setting(tmp_path: Path) -> None:
    """A file stands in the way."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="MEALTRAIL_DATA_DIR"):
        prepare_data_dir(tmp_path / "file" / "var")


def test_a_second_server_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    """The holder's process id is in the message, and stays right after a refusal."""
    with hold_server_lock(tmp_path):
        for _ in range(2):
            with pytest.raises(DataDirectoryLocked, match=f"process {os.getpid()}"), hold_server_lock(tmp_path):
                pytest.fail("two servers")
    with hold_server_lock(tmp_path):
        pass


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    """A killed server leaves no stale lock."""
    code = (
        "import sys, time, pathlib\n"
        "from service.cli.data_directory import hold_server_lock\n"
        "with hold_server_lock(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(DataDirectoryLocked, match=f"process {holder.pid}"), hold_server_lock(tmp_path):
            pytest.fail("two servers")
        holder.kill()
        holder.wait(10)
        with hold_server_lock(tmp_path):
            assert (tmp_path / "server.lock").read_text() == f"{os.getpid()}\n"


def test_looking_needs_something_to_look_at(tmp_path: Path) -> None:
    """And makes nothing."""
    with pytest.raises(ConfigurationError, match="mealtrail up"):
        require_data_dir(tmp_path / "var")
    assert not (tmp_path / "var").exists()


def test_a_log_without_a_store_is_told_from_an_empty_directory(tmp_path: Path) -> None:
    """The store can be made again from it."""
    with pytest.raises(ConfigurationError, match="there is no mealtrail data"):
        require_data_dir(tmp_path)
    (tmp_path / "log.db").touch()
    with pytest.raises(ConfigurationError, match="mealtrail rebuild"):
        require_data_dir(tmp_path)
