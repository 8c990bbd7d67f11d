"""Durations as the command line takes them."""

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from service.cli.durations import MAX_MS, parse_duration
from service.cli.options import duration_option, seconds_option


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("24h", 86_400_000),
        ("2m", 120_000),
        ("30s", 30_000),
        ("500ms", 500),
        ("0", 0),
        ("0s", 0),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        (" 5m ", 300_000),
    ],
)
def test_durations_people_write(text: str, ms: int) -> None:
    """Numbers with units, largest first; 0 alone."""
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text", ["", "24", "h", "-1h", "1.5h", "1h 30m", "30m1h", "1h1h", "1w", "٣h", "367d", "1hour", "0x1s"]
)
def test_other_texts_are_refused(text: str) -> None:
    """A bare number has no unit, and nothing is guessed."""
    with pytest.raises(ValueError, match=r"duration|long"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=MAX_MS), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_every_number_with_every_unit(number: int, unit: str) -> None:
    """Exact, up to the limit."""
    length = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}[unit]
    if number * length > MAX_MS:
        with pytest.raises(ValueError, match="too long"):
            parse_duration(f"{number}{unit}")
    else:
        assert parse_duration(f"{number}{unit}") == number * length


def test_an_options_default_is_in_milliseconds_already() -> None:
    """Typer passes defaults through the parser, too."""
    assert duration_option(1500) == 1500


def test_a_wrong_duration_is_a_usage_error() -> None:
    """The parser speaks typer's language."""
    with pytest.raises(typer.BadParameter, match="24h"):
        duration_option("soon")


@pytest.mark.parametrize(("text", "seconds"), [("5", 5.0), ("0.5", 0.5), ("500ms", 0.5), ("2m", 120.0), (10.0, 10.0)])
def test_waits_may_be_bare_seconds(text: str | float, seconds: float) -> None:
    """Where an option says SECONDS, a number is enough."""
    assert seconds_option(text) == seconds


@pytest.mark.parametrize("text", ["86401", "-1", "nan", "1e9", "2d"])
def test_odd_waits_are_refused(text: str) -> None:
    """No negative, endless or absurd waits."""
    with pytest.raises(typer.BadParameter):
        seconds_option(text)
