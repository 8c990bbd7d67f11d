"""One run: load and faults together, healing, quiet, judgement."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.suite.checker import Checker
from tests.faults.suite.evidence import Topics, gather
from tests.faults.suite.journal import Journal
from tests.faults.suite.load import AnswersLog, Load
from tests.faults.suite.partners import Author, Script
from tests.faults.suite.quiet import wait_for_quiet
from tests.faults.suite.schedule import Fault, make_schedule
from tests.faults.suite.site import PARTITIONS, Servers, Site, open_site

ORDERS_A_SECOND = 9.0
HEAL_LIMIT_S = 60.0
QUIET_LIMIT_S = 60.0


@dataclass
class Result:
    """What a run came to. `wrong` are broken promises, in sentences; none means that it passed."""

    seed: int
    seconds: float
    folder: Path
    wrong: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every promise was kept."""
        return not self.wrong

    def __str__(self) -> str:
        """One line."""
        told = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        verdict = "passed" if self.passed else f"FAILED ({len(self.wrong)} broken promises)"
        return f"seed {self.seed}: {verdict} in {self.seconds:.0f} s; {len(self.faults)} faults; {told}"


async def run_once(servers: Servers, seed: int, seconds: float, folder: Path) -> Result:
    """One run of about `seconds` of faults, in a folder of its own; never raises for what mealtrail does wrong."""
    _empty(folder)
    began = time.monotonic()
    journal, prefix = Journal(folder / "journal.jsonl"), f"f{uuid.uuid4().hex[:8]}."
    result = Result(seed, 0.0, folder)
    topics = Topics(servers.kafka.bootstrap, prefix, PARTITIONS)
    try:
        async with open_site(servers, journal, folder, prefix, seed) as site:
            schedule = make_schedule(seed, seconds, site.consumers)
            result.faults = [str(fault) for fault in schedule]
            journal.note("seed", seed=seed, seconds=seconds, consumers=site.consumers, batch_size=site.batch_size)
            result.wrong += await _suffer(site, journal, schedule, seed, seconds, folder / "answers.jsonl")
            if (trouble := await wait_for_quiet(topics, site.urls.owner, QUIET_LIMIT_S)) is not None:
                result.wrong.append(f"no quiet within {QUIET_LIMIT_S:.0f} s: {trouble}")
            journal.note("quiet", trouble=trouble)
            evidence = await gather(topics, site.urls.owner, folder / "answers.jsonl", int(time.time() * 1000))
            checker = Checker(evidence)
            result.wrong += await asyncio.to_thread(checker.check)
            result.counts = dict(checker.counts)
            codes = await site.stop()
            if any(codes.values()):
                result.wrong.append(f"a stop in order ended with other exit codes than 0: {codes}")
            result.wrong += _read_logs(folder)
    except Exception as error:  # noqa: BLE001 - a run that cannot be judged has failed, and the next seed still runs
        journal.note("crash", error=repr(error))
        result.wrong.append(f"the run itself failed: {error!r}")
    result.seconds = time.monotonic() - began
    journal.note("judged", wrong=result.wrong, counts=result.counts)
    journal.close()
    with contextlib.suppress(Exception):  # a topic that stays costs disk only, and the broker ends with the series
        await asyncio.to_thread(topics.delete)
    if result.passed:
        _keep_journal(folder)
    return result


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _keep_journal(folder: Path) -> None:
    for read in (*folder.glob("*.log"), folder / "answers.jsonl"):
        read.unlink()


async def _suffer(
    site: Site, journal: Journal, schedule: list[Fault], seed: int, seconds: float, answers_path: Path
) -> list[str]:
    """Load and faults until all is mended and answered; what went wrong already."""
    answers = AnswersLog(answers_path)
    load = Load(f"http://127.0.0.1:{site.port}", site.tokens, answers, seed)
    scripts: list[Script] = Author(seed, datetime.now(UTC)).scripts(seconds, ORDERS_A_SECOND)
    journal.note("load", orders=len(scripts), requests=sum(len(script.requests) for script in scripts))
    posting = asyncio.create_task(load.post_all(scripts))
    watching = asyncio.create_task(site.watch_processes())
    began = time.monotonic()

    async def strike(fault: Fault) -> None:
        await asyncio.sleep(max(0.0, began + fault.at_s - time.monotonic()))
        await site.suffer(fault)

    try:
        async with asyncio.TaskGroup() as group:
            for fault in schedule:
                group.create_task(strike(fault))
        journal.note("healed", open=load.open)
        async with asyncio.timeout(HEAL_LIMIT_S):
            await posting
            await site.ready(HEAL_LIMIT_S)
        journal.note("answered", **answers.counts)
    except TimeoutError:
        return [f"{load.open} requests were not answered for good {HEAL_LIMIT_S:.0f} s after all was mended"]
    finally:
        for task in (posting, watching):
            task.cancel()
        await asyncio.gather(posting, watching, return_exceptions=True)
        answers.close()
    return []


def _read_logs(folder: Path) -> list[str]:
    """What processes say of themselves that must not happen: a partition that stopped, an error nobody expected."""
    wrong = []
    for log in sorted(folder.glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if told.get("event") == "partition_stopped":
                wrong.append(f"{log.stem} stopped partition {told.get('partition')}: {told.get('code')}")
    return wrong
