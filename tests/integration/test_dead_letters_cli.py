"""`mealtrail dead-letters` on the files of a running server, as people use it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from backbone.eventlog.opening import open_event_log
from backbone.eventlog.partitioner import partition_of
from schemas.records import ReplayRecord, dump_record, load_record
from schemas.topics import RECEIVED
from tests.integration.test_cli import CommandLine, wait_for
from tests.support.received import Broken, LogItem, event_record, new_record, placed, source, status
from tests.support.stores import embedded_settings

PLATFORM, KITCHEN = source("platform"), source("restaurant", "r1")
PARTITIONS = 3


@pytest.fixture
def line(tmp_path: Path) -> Iterator[CommandLine]:
    """A running server on a data directory of its own."""
    made = CommandLine(tmp_path)
    made.up()
    yield made
    if made.server is not None:
        made.end()


def append(line: CommandLine, order_id: str, *items: LogItem) -> None:
    """Puts records of an order into the log beside the server's back."""

    async def run() -> None:
        log = open_event_log(embedded_settings(line.data_dir))
        await log.start()
        at = partition_of(f"default:{order_id}".encode(), PARTITIONS)
        await log.append(RECEIVED, [new_record(item, partition=at) for item in items])
        await log.stop()

    asyncio.run(run())


def set_aside(line: CommandLine, order_id: str) -> str:
    """An announced order with a broken record and an event behind it; the dead letter's name."""
    announced = event_record(order_id, placed(restaurant="r1"), PLATFORM)
    told = event_record(order_id, status("READY", comment="ring twice"), KITCHEN)
    broken = Broken(order_id, dump_record(told).replace(b'"salt"', b'"pepper"'))
    append(line, order_id, announced, broken, event_record(order_id, status("COOKING"), KITCHEN))
    found = wait_for(lambda: line.json("dead-letters", "list", "--order", order_id)["items"], "the dead letter")
    assert len(found) == 1
    return str(found[0]["pair"])


def test_a_dead_letter_from_its_list_to_its_end(line: CommandLine) -> None:
    """Listed, shown without and with its data, replayed in vain, discarded; then the order goes on."""
    pair = set_aside(line, "o1")
    (item,) = line.json("dead-letters", "list")["items"]
    assert (item["state"], item["error"], item["attempts"], item["parks"]) == ("open", "unreadable", 3, "order")
    shown = line.run("dead-letters", "show", pair)
    assert "ring twice" not in shown.stdout
    assert "ring twice" in line.run("dead-letters", "show", pair, "--payload").stdout
    order = line.json("order", "show", "o1")
    assert (order["status"], order["parked"], [held["why"] for held in order["held"]]) == ("NEW", True, ["parked"])
    assert order["set_aside"][0]["pair"] == pair
    told = f"parked: an event is set aside ({pair}); mealtrail dead-letters show {pair}"
    assert told in line.run("order", "show", "o1").stdout
    assert "None" not in shown.stdout
    assert f'mealtrail dead-letters replay {pair} --reason "…"' in shown.stdout

    again = line.json("dead-letters", "replay", pair, "--reason", "looks well", expect=1)["items"][0]
    assert (again["fate"], again["set_aside_as"].split(":")[2]) == ("set_aside_again", pair.split(":")[2])
    repeated = line.json("dead-letters", "replay", pair, "--reason", "once more")["items"][0]
    assert (repeated["fate"], repeated["offset"]) == ("closed_before", None)

    discarded = line.json("dead-letters", "discard", "--order", "o1", "--reason", "nothing to save")["items"]
    assert [(one["pair"], one["fate"]) for one in discarded] == [(again["set_aside_as"], "discarded")]
    assert line.run("dead-letters", "list").stdout == "no open dead letters\n"
    states = [item["state"] for item in line.json("dead-letters", "list", "--state", "all")["items"]]
    assert states == ["replayed", "discarded"]
    order = line.json("order", "show", "o1")
    assert (order["status"], order.get("parked"), order["held"]) == ("COOKING", None, [])
    with sqlite3.connect(line.data_dir / "store.db") as file:
        acts = file.execute("SELECT act, subject FROM admin_acts ORDER BY at").fetchall()
    assert acts == [("dead_letter.replay", pair), ("dead_letter.discard", again["set_aside_as"])]


def test_all_of_them_at_once_and_page_by_page(line: CommandLine) -> None:
    """Pages follow each other without a hole; --all takes every open one, and again does nothing."""
    for number in range(3):
        set_aside(line, f"o{number}")
    first = line.json("dead-letters", "list", "--limit", "2")
    second = line.json("dead-letters", "list", "--limit", "2", "--cursor", first["next"])
    assert len({item["pair"] for item in first["items"] + second["items"]}) == 3
    assert second["next"] is None
    done = line.json("dead-letters", "discard", "--all", "--reason", "test")["items"]
    assert [one["fate"] for one in done] == ["discarded"] * 3
    assert line.json("dead-letters", "discard", "--all", "--reason", "test")["items"] == []


def test_one_that_is_too_large_to_be_carried_is_replayed_with_its_neighbours(line: CommandLine) -> None:
    """Base64 would make it larger than the log takes; what is tried again is the dead letter's own copy anyway."""
    set_aside(line, "o1")
    append(line, "o2", Broken("o2", b"{" + b" " * (800 * 1024)))
    wait_for(lambda: line.json("dead-letters", "list", "--order", "o2")["items"], "the large dead letter")
    done = line.json("dead-letters", "replay", "--all", "--reason", "test", expect=1)["items"]
    assert [one["fate"] for one in done] == ["set_aside_again"] * 2
    with sqlite3.connect(line.data_dir / "log.db") as file:
        values = file.execute("""SELECT value FROM records WHERE instr(value, CAST('"kind":"replay"' AS BLOB))""")
        acts = [load_record(value) for (value,) in values]
    file.close()
    carried = {act.order_id: bool(act.original) for act in acts if isinstance(act, ReplayRecord)}
    assert carried == {"o1": True, "o2": False}


def test_without_a_consumer_the_act_waits_in_the_log(line: CommandLine) -> None:
    """Exit code 4, or 0 for who does not wait; once a consumer runs it is done, however often it was asked for."""
    pair = set_aside(line, "o1")
    line.end()
    late = line.run("dead-letters", "discard", pair, "--reason", "test", "--wait", "0.3")
    assert (late.returncode, "has a partition stopped" in late.stderr) == (4, True)
    assert line.json("dead-letters", "discard", pair, "--reason", "test", "--no-wait")["items"][0]["fate"] == "pending"
    line.up()
    wait_for(lambda: line.json("dead-letters", "list")["items"] == [], "the discard")


def test_mistakes_are_told(line: CommandLine) -> None:
    """Each with its exit code, and in words."""
    mistakes = [
        (["show", "1:2:3"], 5, "there is no dead letter"),
        (["list", "--cursor", "x"], 7, "cursor"),
        (["replay", "1:2:3", "--reason", "x"], 5, "there is no dead letter"),
        (["replay", "--reason", "x"], 2, "--all"),
    ]
    for arguments, code, words in mistakes:
        done = line.run("dead-letters", *arguments)
        assert (done.returncode, words in done.stderr) == (code, True), done
