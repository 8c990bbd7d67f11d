"""A real PostgreSQL for the tests: by address, in Docker, or from local programs, whichever is found first.

Every server gets the two roles of production: `mealtrail_owner`, who owns a test's database, and `mealtrail_app`,
who may log in and nothing else until migrations grant more. Neither is a superuser.
All calls block and may be made inside or outside a running loop; connections used here live in a thread of their own.
"""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import asyncpg
import psutil

from kafka_broker import free_port
from tests.support import postgres_databases
from tests.support.postgres_binaries import find_binaries, make_folder
from tests.support.postgres_databases import PASSWORD, DatabaseUrls
from tests.support.processes import forget_process, guard_process, remove_folder
from tests.support.sources import UnavailableError, docker_problem

__all__ = ["DatabaseUrls", "PostgresServer", "create_database", "drop_database", "expected_source", "start_postgres"]

ADDRESS_VARIABLE = "MEALTRAIL_TEST_DATABASE_URL"
IMAGE = "postgres:17"


class PostgresServer(Protocol):
    """One server. After `stop` or `kill`, `start` brings it back on the same port with the same data."""

    source: str
    admin_url: str

    def start(self) -> None:
        """Return when it takes connections; under 2 s, also after a kill."""

    def stop(self) -> None:
        """Shut down in order, breaking off connections. May be repeated."""

    def kill(self) -> None:
        """SIGKILL. May be repeated."""

    def freeze(self) -> None:
        """SIGSTOP for all its processes: connections stay open, nothing is answered."""

    def thaw(self) -> None:
        """SIGCONT."""

    def close(self) -> None:
        """End it for good and remove what it kept. May be repeated."""


def create_database(server: PostgresServer) -> DatabaseUrls:
    """Make a fresh, empty database that the owner role owns; the runtime role may only connect to it."""
    return postgres_databases.create_database(server.admin_url)


def drop_database(server: PostgresServer, urls: DatabaseUrls) -> None:
    """Remove the database, breaking off whoever is still connected. May be repeated."""
    postgres_databases.drop_database(server.admin_url, urls)


class LocalPostgres:
    """A server process from local programs, in a temporary folder.

    We are its parent ourselves (no pg_ctl): a killed server is waited for at once and can start again at once.
    fsync is off: a kill of the process loses nothing that the system was told to write.
    """

    def __init__(self) -> None:
        self._binaries = find_binaries()
        self.source = f"local programs ({self._binaries.origin})"
        self._folder = make_folder(self._binaries.user)
        self._port = free_port()
        self.admin_url = f"postgresql+asyncpg://postgres@127.0.0.1:{self._port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        self._initialise()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _initialise(self) -> None:
        command = [str(self._binaries.folder / "initdb"), "-D", str(self._data)]
        command += ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(  # type: ignore[call-overload]
            command, cwd="/", capture_output=True, text=True, timeout=120, check=False, **self._binaries.run_as()
        )
        if done.returncode != 0:
            raise UnavailableError(f"initdb failed: {(done.stdout + done.stderr)[-1000:]}")

    def start(self) -> None:
        """Return when it takes connections."""
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError("the server is running already")
        settings = ["fsync=off", "unix_socket_directories=", "max_connections=200", "timezone=UTC"]
        command = [str(self._binaries.folder / "postgres"), "-D", str(self._data)]
        command += ["-h", "127.0.0.1", "-p", str(self._port)]
        command += [part for setting in settings for part in ("-c", setting)]
        log = self._folder / "postgres.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self._binaries.run_as(),
            )
        guard_process(self._process.pid, signal.SIGQUIT)
        self._wait_until_ready(log)

    def _wait_until_ready(self, log: Path) -> None:
        assert self._process is not None
        give_up = time.monotonic() + 60
        while True:
            try:
                postgres_databases.ask(self.admin_url)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if self._process.poll() is not None or time.monotonic() > give_up:
                    end = log.read_text(errors="replace")[-2000:]
                    raise UnavailableError(f"PostgreSQL did not start ({error}); the end of its log:\n{end}") from error
                time.sleep(0.05)
            else:
                return

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        forget_process(process.pid)

    def stop(self) -> None:
        """Shut down in order, breaking off connections ("fast")."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL for the server process; its backends notice and end by themselves."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP for the server process first, so that it makes no more backends, then for all of those."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT for all."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, how: signal.Signals) -> None:
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        server.send_signal(how)
        for backend in server.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                backend.send_signal(how)

    def close(self) -> None:
        """End it without saving anything and remove its folder."""
        self._end(signal.SIGQUIT)
        remove_folder(self._folder)


class DockerPostgres:
    """A server in a container whose port on this machine is fixed, so that clients find it again."""

    def __init__(self) -> None:
        from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415 (slow to import)

        self.source = f"Docker, {IMAGE}"
        port = free_port()
        self._container = PostgresContainer(
            IMAGE, username="postgres", password=PASSWORD, dbname="postgres", driver=None
        )
        self._container.with_bind_ports(5432, port)
        host = self._container.get_container_host_ip()
        self.admin_url = f"postgresql+asyncpg://postgres:{PASSWORD}@{host}:{port}/postgres"
        self._made = False

    def _docker(self) -> Any:
        return self._container.get_wrapped_container()

    def start(self) -> None:
        """Return when it takes connections."""
        if self._made:
            self._docker().start()
        else:
            self._container.start()
            self._made = True
        give_up = time.monotonic() + 90
        while True:
            try:
                postgres_databases.ask(self.admin_url)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if time.monotonic() > give_up:
                    raise UnavailableError(f"{IMAGE} was not ready within 90 s") from error
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """Shut down in order (the image's stop signal is "fast")."""
        self._docker().stop(timeout=30)

    def kill(self) -> None:
        """SIGKILL."""
        container = self._docker()
        container.reload()
        if container.status == "running":
            container.kill()
            container.wait(timeout=30)

    def freeze(self) -> None:
        """SIGSTOP, through the container's freezer."""
        self._docker().pause()

    def thaw(self) -> None:
        """SIGCONT, through the container's freezer."""
        self._docker().unpause()

    def close(self) -> None:
        """Remove the container and its data."""
        if self._made:
            self._container.stop()
            self._made = False


class GivenPostgres:
    """A server that someone else runs, by a superuser's URL; it cannot be stopped from here."""

    def __init__(self, url: str) -> None:
        self.admin_url = url
        self.source = f"{ADDRESS_VARIABLE} ({urlsplit(url).netloc.rpartition('@')[2]})"

    def start(self) -> None:
        """Nothing to do: it runs."""

    def close(self) -> None:
        """Nothing to do: it is not ours."""

    def _refuse(self) -> None:
        raise NotImplementedError("this server was given by address; take the private_postgres fixture")

    stop = kill = freeze = thaw = _refuse


def expected_source() -> str:
    """Say, without starting anything, which source is going to be tried first, or why there is none."""
    if address := os.environ.get(ADDRESS_VARIABLE):
        return GivenPostgres(address).source
    if docker_problem() is None:
        return f"Docker, {IMAGE}"
    try:
        return f"local programs ({find_binaries().origin})"
    except UnavailableError as error:
        return f"none: {error}"


def _start_in_docker() -> PostgresServer:
    from docker.errors import DockerException  # noqa: PLC0415 (slow to import)

    in_docker: DockerPostgres | None = None
    try:
        in_docker = DockerPostgres()
        in_docker.start()
    except (DockerException, UnavailableError, OSError) as error:
        if in_docker is not None:
            in_docker.close()
        raise UnavailableError(f"Docker: {error}") from error
    return in_docker


def start_postgres(*, private: bool) -> PostgresServer:
    """Start a server with both roles from the first source that works; a private one never comes by address.

    Raises:
        UnavailableError: no source works; the message has every reason.
    """
    server = _start_first(private=private)
    postgres_databases.make_roles(server.admin_url)
    return server


def _start_first(*, private: bool) -> PostgresServer:
    address = os.environ.get(ADDRESS_VARIABLE)
    if address and not private:
        return GivenPostgres(address)
    reasons = [f"{ADDRESS_VARIABLE} is for sharing only" if address else f"{ADDRESS_VARIABLE} is not set"]
    if problem := docker_problem():
        reasons.append(problem)
    else:
        try:
            return _start_in_docker()
        except UnavailableError as error:
            reasons.append(str(error))
    try:
        local = LocalPostgres()
    except UnavailableError as error:
        reasons.append(str(error))
        raise UnavailableError("; ".join(reasons)) from error
    try:
        local.start()
    except UnavailableError as error:
        local.close()
        reasons.append(str(error))
        raise UnavailableError("; ".join(reasons)) from error
    return local
