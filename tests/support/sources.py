"""Where a real part comes from, and what is said when there is none."""

import functools
import os
import socket


class UnavailableError(Exception):
    """This source cannot give the part here; the message is the reason, for people."""


def in_ci() -> bool:
    """True under continuous integration, where a missing part is a failure."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


@functools.cache
def docker_problem() -> str | None:
    """None when a Docker daemon answers, else why not. Asked once, waits at most a few seconds."""
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    silence = f"no Docker daemon answers at {host}"
    if host.startswith("unix://"):  # asked directly first: the client would leave an open socket behind
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(3)
            try:
                probe.connect(host.removeprefix("unix://"))
            except OSError:
                return silence
    import docker  # noqa: PLC0415 (slow to import, and only needed where there is a daemon)

    try:
        client = docker.from_env(timeout=3)
    except docker.errors.DockerException:
        return silence
    try:
        client.ping()
    except (docker.errors.DockerException, OSError):
        return silence
    finally:
        client.close()
    return None
