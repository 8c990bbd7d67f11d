"""The embedded default's data directory: its making, its permissions, and the lock that keeps a second server out.

One server owns the directory at a time; commands work on the same files beside it, since both the embedded log and
the store are safe for several processes. The lock is the kernel's (flock): it ends with its process however that
ends, so there is never a stale one. The holder's process id is in the file for people only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from backbone.eventlog.embedded_file import FILE_NAME
from backbone.store.opening import STORE_FILE
from schemas.errors import ConfigurationError, DataDirectoryLocked

LOCK_NAME = "server.lock"
_USABLE = os.R_OK | os.W_OK


def prepare_data_dir(data_dir: Path) -> None:
    """Makes the directory, and what this process will create in it, readable by its owner alone. Repeatable.

    A directory that exists keeps its permissions (it may be a mounted volume); files in it are private all the same,
    for this sets the process's umask. Raises ConfigurationError when it cannot be made or written to.
    """
    os.umask(0o077)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"MEALTRAIL_DATA_DIR: cannot make {data_dir}: {error.strerror}") from error
    for path, mode in ((data_dir, os.R_OK | os.W_OK | os.X_OK), *((file, _USABLE) for file in _own_files(data_dir))):
        if not os.access(path, mode):
            raise ConfigurationError(
                f"MEALTRAIL_DATA_DIR: {path} cannot be written to by user {os.geteuid()}: check its owner, its "
                "permissions, and whether it lies on a read-only mount"
            )


def _own_files(data_dir: Path) -> Iterator[Path]:
    """The databases that are there, with what SQLite keeps beside them."""
    for name in (STORE_FILE, FILE_NAME):
        for suffix in ("", "-wal", "-shm"):
            path = data_dir / (name + suffix)
            if path.exists():
                yield path


def require_data_dir(data_dir: Path) -> None:
    """For commands that only make sense on what is there already. Raises ConfigurationError when nothing is."""
    if not (data_dir / STORE_FILE).exists() and (data_dir / FILE_NAME).exists():
        raise ConfigurationError(
            f"{data_dir} has a log and no store: put {STORE_FILE} back from a backup, or make it again from the log "
            "with `mealtrail rebuild`; after a first start that was interrupted, start `mealtrail up` again"
        )
    if not (data_dir / STORE_FILE).exists():
        raise ConfigurationError(
            f"there is no mealtrail data in {data_dir}: start `mealtrail up` first, or set MEALTRAIL_DATA_DIR"
        )
    prepare_data_dir(data_dir)


@contextmanager
def hold_server_lock(data_dir: Path) -> Iterator[None]:
    """Owns the directory for as long as the block runs; never waits.

    Raises DataDirectoryLocked, naming the holder's process id, when another server owns it, ConfigurationError on a
    filesystem without locks.
    """
    path = data_dir / LOCK_NAME
    lock = FileLock(path, mode=0o600, thread_local=False, on_acquired=_write_holder)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise DataDirectoryLocked(
            f"another mealtrail server (process {_holder(path)}) owns the data directory {data_dir}; "
            "stop it, or set MEALTRAIL_DATA_DIR to another directory"
        ) from error
    except OSError as error:
        raise ConfigurationError(
            f"cannot lock {path}: {error.strerror}; the data directory needs room for a line, and flock"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _write_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _holder(path: Path) -> str:
    try:
        text = path.read_text().strip()
    except OSError:
        return "unknown"
    return text if text.isdigit() else "unknown"
