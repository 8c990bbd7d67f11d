"""`mealtrail erase`, in both run modes: what it takes away, what stays, and what the APIs answer afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from backbone.store.opening import STORE_FILE
from service.cli.exits import ExitCode
from tests.support.deployments import ROOT, Deployment, deployment, embedded_deployment
from tests.support.partners import Client, add_client, add_reader

__all__ = ["deployment"]

NAME, PHONE, ADDRESS, REMARK = "Ana Lovelace", "+34 600 123 456", "Calle Mayor 7", "the dog is called Turing"
SECRETS = (NAME, PHONE, ADDRESS, REMARK, "ana@example.org", "X-1", "ring twice", "no cheese left")
DETAILS = {
    "customer": {"id": "C-77", "name": NAME, "phone": PHONE, "address": ADDRESS},
    "items": [{"id": "i1", "quantity": "1", "customizations": {"note": "for ana@example.org"}}],
    "payment_method": {"id": "p1", "form": {"email": "Ana@Example.org"}},
    "remarks": REMARK,
    "total": "12.50",
}
FOR_GOOD = ("--reason", "asked by letter 17", "--yes")


async def announce(platform: Client, order_id: str, **fields: Any) -> None:
    """An order with a customer, a comment and a reason of its kitchen."""
    body = {"order_id": order_id, "restaurant": "r1", "courier": "c1", "event_id": f"{order_id}/new", **fields}
    answer = await platform.call("POST", "/v1/orders", body, Prefer="wait=20")
    assert (answer.status, answer.body["verdict"]) == (200, "applied"), answer


async def everything_told(platform: Client, order_id: str) -> str:
    """All that the API says about an order, as text."""
    order = await platform.call("GET", f"/v1/orders/{order_id}")
    history = await platform.call("GET", f"/v1/orders/{order_id}/history")
    assert (order.status, history.status) == (200, 200), (order, history)
    return json.dumps([order.body, history.body])


async def test_an_erased_order(deployment: Deployment) -> None:
    """Nothing personal is told any more, the chains verify, a repeat is a duplicate and fills nothing in again, later
    steps go on, and to erase once more does no harm.
    """
    async with aiohttp.ClientSession() as session:
        platform = await add_client(deployment, session, "platform", "--role", "platform")
        await announce(platform, "o1", details=DETAILS, external_ids=["X-1"])
        await announce(platform, "o2", details=DETAILS, external_ids=["X-2"])
        assert await platform.verdict("o1", "COOKING", comment="ring twice", event_id="o1/c") == ("applied", None)
        assert await platform.verdict("o1", "READY", reason="no cheese left") == ("applied", None)
        before = await everything_told(platform, "o1")
        assert all(secret in before for secret in (NAME, "X-1", "ring twice", "no cheese left"))

        dry = await deployment.cli_json("erase", "order", "o1", "--dry-run")
        assert dry["dry_run"] is True
        assert dry["orders"][0]["before"]["details"] == 1
        assert "after" not in dry["orders"][0]
        shown = await deployment.cli("erase", "order", "o1", "--dry-run")
        assert all(words in shown for words in ("dry run", "nothing was erased", "until 2", "Backups"))
        assert '"erased"' not in before
        assert await everything_told(platform, "o1") == before

        erased = await deployment.cli_json("erase", "order", "o1", *FOR_GOOD)
        [order] = erased["orders"]
        assert order["state"] == "erased"
        assert order["before"]["bodies"] == 3
        assert set(order["after"].values()) == {0}
        assert erased["raw_bytes"]["until"] is not None
        assert [topic["topic"].rsplit("mealtrail.")[-1] for topic in erased["raw_bytes"]["topics"]] == [
            "received.v1",
            "dead-letters.v1",
        ]
        assert "ackup" in erased["backups"]

        told = await everything_told(platform, "o1")
        assert not [secret for secret in SECRETS if secret in told]
        assert json.loads(told)[0]["erased"] is True
        assert "personal data was erased" in await deployment.cli("order", "show", "o1")
        listed = await platform.call("GET", "/v1/orders?external_id=X-1")
        assert listed.body["items"] == []
        assert NAME in await everything_told(platform, "o2")

        repeat = await platform.post("o1", "COOKING", comment="ring twice", event_id="o1/c")
        assert await platform.await_verdict(repeat) == ("applied", None)
        again = {"order_id": "o1", "restaurant": "r1", "courier": "c1", "event_id": "o1/new", "details": DETAILS}
        answer = await platform.call("POST", "/v1/orders", again | {"external_ids": ["X-1"]}, Prefer="wait=20")
        assert answer.status == 200
        amended = await platform.call("PATCH", "/v1/orders/o1", {"details": DETAILS}, Prefer="wait=20")
        assert (amended.status, amended.body["verdict"]) == (200, "noted")
        assert await platform.verdict("o1", "DELIVERED") == ("applied", None)
        told = await everything_told(platform, "o1")
        assert not [secret for secret in SECRETS if secret in told]
        assert '"DELIVERED"' in told

        once_more = await deployment.cli_json("erase", "order", "o1", *FOR_GOOD)
        assert set(once_more["orders"][0]["after"].values()) == {0}
    report = await deployment.cli_json("audit", "verify")
    assert report["ok"], report


@pytest.fixture
async def embedded(tmp_path: Path) -> AsyncIterator[Deployment]:
    """An embedded mealtrail that runs."""
    made = embedded_deployment(tmp_path, MEALTRAIL_PARTITIONS="2")
    try:
        await made.up()
        yield made
    finally:
        made.close()


def all_bytes_of_store(deployment: Deployment) -> bytes:
    """Every value that the store's tables hold, one after the other."""
    store = sqlite3.connect(Path(deployment.env["MEALTRAIL_DATA_DIR"]) / STORE_FILE)
    try:
        names = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        values = [value for name in names for row in store.execute(f'SELECT * FROM "{name}"') for value in row]
    finally:
        store.close()
    return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in values)


def all_files_of_store(deployment: Deployment) -> bytes:
    """The store's files as they lie on the disk, with their free room."""
    files = sorted(Path(deployment.env["MEALTRAIL_DATA_DIR"]).glob(f"{STORE_FILE}*"))
    assert files
    return b"".join(path.read_bytes() for path in files)


async def test_a_customer_is_found_by_what_names_them_alone(embedded: Deployment) -> None:
    """Not by name; and their orders alone are erased, with every trace that the tables had of them. Administration
    remembers who did it and why, and not for whom.
    """
    other = {"customer": {"id": "C-78", "name": NAME, "phone": "+34 600 999 999", "address": ADDRESS}}
    async with aiohttp.ClientSession() as session:
        platform = await add_client(embedded, session, "platform", "--role", "platform")
        await announce(platform, "o1", details=DETAILS, external_ids=["X-1"])
        await announce(platform, "o2", details={"customer": {"phone": "0034600123456"}})
        await announce(platform, "stranger", details=other)
        found = await embedded.cli_json("erase", "customer", "0034 (600) 123-456", "--dry-run")
        assert [order["order_id"] for order in found["orders"]] == ["o1", "o2"]
        await embedded.cli("erase", "customer", NAME, "--dry-run", expect=ExitCode.NOT_FOUND)
        naming = ("--reason", f"of {PHONE}", "--yes")
        await embedded.cli("erase", "customer", PHONE, *naming, expect=ExitCode.USAGE)
        naming = ("--reason", "Letter from +34600123456", "--yes")
        await embedded.cli("erase", "customer", PHONE, *naming, expect=ExitCode.USAGE)
        text = await embedded.cli("erase", "customer", PHONE, *FOR_GOOD)
        assert "2 of 2 orders" in text
        assert "backups" in text
        assert NAME in await everything_told(platform, "stranger")
        await embedded.cli("erase", "customer", PHONE, *FOR_GOOD, expect=ExitCode.NOT_FOUND)
    assert embedded.end("up") == 0
    assert b"asked by letter 17" in all_bytes_of_store(embedded)
    left = all_files_of_store(embedded)
    assert not [secret for secret in (PHONE, "0034600123456", "Turing", '"X-1"', "ana@") if secret.encode() in left]


async def test_nobody_is_erased_by_accident(embedded: Deployment) -> None:
    """Without a terminal it takes --yes, a reason is needed, and one unknown order among known ones stops it all."""
    async with aiohttp.ClientSession() as session:
        platform = await add_client(embedded, session, "platform", "--role", "platform")
        await announce(platform, "o1", details=DETAILS)
        await embedded.cli("erase", "order", "o1", "--reason", "because", expect=ExitCode.USAGE)
        await embedded.cli("erase", "order", "o1", "--yes", expect=ExitCode.USAGE)
        await embedded.cli("erase", "order", "o1", "o2", *FOR_GOOD, expect=ExitCode.NOT_FOUND)
        assert NAME in await everything_told(platform, "o1")


async def test_a_terminal_is_asked(embedded: Deployment) -> None:
    """The list is shown first; no is no, and exits 1."""

    async def asked(answer: bytes) -> tuple[int | None, bytes]:
        terminal, theirs = pty.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "service.cli", "erase", "order", "o1", "--reason", "asked by letter 17"),
                cwd=ROOT,
                env=embedded.env,
                stdin=theirs,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            os.write(terminal, answer)
            out, _ = await asyncio.wait_for(process.communicate(), 60)
            return process.returncode, out
        finally:
            os.close(terminal)
            os.close(theirs)

    async with aiohttp.ClientSession() as session:
        platform = await add_client(embedded, session, "platform", "--role", "platform")
        await announce(platform, "o1", details=DETAILS)
        code, out = await asked(b"n\n")
        assert code == ExitCode.NEGATIVE
        assert b"o1" in out
        assert NAME in await everything_told(platform, "o1")
        code, out = await asked(b"y\n")
        assert code == ExitCode.OK
        assert b"1 of 1 orders" in out
        assert NAME not in await everything_told(platform, "o1")


async def test_one_class_alone(embedded: Deployment) -> None:
    """The bytes as received go, what orders show stays."""
    async with aiohttp.ClientSession() as session:
        platform = await add_client(embedded, session, "platform", "--role", "platform")
        await announce(platform, "o1", details=DETAILS, external_ids=["X-1"])
        erased = await embedded.cli_json("erase", "order", "o1", "--class", "payloads", *FOR_GOOD)
        [order] = erased["orders"]
        assert order["classes"] == ["payloads"]
        assert (order["after"]["bodies"], order["after"]["details"]) == (0, 1)
        assert NAME in await everything_told(platform, "o1")
    report = await embedded.cli_json("audit", "verify")
    assert report["ok"], report


async def test_what_waits_for_an_unknown_order_is_erased_too(embedded: Deployment) -> None:
    """And is still decided when the order comes, without what was taken away."""
    async with aiohttp.ClientSession() as session:
        platform = await add_client(embedded, session, "platform", "--role", "platform")
        kitchen = await add_client(embedded, session, "kitchen", "--role", "restaurant", "--party", "r1")
        receipt = await kitchen.post("later", "COOKING", comment="ring twice", event_id="k1")
        erased = await embedded.cli_json("erase", "order", "later", *FOR_GOOD)
        [order] = erased["orders"]
        assert order["before"]["waiting"] == 1
        assert set(order["after"].values()) == {0}
        assert b"ring twice" not in all_bytes_of_store(embedded)
        await announce(platform, "later")
        assert await kitchen.await_verdict(receipt) == ("applied", None)
        assert "ring twice" not in await everything_told(platform, "later")


async def test_without_a_consumer_it_says_so_and_is_applied_later(embedded: Deployment) -> None:
    """Exit 4 after the time that it may wait; --no-wait is content with the log. Both are applied at the next start."""
    async with aiohttp.ClientSession() as session:
        platform = await add_client(embedded, session, "platform", "--role", "platform")
        reader = await add_reader(embedded, session)
        await announce(platform, "o1", details=DETAILS)
        await announce(platform, "o2", details=DETAILS)
        assert embedded.end("up") == 0
        await embedded.cli("erase", "order", "o1", "--wait", "0.3", *FOR_GOOD, expect=ExitCode.UNAVAILABLE)
        started = await embedded.cli_json("erase", "order", "o2", "--no-wait", *FOR_GOOD)
        assert started["orders"][0]["state"] == "pending"
        embedded.start("up")
        await embedded.ready()
        assert await platform.verdict("o1", "COOKING") == ("applied", None)
        assert await platform.verdict("o2", "COOKING") == ("applied", None)
        for order_id in ("o1", "o2"):
            assert NAME not in await everything_told(reader, order_id)
