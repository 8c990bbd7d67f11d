"""The fault suite's short form: two seeds that never change, so that what fails here fails again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.suite.run import Result, run_once
from tests.faults.suite.site import open_servers
from tests.support.sources import UnavailableError, in_ci

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.slow]

SEEDS = (1, 5)
SECONDS = 15.0
LIMIT_S = 150.0
"""Of the whole test. A run that hangs is a run that fails, and says where by its journal."""


async def test_nothing_is_lost_or_decided_twice_whatever_breaks(tmp_path: Path) -> None:
    """Processes, servers and links break by a seed; afterwards every promise that was made was kept."""
    results: list[Result] = []
    try:
        async with asyncio.timeout(LIMIT_S), open_servers() as servers:
            results = [await run_once(servers, seed, SECONDS, tmp_path / f"seed-{seed}") for seed in SEEDS]
    except UnavailableError as reason:
        if in_ci():
            pytest.fail(f"no fault suite: {reason}", pytrace=False)
        pytest.skip(f"no fault suite: {reason}")
    for result in results:
        assert result.passed, f"{result}\n" + "\n".join(result.wrong) + f"\nevidence: {result.folder}"
        assert result.faults, "a run without a fault proves nothing"
        assert result.counts["verdicts"] > 100, result
