"""When a partition stops rather than set one more event aside."""

from consumers.dead_letter_limits import DeadLetterLimits


def test_a_run_up_to_the_limit_is_allowed() -> None:
    """The twentieth in a row may be set aside, the one after it not; a gap begins the count anew."""
    limits = DeadLetterLimits()
    assert limits.problem(range(5000, 5019), 5019) is None
    assert "20 events were set aside in a row" in (limits.problem(range(5000, 5020), 5020) or "")
    assert limits.problem(range(5000, 5020), 5021) is None


def test_a_share_of_the_last_thousand_is_allowed() -> None:
    """Fifty of a thousand; those further back do not count."""
    limits = DeadLetterLimits()
    every_other = [9_900 - 2 * n for n in range(49)]
    assert limits.problem(every_other, 10_000) is None
    assert "50 events were set aside in the last 1000 records" in (limits.problem([*every_other, 9_001], 10_000) or "")
    assert limits.problem([*every_other, 9_000], 10_000) is None


def test_twenty_are_always_allowed() -> None:
    """A young partition, or a small share, does not stop at its first poison."""
    scattered = range(0, 38, 2)
    assert DeadLetterLimits(share=0.001).problem(scattered, 60) is None
    assert DeadLetterLimits(share=0.001).problem(range(0, 40, 2), 60) is not None


def test_what_is_at_the_offset_in_hand_is_told_apart() -> None:
    """Rows of an earlier try at the same offset are not counted beside what the try at hand has."""
    assert DeadLetterLimits(run=1).problem([7], 7) is None


def test_every_event_counts_whatever_record_it_was_set_aside_under() -> None:
    """A record may end thousands of holds: those that are set aside under it count one by one, in hand or earlier."""
    limits = DeadLetterLimits()
    assert limits.problem([], 100, already=19) is None
    assert limits.problem([], 100, already=20) is not None
    assert limits.problem([99] * 12, 100, already=7) is None
    assert limits.problem([99] * 12, 100, already=8) is not None
    assert limits.problem([97] * 12 + [90] * 7, 100, already=0) is None
    assert limits.problem([97] * 12 + [90] * 7, 100, already=1) is not None
