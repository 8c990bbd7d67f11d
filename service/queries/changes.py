"""GET /v1/changes: outcomes after a position, waiting for the first one if asked to.

{"items":[outcome…],"next":"<position>"}. The position moves over what the caller may not see as well, so that the next
request never reads it again.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from backbone.store.readings import Readings
from service.access import Access
from service.queries.parameters import whole_number
from service.queries.positions import read_position, write_position
from service.queries.reads import json_answer
from service.queries.watcher import ChangeWatcher

LONGEST_WAIT_S = 30
DEFAULT_LIMIT = 100
MOST = 1000


class Changes:
    """The handler. One per application."""

    def __init__(
        self, readings: Readings, access: Access, watcher: ChangeWatcher, monotonic: Callable[[], float]
    ) -> None:
        self._readings = readings
        self._access = access
        self._watcher = watcher
        self._monotonic = monotonic

    async def get(self, request: web.Request) -> web.Response:
        """Answers with what there is; an empty list when nothing came within the time asked for."""
        sight = await self._access.sight(request)
        query = request.query
        position = read_position(query["after"]) if query.get("after") else {}
        wait_s = whole_number(query, "wait", default=0, least=0, most=LONGEST_WAIT_S)
        limit = whole_number(query, "limit", default=DEFAULT_LIMIT, least=1, most=MOST)
        give_up = self._monotonic() + wait_s
        while True:
            items, following = await self._readings.changes(position, sight=sight, limit=limit)
            moved = dict(following) != position
            position = dict(following)
            left = give_up - self._monotonic()
            if items or left <= 0 or _has_gone(request):
                return json_answer({"items": items, "next": write_position(position)})
            if not moved:
                await self._watcher.wait(position, seconds=left, gone=lambda: _has_gone(request))
                if self._watcher.stopping:
                    give_up = self._monotonic()


def _has_gone(request: web.Request) -> bool:
    transport = request.transport
    return transport is None or transport.is_closing()
