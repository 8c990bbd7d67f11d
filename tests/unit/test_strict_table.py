"""The policy `strict` in the verdict table, combination by combination."""

from __future__ import annotations

from consumers.lifecycle import decide
from schemas.statuses import Policy
from schemas.verdicts import Reason, Verdict
from tests.unit.test_lifecycle_table import CASES, CHAIN, LEFT_OUT, SOURCES, STATUSES, Case, order_of, situation_of


def test_a_strict_source_is_judged_like_any_other_but_for_moves_that_pass_a_status_over() -> None:
    """Over every condition: nothing differs outside row 8, and there only what would be applied with inferred steps."""
    held = {True: (None, None), False: (Verdict.REJECTED, Reason.SKIPPED_STATUS)}
    skipped = 0
    for case in CASES:
        order = order_of(case)
        strict = SOURCES[case.role].model_copy(update={"policy": Policy.STRICT})
        for may_wait in (True, False):
            usual = decide(situation_of(case, order))
            decision = decide(situation_of(case, order, source=strict, may_wait_ahead=may_wait))
            if usual.row != 8 or case.event == "CANCELLED":
                assert decision == usual
                continue
            chain = [name for name in CHAIN if name != LEFT_OUT.get(case.fulfilment or "delivery")]
            between = [
                name for name in chain if STATUSES.index(case.stands_at) < CHAIN.index(name) < CHAIN.index(case.event)
            ]
            skipped += bool(between)
            assert (decision.verdict, decision.reason) == (held[may_wait] if between else (Verdict.APPLIED, None))
            assert decision.row == 8
    assert skipped > 1_000


def test_a_strict_sources_event_of_before_an_operators_move_is_late_at_once() -> None:
    """What an operator took back is not waited for."""
    case = Case("none", "named", "platform", "READY", "NEW", None)
    strict = SOURCES["platform"].model_copy(update={"policy": Policy.STRICT})
    decision = decide(situation_of(case, order_of(case, undone=True), source=strict, first_offset=40))
    assert (decision.row, decision.reason) == (8, Reason.UNDONE_BY_OPERATOR)
