"""The audit trail of administration: who added, rotated, disabled or revoked what. Append-only, like the trail."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.admin_tables import admin_acts


async def record_act(
    connection: AsyncConnection,
    *,
    workspace: str,
    at: int,
    actor: str,
    act: str,
    subject: str,
    detail: Mapping[str, Any],
) -> None:
    """Write one act in the caller's transaction, so that act and record come together. `detail` holds no secrets."""
    await connection.execute(
        admin_acts.insert().values(
            workspace=workspace,
            act_id=uuid.uuid4().hex,
            at=at,
            actor=actor,
            act=act,
            subject=subject,
            detail=orjson.dumps(detail, option=orjson.OPT_SORT_KEYS).decode(),
        )
    )
