"""Anchors and a store: making one of its heads, and holding old ones against it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from backbone.store.acts import digest_acts
from backbone.store.anchors import FORMAT, Anchor, AnchoredActs, AnchoredHead, PublicKeys, check_signature, sign_anchor
from backbone.store.audit_chain import Mark
from backbone.store.audit_pages import UNREADABLE, unreadable
from backbone.store.audit_report import BadRow
from backbone.store.engine import Store
from backbone.store.kept_settings import DEPLOYMENT, keep_setting, kept_setting
from backbone.store.secrets import SecretBox
from backbone.store.tables import offsets, trail
from schemas.canonical import GENESIS
from schemas.errors import AnchorOfAnother, AnchorOfFuture, TrailBroken
from schemas.times import rfc3339_millis

CLOCKS_APART_MS = 5 * 60_000
"""How far the clocks of our machines may differ: acts this young are left to the next anchor, and an anchor may be this
far ahead of whoever checks it."""


async def make_anchor(store: Store, box: SecretBox, *, now_ms: Callable[[], int]) -> Anchor:
    """Sign the heads as they are now, all in one snapshot. Takes a moment, whatever the trail's length: rows below the
    heads are not read, so verify first.

    Raises TrailBroken where a head is not its partition's last row, StoreUnavailable.
    """
    deployment = await keep_setting(store, DEPLOYMENT, secrets.token_hex(16))
    made_ms = now_ms()
    until_ms = max(0, made_ms - CLOCKS_APART_MS)
    try:
        async with store.snapshot() as connection:
            heads = await _read_heads(connection)
            acts = await digest_acts(connection, until_ms)
    except UNREADABLE as error:
        raise TrailBroken(
            f"the offsets rows or the acts of administration cannot be read ({type(error).__name__}), so nothing is "
            "signed: see what `mealtrail audit verify` and `mealtrail audit acts` find"
        ) from error
    anchor = Anchor(
        format=FORMAT,
        algorithm="Ed25519",
        deployment=deployment,
        made_at=rfc3339_millis(made_ms),
        rows=sum(head.seq for head in heads),
        partitions=len(heads),
        heads=heads,
        acts=AnchoredActs(count=acts.count, digest=acts.digest, until=rfc3339_millis(until_ms)),
        key_id="",
        signature="",
    )
    return sign_anchor(anchor, box)


async def _read_heads(connection: AsyncConnection) -> list[AnchoredHead]:
    """The heads that the offsets rows remember, each held against the trail's last row."""
    wanted = (offsets.c.partition, offsets.c.seq, offsets.c.hash, offsets.c.watermark_ms)
    heads = []
    for head in (await connection.execute(select(*wanted).order_by(offsets.c.partition))).all():
        last = select(trail.c.seq, trail.c.hash).where(trail.c.partition == head.partition)
        found = (await connection.execute(last.order_by(trail.c.seq.desc()).limit(1))).one_or_none()
        seq, row_hash = (0, GENESIS) if found is None else (found.seq, found.hash)
        if (seq, row_hash) != (head.seq, head.hash):
            raise TrailBroken(
                f"the trail of partition {head.partition} ends at row {seq}, and not as its offsets row says, so "
                "nothing is signed: see what `mealtrail audit verify` finds"
            )
        heads.append(
            AnchoredHead(
                partition=head.partition,
                seq=head.seq,
                hash=head.hash.hex(),
                watermark=rfc3339_millis(head.watermark_ms),
            )
        )
    return heads


async def check_anchor(store: Store, anchor: Anchor, keys: PublicKeys, *, name: str, now_ms: int) -> None:
    """Return when the anchor may be held against this store. A store that has no id yet (a rebuilt one) takes any.

    Raises AnchorKeyUnknown, AnchorForged, AnchorOfAnother, AnchorOfFuture, StoreUnavailable.
    """
    check_signature(anchor, keys, name=name)
    try:
        own = await kept_setting(store, DEPLOYMENT)
    except DBAPIError as error:
        raise AnchorOfAnother(f"{name} cannot be held against this store: what it is called cannot be read") from error
    if own is not None and own != anchor.deployment:
        raise AnchorOfAnother(f"{name} was made in the deployment {anchor.deployment}, and this is {own}")
    if anchor.made_ms > now_ms + CLOCKS_APART_MS:
        raise AnchorOfFuture(
            f"{name} claims to be made at {anchor.made_at}, and it is {rfc3339_millis(now_ms)}: set the clock"
        )


def marks_of(anchors: Sequence[Anchor]) -> dict[int, list[Mark]]:
    """The anchored rows by partition, for `verify_chains`."""
    marks: dict[int, list[Mark]] = {}
    for anchor in anchors:
        for head in anchor.heads:
            marks.setdefault(head.partition, []).append(Mark(head.seq, bytes.fromhex(head.hash), anchor.made_at))
    return marks


async def verify_acts(store: Store, anchors: Sequence[Anchor]) -> tuple[BadRow, ...]:
    """Compare the acts of administration with the anchors' digests of them: the first that differs, by its time.

    Raises StoreUnavailable.
    """
    for anchor in sorted(anchors, key=lambda anchor: anchor.acts.until_ms):
        try:
            async with store.reading() as connection:
                now = await digest_acts(connection, anchor.acts.until_ms)
        except UNREADABLE as error:
            return (unreadable("an act of administration", error, "acts"),)
        if (now.count, now.digest) != (anchor.acts.count, anchor.acts.digest):
            problem = (
                f"the acts of administration up to {anchor.acts.until} are not those of the anchor of "
                f"{anchor.made_at}, which has {anchor.acts.count}: there are {now.count}"
            )
            return (BadRow(partition=None, seq=None, problem=problem, check="acts"),)
    return ()
