"""Facades beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from aiohttp import web

from schemas.errors import ConfigurationError
from service.facades.mounting import Route, mount
from service.failures import Failure


class _Api:
    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self._path = path

    def routes(self) -> Sequence[Route]:
        return (Route("GET", self._path, self._get), Route("PUT", self._path, self._get))

    def fail(self, failure: Failure, request_id: str) -> web.Response:
        del request_id
        return web.Response(status=failure.status)

    async def _get(self, request: web.Request) -> web.Response:
        del request
        return web.Response()


def test_two_apis_on_one_path_are_refused() -> None:
    """The second would never be asked, and its errors be worded by the first."""
    app = web.Application()
    mount(app, _Api("one", "/orders/{orderId:[^/]*}"), "/x")
    mount(app, _Api("two", "/orders/{id}"), "/y")
    with pytest.raises(ConfigurationError, match=r"one and three would both answer /x/orders/\{id\}"):
        mount(app, _Api("three", "/orders/{id}"), "/x")
