"""The native answer to a published event: its verdict where the caller asked for it and it came in time, else 202."""

from __future__ import annotations

from functools import cache

import orjson
from aiohttp import web

from schemas.verdicts import Verdict
from service.bodies.documents import is_json
from service.dialects.port import Answer
from service.queries.rendering import receipt_document
from service.verdicts.desk import Published, VerdictDesk
from service.verdicts.preference import preferred_wait


def wait_of(request: web.Request) -> int:
    """The whole seconds that the caller prefers to wait; 0 is not at all."""
    return preferred_wait(request.headers.getall("Prefer", []))


async def answer_published(desk: VerdictDesk, published: Published, stored: Answer) -> web.Response:
    """The receipt (200, or 409 when rejected) if the verdict falls in time, else `stored`.

    `Preference-Applied` says whether there was any waiting at all.
    """
    if published.waiter is None:
        return render(stored)
    view = await desk.verdict(published)
    headers = {**stored.headers, "Preference-Applied": f"wait={wait_of(published.request)}"}
    if view is None:
        return render(Answer(stored.status, stored.body, headers, stored.content_type))
    headers["Cache-Control"] = "no-store"
    status = 409 if view.verdict == Verdict.REJECTED else 200
    return render(Answer(status, receipt_document(view, published.taken.receipt_id), headers))


def render(answer: Answer) -> web.Response:
    """An answer as a response."""
    if answer.body is None:
        return web.Response(status=answer.status, headers=answer.headers)
    headers = {**answer.headers, "Content-Type": answer.content_type}
    return web.Response(status=answer.status, body=_written(answer), headers=headers)


@cache
def _is_json(content_type: str) -> bool:
    """Of the content types that dialects answer with, which are few."""
    return is_json(content_type.partition(";")[0].strip().lower())


def _written(answer: Answer) -> bytes:
    if _is_json(answer.content_type):
        return orjson.dumps(answer.body)
    if isinstance(answer.body, str):
        return answer.body.encode()
    if isinstance(answer.body, bytes):
        return answer.body
    raise TypeError(f"an answer of {answer.content_type} must be text or bytes, not {type(answer.body).__name__}")
