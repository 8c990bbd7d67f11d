"""Names that no source has: each once a minute in the log, bounded, and harmless there."""

from __future__ import annotations

import structlog

from service.ingress.unknown_names import LONGEST_NAME, MOST_NAMES, UnknownNames, shorten_name


def test_a_name_is_told_once_a_minute() -> None:
    """And again in the next one."""
    now = [0.0]
    names = UnknownNames(lambda: now[0])
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            names.tell("kitchen-71")
        names.tell("kitchen-72")
        now[0] = 59.9
        names.tell("kitchen-71")
        now[0] = 60.0
        names.tell("kitchen-71")
    assert [line["requested"] for line in lines] == ["kitchen-71", "kitchen-72", "kitchen-71"]
    assert {line["event"] for line in lines} == {"source_unknown"}


def test_whoever_makes_names_up_fills_no_log() -> None:
    """At most a hundred lines a minute, and nothing is kept of the others."""
    names = UnknownNames(lambda: 0.0)
    with structlog.testing.capture_logs() as lines:
        for number in range(10 * MOST_NAMES):
            names.tell(f"n{number}")
    assert len(lines) == MOST_NAMES == len(names._told)


def test_a_name_is_shown_short_and_in_plain_letters() -> None:
    """Nothing in it drives a terminal or breaks a line."""
    assert shorten_name("kitchen-17") == "kitchen-17"
    assert shorten_name("a\n\x1b[2J\u202eé") == "a\\n\\x1b[2J\\u202e\\xe9"
    assert shorten_name("\udcff") == "\\udcff"
    for name in ("x" * 10_000, "\n" * 10_000, "\U0001f600" * 40):
        assert len(shorten_name(name)) == LONGEST_NAME
        assert shorten_name(name).endswith("...")
