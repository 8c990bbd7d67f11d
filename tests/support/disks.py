"""Disks that are small, full or read-only, for processes that believe in nothing but their own system calls.

With the right to mount, a tmpfs of a few megabytes: the kernel itself answers ENOSPC and EROFS. Without it, a full
disk is a limit on the size of the files that one process writes (RLIMIT_FSIZE), which its writes meet in the middle of
a commit just the same, only under another error number.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

_FILLER = "filler"


class SmallDisk:
    """A folder whose room can be taken away from a process and given back. `mounted` says by which of the two means."""

    def __init__(self, folder: Path, *, mounted: bool) -> None:
        self.folder = folder
        self.mounted = mounted

    def fill(self, pid: int, file: Path) -> None:
        """From now on process `pid` can make `file` no larger."""
        if self.mounted:
            with (self.folder / _FILLER).open("ab", buffering=0) as filler, contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(4096))
        else:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (file.stat().st_size, resource.RLIM_INFINITY))

    def make_room(self, pid: int) -> None:
        """Undoes `fill`."""
        if self.mounted:
            (self.folder / _FILLER).unlink(missing_ok=True)
        else:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        """Nothing in the folder can be written to, by anyone; no file there may be open for writing."""
        if self.mounted:
            _run("mount", "-o", "remount,ro", str(self.folder))
        else:
            self.folder.chmod(0o500)
            for path in self.folder.rglob("*"):
                path.chmod(0o500 if path.is_dir() else 0o400)
        try:
            yield
        finally:
            if self.mounted:
                _run("mount", "-o", "remount,rw", str(self.folder))
            else:
                self.folder.chmod(0o700)
                for path in self.folder.rglob("*"):
                    path.chmod(0o700 if path.is_dir() else 0o600)


@contextlib.contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[SmallDisk]:
    """Makes `folder` a small disk for the length of the block; nothing may be running in it at the end."""
    folder.mkdir()
    mounted = _may_mount() and _mount(folder, megabytes)
    try:
        yield SmallDisk(folder, mounted=mounted)
    finally:
        if mounted:
            _run("umount", "--lazy", str(folder))


def _may_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("mount") is not None


def _mount(folder: Path, megabytes: int) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "none", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # a container may forbid it


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
