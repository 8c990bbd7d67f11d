"""Posting the scripts over HTTP, and the log of every answer: the suite's only witness of what was promised to whom.

An answer of 202 is a promise. 503 and silence (a broken connection, no answer in time) are *unknown*: the partner sends
the same again, as long as its patience lasts.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, TextIO

import aiohttp

from tests.faults.suite.partners import Request, Script

ANSWER_WITHIN_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 1.0
_CONNECTIONS = 100


class AnswersLog:
    """A line of JSON for each request that was sent: what, and what was answered."""

    def __init__(self, path: Path) -> None:
        self._file: TextIO = path.open("w")
        self._began = time.monotonic()
        self.counts: Counter[str] = Counter()

    def write(self, request: Request, *, status: int | None, **more: Any) -> None:
        """One request and its answer; without a status nobody knows."""
        line = {
            "at_s": round(time.monotonic() - self._began, 3),
            "partner": request.partner,
            "order_id": request.order_id,
            "event_id": request.event_id,
            "body": request.body,
            "status": status,
            **more,
        }
        self._file.write(json.dumps(line) + "\n")
        self.counts[str(status or "unknown")] += 1

    def close(self) -> None:
        """All lines are in the file."""
        self._file.close()


class Load:
    """Runs scripts against one address."""

    def __init__(self, url: str, tokens: dict[str, str], answers: AnswersLog, seed: int) -> None:
        self._url = url
        self._tokens = tokens
        self._answers = answers
        self._rng = Random(f"patience-{seed}")
        self.open = 0
        """Requests that are not answered for good yet."""

    async def post_all(self, scripts: list[Script]) -> None:
        """Returns when every request was answered 202 or its sender gave up. The caller bounds it."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
        self.open = sum(len(script.requests) for script in scripts)
        began = time.monotonic()
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=connector) as session,
            asyncio.TaskGroup() as group,
        ):
            for script in scripts:
                group.create_task(self._play(session, script, began))

    async def _play(self, session: aiohttp.ClientSession, script: Script, began: float) -> None:
        await asyncio.sleep(max(0.0, began + script.at_s - time.monotonic()))
        for request in script.requests:
            await asyncio.sleep(request.pause_s)
            await self._post_patiently(session, request)
            self.open -= 1

    async def _post_patiently(self, session: aiohttp.ClientSession, request: Request) -> None:
        pause_s = _FIRST_PAUSE_S
        for _ in range(request.tries):
            if await self._post(session, request):
                return
            await asyncio.sleep(pause_s * self._rng.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _post(self, session: aiohttp.ClientSession, request: Request) -> bool:
        """Sends once; whether it was answered for good."""
        headers = {"Authorization": f"Bearer {self._tokens[request.partner]}", "Content-Type": "application/json"}
        try:
            async with session.post(self._url + request.path, data=request.body.encode(), headers=headers) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._answers.write(request, status=None, problem=type(error).__name__)
            return False
        if answer.status == 202:
            self._answers.write(request, status=202, receipt_id=json.loads(text)["receipt_id"])
            return True
        self._answers.write(
            request, status=answer.status, retry_after=answer.headers.get("Retry-After"), problem=text[:300]
        )
        return answer.status != 503
