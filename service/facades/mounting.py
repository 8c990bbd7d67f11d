"""How an existing system's API is put beside the native one: its paths under a prefix, its own shape for every error.

A facade lists its routes and says how it words a failure. `mount` adds the routes; the edge asks `failure_renderer`
whose words an error of a request is answered in. A facade's paths answer everything in the facade's shape: what its
handlers raise, a method that a path does not take, an outage, a fault of ours. A path that is none of a facade's
(`/order/1/courier`) is nobody's, and its 404 stays native.

    class VendorApi:
        name = "vendor"
        def routes(self): return [Route("GET", "/api/developer/v1/orders/{orderId:[^/]*}", self.get_order)]
        def fail(self, failure, request_id): return web.json_response(..., status=failure.status)

    mount(app, VendorApi(...), settings.vendor_prefix)
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web
from aiohttp.web_urldispatcher import AbstractResource

from schemas.errors import ConfigurationError
from service.failures import Failure
from service.ingress.body import expect_body
from service.problems import problem_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Renderer = Callable[[Failure, str], web.Response]
"""Makes the answer to a failure; the second argument is the request id, which goes out in a header in any case."""


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. `path` is as documented, without the prefix; `{name:[^/]*}` takes whatever a segment may be."""

    method: str
    path: str
    handler: Handler


class Facade(Protocol):
    """One existing system's API."""

    name: str

    def routes(self) -> Sequence[Route]:
        """Its endpoints."""

    def fail(self, failure: Failure, request_id: str) -> web.Response:
        """The failure in the API's own terms. Must not raise; `failure.headers` belong on the answer."""


_VARIABLE = re.compile(r"\{[^{}]*\}")

Mounted = dict[AbstractResource, Facade]
MOUNTED = web.AppKey("facades", Mounted)


def mount(app: web.Application, facade: Facade, prefix: str) -> None:
    """Adds the facade's routes below the prefix (`""` or `/…` without a slash at its end).

    Raises ConfigurationError where another facade has the path already: an error there could be worded only one way.
    """
    mounted = app.setdefault(MOUNTED, {})
    for route in facade.routes():
        path = prefix + route.path
        for taken, other in mounted.items():
            if other is not facade and _shape(taken.canonical) == _shape(path):
                raise ConfigurationError(
                    f"the APIs {other.name} and {facade.name} would both answer {path}; give one of them another prefix"
                )
        added = app.router.add_route(route.method, path, route.handler, expect_handler=expect_body)
        if added.resource is not None:
            mounted[added.resource] = facade


def _shape(path: str) -> str:
    """The path with its variables nameless: two that differ in names only answer the same requests."""
    return _VARIABLE.sub("{}", path)


async def failure_renderer(request: web.Request) -> Renderer:
    """Whose words an error of this request is answered in: its facade's, else the native ones."""
    mounted = request.app.get(MOUNTED, {})
    resource = request.match_info.route.resource
    if resource is not None:
        facade = mounted.get(resource)
        return problem_of if facade is None else facade.fail
    if isinstance(request.match_info.http_exception, web.HTTPMethodNotAllowed):
        for candidate, facade in mounted.items():
            _, methods = await candidate.resolve(request)
            if methods:
                return facade.fail
    return problem_of


__all__ = ["Facade", "Handler", "Renderer", "Route", "failure_renderer", "mount"]
