"""`mealtrail audit …` as people and scripts run it: documents, exit codes, files."""

import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from backbone.store.opening import open_store
from tests.support.audited import ORDERS, PARTIES, story, write_receipts
from tests.support.chains import rewrite_trail, write_order, write_trail
from tests.support.deployments import Deployment, embedded_deployment
from tests.support.stores import embedded_settings


def data_dir(deployment: Deployment) -> Path:
    """Where its files are."""
    return Path(deployment.env["MEALTRAIL_DATA_DIR"])


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[Deployment]:
    """A deployment that was never started, with `story` in partition 0."""
    deployment = embedded_deployment(tmp_path)
    await deployment.cli("migrate")
    store = open_store(embedded_settings(data_dir(deployment)), purpose="owner")
    await write_trail(store, story(0))
    for order_id in ORDERS:
        await write_order(store, f"{order_id}-0", status="READY", parties=PARTIES)
    await write_receipts(store)
    await store.close()
    yield deployment
    deployment.close()


async def test_an_anchor_is_written_once_and_checks(filled: Deployment, tmp_path: Path) -> None:
    """To a file, which is never written over; then with it, and with a public key alone."""
    file = tmp_path / "a.json"
    said = await filled.cli("audit", "anchor", "--out", str(file))
    assert "12 rows in 1 partitions" in said
    before = file.read_bytes()
    await filled.cli("audit", "anchor", "--out", str(file), expect=2)
    assert file.read_bytes() == before
    assert json.loads(await filled.cli("audit", "anchor"))["heads"] == json.loads(before)["heads"]
    [key] = (await filled.cli_json("audit", "key"))["keys"]
    report = await filled.cli_json("audit", "verify", "--anchor", str(file), "--receipts", "--topic")
    assert (report["ok"], report["rows"], report["orders"], report["receipts"]) == (True, 12, 3, 13)
    assert report["anchors"][0]["key_id"] == key["key_id"]
    assert report["topic"]["0"] == {"first": None, "last": None, "head": 12, "records": 0}
    (data_dir(filled) / "secret.keys").unlink()
    alone = ("--public-key", f"{key['key_id']}:{key['public_key']}")
    assert (await filled.cli_json("audit", "verify", "--anchor", str(file), *alone))["ok"] is True
    await filled.cli("audit", "verify", "--anchor", str(file), expect=8)
    await filled.cli("audit", "verify", "--anchor", str(file), "--public-key", "x", expect=2)


async def test_an_anchor_that_cannot_be_used_ends_with_a_code_of_its_own(filled: Deployment, tmp_path: Path) -> None:
    """Missing, no anchor, forged: exit 8, and no document."""
    file = tmp_path / "a.json"
    assert await filled.cli("audit", "verify", "--anchor", str(file), "--json", expect=8) == ""
    await filled.cli("audit", "anchor", "--out", str(file))
    file.write_bytes(file.read_bytes().replace(b'"rows":12', b'"rows":13'))
    assert await filled.cli("audit", "verify", "--anchor", str(file), "--json", expect=8) == ""
    file.write_bytes(os.urandom(100))
    await filled.cli("audit", "verify", "--anchor", str(file), expect=8)


async def test_a_rewritten_store_is_a_negative_answer(filled: Deployment, tmp_path: Path) -> None:
    """Exit 1 with the anchor alone; the first bad row in the document and in words."""
    file = tmp_path / "a.json"
    await filled.cli("audit", "anchor", "--out", str(file))
    store = open_store(embedded_settings(data_dir(filled)), purpose="owner")
    await rewrite_trail(store, 0, story(0)[:9])
    await store.close()
    report = await filled.cli_json("audit", "verify", expect=1)
    assert {bad["check"] for bad in report["bad"]} == {"order"}
    report = await filled.cli_json("audit", "verify", "--anchor", str(file), expect=1)
    assert (report["first_bad"]["partition"], report["first_bad"]["seq"]) == (0, 10)
    assert "NOT ok: partition 0, row 10: rows up to 12" in await filled.cli(
        "audit", "verify", "--anchor", str(file), expect=1
    )


async def test_acts_are_shown(filled: Deployment) -> None:
    """Who added what; nothing before `--since`; a wrong time is a usage error."""
    await filled.cli("source", "add", "kitchen", "--role", "restaurant")
    [act] = (await filled.cli_json("audit", "acts"))["acts"]
    assert (act["act"], act["subject"], act["recorded"], act["row"]) == ("source.add", "kitchen", True, None)
    assert "source.add" in await filled.cli("audit", "acts", "--since", "1h")
    assert (await filled.cli_json("audit", "acts", "--since", "2099-01-01T00:00:00Z"))["acts"] == []
    for wrong in ("yesterday", "2026-01-01T00:00:00", "24"):
        await filled.cli("audit", "acts", "--since", wrong, expect=2)


async def test_a_damaged_order_is_named_in_the_document(filled: Deployment) -> None:
    """The chain is good, and the state that hangs on it is not."""
    with closing(sqlite3.connect(data_dir(filled) / "store.db")) as store, store:
        store.execute("UPDATE orders SET status = 'DELIVERED' WHERE order_id = 'o2-0'")
    report = await filled.cli_json("audit", "verify", expect=1)
    assert (report["first_bad"]["seq"], report["first_bad"]["check"]) == (11, "order")
    assert report["heads"]["0"]["seq"] == 12


async def test_an_act_that_was_written_anew_is_a_negative_answer(filled: Deployment) -> None:
    """Exit 1, and the act is shown with what is wrong about it."""
    await filled.cli("source", "add", "kitchen", "--role", "restaurant")
    with closing(sqlite3.connect(data_dir(filled) / "store.db")) as store, store:
        store.execute("DROP TRIGGER admin_acts_refuse_update")
        store.execute("UPDATE admin_acts SET actor = CAST(x'ff' AS TEXT), at = 'x'")
    assert "UNREADABLE" in await filled.cli("audit", "acts", expect=1)
    [act] = (await filled.cli_json("audit", "acts", expect=1))["acts"]
    assert (act["actor"], act["unreadable"], act["differs"]) == ("\\xff", True, [])


async def test_damaged_bookkeeping_is_a_negative_answer(filled: Deployment) -> None:
    """What the command itself reads before it verifies is named like the rest."""
    with closing(sqlite3.connect(data_dir(filled) / "store.db")) as store, store:
        store.execute("UPDATE offsets SET seq = 'abc'")
        store.execute("INSERT OR REPLACE INTO kept_settings VALUES ('partitions', 'abc')")
    report = await filled.cli_json("audit", "verify", "--topic", "--receipts", expect=1)
    assert [bad["partition"] for bad in report["bad"]] == [0, None]
