"""What no column can hold, put there by the owner of the file: the audit names it, and never ends in an error."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from backbone.store.acts import read_acts, record_act
from backbone.store.anchoring import make_anchor, marks_of, verify_acts
from backbone.store.anchors import Anchor
from backbone.store.audit import verify_chains
from backbone.store.audit_receipts import verify_receipts
from backbone.store.audit_report import BadRow
from backbone.store.audit_state import verify_orders
from backbone.store.engine import Store
from backbone.store.kept_settings import PARTITIONS, keep_setting
from backbone.store.migration import migrate
from backbone.store.opening import open_store
from backbone.store.secrets import SecretBox
from backbone.store.tables import trail
from schemas.errors import TrailBroken
from service.cli.walltimes import short_time, wall_time
from tests.support.audited import ORDERS, PARTIES, story, write_receipts
from tests.support.chains import DAY_ONE_MS, tamper, trail_row, write_order, write_trail
from tests.support.stores import embedded_settings

RING = SecretBox.parse("k1:" + base64.b64encode(bytes(range(32))).decode())
ODD = ("9223372036854775807", "9e999", "'x'", "x'ff00'", "CAST(x'ff' AS TEXT)")


@pytest.fixture
async def damaged(tmp_path: Path) -> AsyncIterator[Store]:
    """A store on SQLite, which takes any value anywhere, with `story` and its receipts in partition 0 of 2."""
    settings = embedded_settings(tmp_path)
    await migrate(settings)
    store = open_store(settings, purpose="owner")
    await write_trail(store, story(0))
    for order_id in ORDERS:
        await write_order(store, f"{order_id}-0", status="READY", parties=PARTIES)
    await write_receipts(store)
    await keep_setting(store, PARTITIONS, "2")
    yield store
    await store.close()


async def findings(store: Store, *anchors: Anchor) -> list[BadRow]:
    """All that an audit finds."""
    chains = await verify_chains(store, marks=marks_of(anchors))
    bad = {found["partition"] for found in chains.bad if found["partition"] is not None}
    states = [await verify(store, chains.good, bad=bad) for verify in (verify_orders, verify_receipts)]
    return [*chains.bad, *(found for state in states for found in state.bad), *await verify_acts(store, anchors)]


async def add_act(store: Store, at: int = DAY_ONE_MS, **detail: str) -> None:
    """An act on order m1."""
    async with store.transaction() as connection:
        await record_act(
            connection, workspace="default", at=at, actor="ann", act="order.move", subject="m1", detail=detail
        )


@pytest.mark.parametrize("column", [column.name for column in trail.columns])
async def test_odd_values_in_the_trail_are_found(damaged: Store, column: str) -> None:
    """In every column of a row, every kind of value."""
    assert await findings(damaged) == []
    await tamper(damaged, ["CREATE TABLE saved AS SELECT * FROM trail"])
    for value in ODD:
        try:
            await tamper(damaged, [f'UPDATE trail SET "{column}" = {value} WHERE partition = 0 AND seq = 5'])
        except IntegrityError:  # NULL, where there can be none
            continue
        async with damaged.reading() as connection:
            count = (
                f'SELECT count(*) FROM trail t JOIN saved s USING (partition, seq) WHERE t."{column}" IS s."{column}"'
            )
            is_same = await connection.scalar(text(count)) == 12
        assert is_same or await findings(damaged), value
        await tamper(damaged, ["DELETE FROM trail", "INSERT INTO trail SELECT * FROM saved"])


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize(
    "column", ["offsets.seq", "offsets.hash", "orders.partition", "orders.order_id", "orders.courier",
               "receipts.partition", "receipts.state", "receipts.verdict", "receipts.last_offset", "receipts.event_id",
               "order_parties.party"],
)  # fmt: skip
async def test_odd_values_beside_the_trail_are_found(damaged: Store, column: str, value: str) -> None:
    """In what is compared with it. NULL is what no constraint lets in, or what was there."""
    table, name = column.split(".")
    try:
        await tamper(damaged, [f'UPDATE {table} SET "{name}" = {value}'])
    except IntegrityError:
        return
    assert await findings(damaged) or value == "NULL"


@pytest.mark.parametrize("value", ["abc", "²", "", "-1", "0", "99999999999999999999", "2.0"])
async def test_a_kept_number_of_partitions_that_is_none_is_found(damaged: Store, value: str) -> None:
    """And nobody counts up to it."""
    await tamper(damaged, [f"UPDATE kept_settings SET value = '{value}' WHERE name = 'partitions'"])
    [bad] = await findings(damaged)
    assert "the kept setting 'partitions'" in bad["problem"]


@pytest.mark.parametrize(
    "change", ["actor = CAST(x'ff' AS TEXT)", "actor = x'ff'", "at = 9223372036854775807", "at = 'x'", "at = -9e999",
               "detail = x'00'", "act = 7.5", "act_id = CAST(x'ff' AS TEXT)"],
)  # fmt: skip
async def test_odd_acts_are_found_and_shown(damaged: Store, change: str) -> None:
    """An anchor shows that they were changed, a new one is not signed or is another, and they can be listed."""
    await add_act(damaged)
    anchor = await make_anchor(damaged, RING, now_ms=lambda: DAY_ONE_MS * 2)
    assert await findings(damaged, anchor) == []
    await tamper(damaged, [f"UPDATE admin_acts SET {change}"])
    assert [found["check"] for found in await findings(damaged, anchor)] == ["acts"]
    [act] = await read_acts(damaged)
    assert act.unreadable or change.startswith(("act = ", "act_id = "))
    assert len(wall_time(act.at)) == 19
    try:
        again = await make_anchor(damaged, RING, now_ms=lambda: DAY_ONE_MS * 2)
    except TrailBroken:
        return
    assert again.acts != anchor.acts


async def test_an_act_that_contradicts_the_chain_is_told(damaged: Store) -> None:
    """Another actor, another status: the row is under the chain and the act is not."""
    names = {"order_id": "m1", "role": "operator", "source": "ann", "from_status": "READY"}
    await write_trail(damaged, [trail_row(1, n, event_id=f"operator-{n}", **names) for n in (1, 2, 3)])
    for number, status in ((1, "COOKING"), (2, "CANCELLED"), (3, "COOKING")):
        await add_act(damaged, DAY_ONE_MS + number, event_id=f"operator-{number}", status=status)
    await tamper(damaged, [f"UPDATE admin_acts SET actor = 'mallory' WHERE at = {DAY_ONE_MS + 3}"])
    found = await read_acts(damaged)
    assert [(act.row and act.row.seq, act.differs) for act in found] == [(1, ()), (2, ("status",)), (3, ("actor",))]
    assert [act.is_genuine for act in found] == [True, False, False]


def test_a_time_that_no_calendar_has_is_shown_as_it_is() -> None:
    """Tables of administration show what lies there."""
    assert (wall_time(0), short_time(0)) == ("1970-01-01 00:00:00", "01-01 00:00")
    assert wall_time(2**63 - 1) == short_time(2**63 - 1) == str(2**63 - 1)
