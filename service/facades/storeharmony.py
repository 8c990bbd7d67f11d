"""The StoreHarmony API: POST /user/{accountid}/createNewLocation and GET /restro/{storeid}/trackorder/{orderid}.

Both take a `sessiontoken` header. An account's own token (from `mealtrail account add`) makes locations and tracks the
orders of all its stores; the token that a creation answers with tracks the orders of that store. To a valid token,
a store, an account or an order that is not its own is a 404 like one that is not there.

The documents list the statuses 200, 401, 404 and 500 and no bodies for the last three; ours are
`{"success": false, "message": …}`. An outage is the documented 500 (with Retry-After), since a client of this API has
not heard of 503. Requests that the documents do not provide for are 400, 405, 408, 413, 415 and 429 in the same shape.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from aiohttp import web

from backbone.store.accounts import AccountRepository, Session
from backbone.store.readings import Sight
from schemas.errors import NotAuthenticated, NotFound, UnsupportedContentType
from schemas.statuses import Role
from service.bodies.documents import is_json, read_object
from service.bodies.validation import read_model
from service.facades.lookup import OrderLookup, path_id
from service.facades.mounting import Route
from service.facades.storeharmony_location import NewStoreLocation, location_document
from service.facades.storeharmony_sessions import Sessions
from service.facades.storeharmony_tracking import tracking_document
from service.failures import Failure
from service.ingress.door import Door
from service.ingress.rate_limit import RateLimiter
from service.ingress.refusals import Why
from service.queries.reads import json_answer

CREATE_PATH = "/user/{accountid:[^/]*}/createNewLocation"
TRACK_PATH = "/restro/{storeid:[^/]*}/trackorder/{orderid:[^/]*}"
TOKEN_HEADER = "sessiontoken"  # noqa: S105 - the header's name
RATE = 1000
"""Requests a second of one account and its stores together."""
_LONGEST_TOKEN = 512
_NO_SUCH_RECORD = "There is no such record."
_MESSAGES = {401: "Unauthorized", 404: "Record Not Found"}


class StoreHarmonyApi:
    """The facade. One per application."""

    name = "storeharmony"

    def __init__(
        self, accounts: AccountRepository, sessions: Sessions, door: Door, lookup: OrderLookup, limiter: RateLimiter
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._door = door
        self._lookup = lookup
        self._limiter = limiter

    def routes(self) -> Sequence[Route]:
        """Its two endpoints; the others are listed in the documents without being described."""
        return (Route("POST", CREATE_PATH, self.create_location), Route("GET", TRACK_PATH, self.track_order))

    def fail(self, failure: Failure, request_id: str) -> web.Response:
        """A refusal or an outage in this API's shape; the request id goes in its header alone."""
        del request_id
        status = min(failure.status, 500)
        message = "Server Error" if status == 500 else _MESSAGES.get(status, failure.detail)
        if failure.errors:
            message += " " + "; ".join(f"{field}: {problem}" for field, problem in failure.errors)
        headers = {**(failure.headers or {}), "Cache-Control": "no-store"}
        if status == 401:
            headers["WWW-Authenticate"] = f'{TOKEN_HEADER} realm="mealtrail"'
        body = orjson.dumps({"success": False, "message": message})
        return web.Response(status=status, body=body, content_type="application/json", headers=headers)

    async def create_location(self, request: web.Request) -> web.Response:
        """Make a store location. May be repeated: the same body finds the same store and gets a fresh token.

        Raises NotAuthenticated (a store's own token makes no stores), NotFound for another account, and what bodies
        are refused for.
        """
        with self._door.room(request, None):
            raw = await self._door.read(request, None)
            session = await self._session(request)
            if session.store_id is not None:
                self._door.count_refusal(request, None, Why.BAD_TOKEN)
                raise NotAuthenticated(Why.BAD_TOKEN)
            if path_id(request.match_info["accountid"]) != session.account_id:
                raise NotFound(_NO_SUCH_RECORD)
            _check_type(request)
            body = read_model(NewStoreLocation, read_object(raw))
            location, token, _ = await self._accounts.create_location(session.account_id, body.profile())
        return json_answer(location_document(location, token))

    async def track_order(self, request: web.Request) -> web.Response:
        """Track Order Status. Raises NotAuthenticated, NotFound, RateLimited, StoreUnavailable."""
        session = await self._session(request)
        location = await self._accounts.location(session, path_id(request.match_info["storeid"]))
        if location is None:
            raise NotFound(_NO_SUCH_RECORD)
        sight = Sight(Role.RESTAURANT, (location.store_id,), None)
        view = await self._lookup.seen(request, sight, request.match_info["orderid"])
        return json_answer(tracking_document(view))

    async def _session(self, request: web.Request) -> Session:
        given = request.headers.getall(TOKEN_HEADER, [])
        token = given[0].strip() if len(given) == 1 else ""
        if not token or len(token) > _LONGEST_TOKEN or not token.isascii():
            self._door.count_refusal(request, None, Why.MISSING_TOKEN)
            raise NotAuthenticated(Why.MISSING_TOKEN)
        session = await self._sessions.find(token)
        if session is None:
            self._door.count_refusal(request, None, Why.BAD_TOKEN)
            raise NotAuthenticated(Why.BAD_TOKEN)
        self._limiter.take(f"account:{session.account_id}", RATE)
        return session


def _check_type(request: web.Request) -> None:
    """Raises UnsupportedContentType unless the body is uncompressed JSON."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    declared = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if encoding != "identity" or not is_json(declared):
        raise UnsupportedContentType("The body must be JSON, sent as application/json and not compressed.")
