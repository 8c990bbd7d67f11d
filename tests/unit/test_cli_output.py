"""Masking, tables and the timeline."""

import io
import re

import pytest
from rich.console import Console

from service.cli.output import mask_url, plain_text, print_table
from service.cli.timeline import print_timeline


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+asyncpg://app:hunter2@db:5432/meals", "postgresql+asyncpg://app:***@db:5432/meals"),
        ("postgresql+asyncpg://app@db/meals?password=hunter2", "postgresql+asyncpg://app@db/meals"),
        ("postgresql+asyncpg://app:hunter2@[::1]:5432/m", "postgresql+asyncpg://app:***@[::1]:5432/m"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ],
)
def test_urls_are_shown_without_passwords(url: str, shown: str) -> None:
    """Neither in the authority nor in the query."""
    assert mask_url(url) == shown


def test_what_partners_send_cannot_drive_the_terminal() -> None:
    """Escape sequences are shown as text."""
    assert plain_text("a\x1b[2Jb\u202e").plain == "a\\x1b[2Jb\\u202e"


def test_markup_in_cells_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets come from names, not from us."""
    print_table(("name",), [("[red]x[/red] :pizza:",)], empty="nothing")
    assert "[red]x[/red] :pizza:" in capsys.readouterr().out


def test_an_empty_table_is_words(capsys: pytest.CaptureFixture[str]) -> None:
    """No heading without rows."""
    print_table(("name",), [], empty="nothing yet")
    assert capsys.readouterr().out == "nothing yet\n"


def _item(**fields: object) -> dict[str, object]:
    usual: dict[str, object] = {
        "verdict": "applied",
        "reason": None,
        "event_type": "status",
        "reported_status": "READY",
        "fact": None,
        "from_status": "COOKING",
        "to_status": "READY",
        "source": "kitchen",
        "role": "restaurant",
        "occurred_at": "2026-11-21T20:48:02.192323Z",
        "occurred_mark": None,
        "received_at": "2026-11-21T21:26:02.305Z",
        "inferred": False,
        "comment": None,
        "cancel_reason": None,
    }
    return usual | fields


def _held(**fields: object) -> dict[str, object]:
    usual: dict[str, object] = {
        "event_id": "e1",
        "source": "riders",
        "role": "courier",
        "event_type": "status",
        "reported_status": "DELIVERED",
        "fact": None,
        "received_at": "2026-11-21T21:26:02.305Z",
        "why": "foreign",
        "held_until": "2026-11-22T21:26:02.305Z",
    }
    return usual | fields


def _shown(*items: dict[str, object], held: tuple[dict[str, object], ...] = (), announced: bool = True) -> str:
    order: dict[str, object] = {
        "order_id": "A-1",
        "status": "READY",
        "updated_at": "2026-11-21T21:26:02.305Z",
        "restaurant": "R1",
        "courier": None,
        "external_ids": ["X9"],
        "items": items,
        "held": held,
    }
    if not announced:
        order = {"order_id": "A-1", "status": None, "items": [], "held": held}
    stream = io.StringIO()
    print_timeline(Console(file=stream, width=80, markup=False), order)
    return stream.getvalue()


def test_the_timeline_tells_times_verdicts_sources_and_inferred_steps() -> None:
    """What a person at night needs, in 80 columns."""
    text = _shown(
        _item(inferred=True, from_status="NEW", to_status="COOKING"),
        _item(comment="no onions"),
        _item(verdict="rejected", reason="illegal_transition", reported_status="COOKING", occurred_mark="naive"),
    )
    assert "Order A-1  READY  since 2026-11-21 21:26:02.305" in text
    assert "NEW → COOKING (inferred)" in text
    assert "comment: no onions" in text
    assert "COOKING: illegal transition, stays READY" in text
    assert "happened 2026-11-21 20:48:02.192 (naive)" in text
    assert "also known as X9" in text
    assert max(map(len, text.splitlines())) <= 80


def test_an_event_that_was_held_says_until_when() -> None:
    """It was received before what is shown above it; the day is told where it is another."""
    text = _shown(
        _item(decided_at="2026-11-21T21:30:00.001Z"),
        _item(decided_at="2026-11-22T00:30:00.001Z"),
        _item(decided_at="2026-11-21T21:26:02.305Z"),
    )
    assert text.count("held until") == 2
    assert "held until 21:30:00.001" in text
    assert "held until 2026-11-22 00:30:00.001" in text


def test_events_that_wait_are_shown_to_the_operator() -> None:
    """For an order that is not announced, and for one that names no party of the source."""
    noted = _held(reported_status=None, event_type="fact", fact="courier assigned", held_until=None)
    text = _shown(held=(_held(), noted), announced=False)
    assert "Order A-1  not announced yet; 2 events wait for it" in text
    assert re.search(r"21:26:02.305 +2026-11-22 21:26:02.305 +DELIVERED +riders", text)
    assert re.search(r"without end +courier assigned +riders", text)
    announced = _shown(_item(), held=(_held(source="\x1b[2Jx"),))
    assert "1 event held: the order names no party of the source" in announced
    assert "\x1b" not in announced
    assert "held" not in _shown(_item())


def test_escape_sequences_in_comments_are_shown_as_text() -> None:
    """A comment is a stranger's words."""
    assert "\x1b" not in _shown(_item(comment="\x1b]0;owned\x07"))


def test_an_event_without_a_time_has_none_shown() -> None:
    """Nothing is invented."""
    assert "happened" not in _shown(_item(occurred_at=None, occurred_mark="missing"))


def test_what_is_whole_is_neither_folded_nor_cut(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id that is wider than the terminal makes the line longer; other cells give way first."""
    monkeypatch.setenv("COLUMNS", "40")
    identity, words = "e" * 60, "one two three four five six seven"
    print_table(("id", "words", "at"), [(identity, words, "2026-11-22 01:13:05")], empty="nothing", whole=("id", "at"))
    out = capsys.readouterr().out
    assert identity in out
    assert "2026-11-22 01:13:05" in out
    assert words not in out
    assert words.split() == [word for word in out.split() if word in words.split()]


def test_what_is_set_aside_is_always_told() -> None:
    """Also when nothing waits behind it; the command can be copied, however narrow the terminal."""
    letter = {"pair": "4:7:7", "event_id": "e", "error": "TypeError", "parks": "order"}
    stream = io.StringIO()
    order = {"order_id": "A-1", "status": None, "items": [], "held": [], "set_aside": [letter]}
    print_timeline(Console(file=stream, width=30, markup=False), order)
    assert "Order A-1  not announced yet\n" in stream.getvalue()
    assert "parked: an event is set aside (4:7:7); mealtrail dead-letters show 4:7:7\n" in stream.getvalue()
