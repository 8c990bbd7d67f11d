"""The verdict table and the machine, combination by combination."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from transitions import MachineError

from consumers.lifecycle import TABLE, Attempt, OrderState, Situation, decide
from consumers.lifecycle.machine import MACHINE, correct, mermaid, walk
from consumers.lifecycle.state import PassedBy, Undone
from schemas.events import AnyEvent, FactEvent, OrderAmended, OrderPlaced
from schemas.records import ApplicableRecord, SourceStamp
from schemas.statuses import Fulfilment, OrderStatus, Role
from schemas.times import TimeMark
from schemas.verdicts import Reason, ReceiptState, Verdict
from tests.support.comparing import as_line
from tests.support.model import apply_all
from tests.support.oracle import Oracle
from tests.support.received import START_MS, event_record, logged, source, status

SPECIFICATION = (
    "NEW -> ACCEPTED_BY_RESTAURANT -> COOKING -> READY -> TAKEN_BY_COURIER -> DELIVERED. From any status -> CANCELLED"
)
"""The order-status specification's own words."""

CHAIN = SPECIFICATION.partition(". ")[0].split(" -> ")
LEFT_OUT = {"pickup": "TAKEN_BY_COURIER", "dine_in": "TAKEN_BY_COURIER"}
STATUSES = [*CHAIN, "CANCELLED"]
FULFILMENTS: list[Fulfilment | None] = [None, *Fulfilment]
PARTY = {"restaurant": "R1", "courier": "C1", "marketplace": "M1"}
MISSING = TimeMark.MISSING
OTHER_EVENTS: dict[str, AnyEvent] = {
    "fact": FactEvent(code="eta", occurred_mark=MISSING),
    "announcement": OrderPlaced(parties={"restaurant": "R1"}, fulfilment=Fulfilment.PICKUP, occurred_mark=MISSING),
    "details": OrderAmended(details={"remarks": "no onions"}, occurred_mark=MISSING),
    "fulfilment": OrderAmended(fulfilment=Fulfilment.DINE_IN, occurred_mark=MISSING),
    "parties": OrderAmended(parties={"courier": "C9"}, occurred_mark=MISSING),
}
EVENTS: dict[str, AnyEvent] = {**{name: status(name) for name in STATUSES}, **OTHER_EVENTS}

# --- every (fulfilment, status, role, event), against the oracle ------------------------------------------------------


def _told_by(role: Role) -> Iterator[AnyEvent]:
    for name, event in EVENTS.items():
        if role is Role.OPERATOR and name in ("fact", "announcement"):
            continue  # no such record exists
        yield event
        if name in STATUSES:
            yield status(name, occurred_us=(START_MS - 1) * 1000)
            yield status(name, occurred_us=(START_MS + 600_000) * 1000)


def _lives(fulfilment: Fulfilment | None, role: Role) -> Iterator[list[ApplicableRecord]]:
    """One order a combination: announced, brought to a status, perhaps its party replaced, then the event twice."""
    platform, by = source("platform"), source(role, *([PARTY[role]] if role in PARTY else []), hold_ms=0)
    states = [[name] for name in STATUSES] + [["READY", "CANCELLED"], ["DELIVERED", "CANCELLED"]]
    replaced = OrderAmended.model_validate({"parties": {role: "X9"}}) if role in PARTY else None
    for number, (path, change, event) in enumerate(
        product(states, [None, replaced] if replaced else [None], _told_by(role))
    ):
        order_id = f"{fulfilment}-{role}-{number}"
        announcement = OrderPlaced.model_validate({"parties": PARTY, "fulfilment": fulfilment})
        before: list[AnyEvent] = [announcement, *(status(name) for name in path), *([change] if change else [])]
        yield [
            *(event_record(order_id, told, platform, event_id=f"before-{at}") for at, told in enumerate(before)),
            event_record(order_id, event, by, event_id="first"),
            event_record(order_id, event, by, event_id="again"),
        ]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("fulfilment", FULFILMENTS)
def test_every_combination_of_fulfilment_status_role_and_event(fulfilment: Fulfilment | None, role: Role) -> None:
    """Present and former parties, with and without times: the trail is the oracle's, and every event has its row."""
    log = [(record, 0) for life in _lives(fulfilment, role) for record in life]
    ledger = apply_all(logged(log))
    assert [as_line(row) for row, _ in ledger.changes.rows] == Oracle().read(log).lines
    assert {row.offset for row, _ in ledger.changes.rows} == set(range(len(log)))


# --- exactly one row, the one that the table names --------------------------------------------------------------------

RELATIONS = ("unknown", "foreign", "named", "former")


def _attempt(verdict: Verdict | None, reason: Reason | None = None, **fields: Any) -> Attempt:
    """The last attempt; the present event's content is "c", and its order has changed three times so far."""
    state = ReceiptState.HELD if verdict is None else ReceiptState.FINAL
    whole = {"content_digest": "c", "revision": 3, "first_offset": 1, **fields}
    return Attempt(state=state, verdict=verdict, reason=reason, **whole)


CURABLE = (Reason.ORDER_NOT_FOUND, Reason.NOT_YOUR_ORDER, Reason.SKIPPED_STATUS, Reason.DISCARDED)
CURED_BY_A_CHANGE = (Reason.ILLEGAL_TRANSITION, Reason.ROLE_NOT_PERMITTED, Reason.ORDER_CLOSED)
ATTEMPTS: dict[str, Attempt | None] = {
    "none": None,
    "other content": _attempt(Verdict.APPLIED, content_digest="x"),
    "other content again": _attempt(Verdict.APPLIED, content_digest="x", reused=frozenset({"c"})),
    "waiting": _attempt(None),
    "accepted": _attempt(Verdict.LATE, revision=2),
    **{f"curable: {reason}": _attempt(Verdict.REJECTED, reason) for reason in CURABLE},
    **{f"unchanged since: {reason}": _attempt(Verdict.REJECTED, reason) for reason in CURED_BY_A_CHANGE},
    **{f"changed since: {reason}": _attempt(Verdict.REJECTED, reason, revision=2) for reason in CURED_BY_A_CHANGE},
}


@dataclass(frozen=True)
class Case:
    """One combination of the table's conditions, in the table's words."""

    attempt: str
    relation: str
    role: str
    event: str
    stands_at: str
    fulfilment: Fulfilment | None

    def expected_row(self) -> int:
        """The first row whose situation it is."""
        return next(number for number, matches in enumerate(self.rows(), 1) if matches)

    def rows(self) -> Iterator[bool]:
        """Whether it is the situation of row 1, of row 2 and so on; the later ones assume that the earlier do not."""
        yield self.attempt != "none" and not self.attempt.startswith(("curable", "changed"))
        yield self.relation in ("unknown", "foreign")
        yield self.is_noted()
        amends = self.event in ("details", "fulfilment", "parties")
        yield not self.is_permitted() or (self.relation == "former" and (amends or self.is_ahead()))
        yield self.role == "operator" and self.event != self.stands_at
        yield self.stands_at == "CANCELLED"
        yield self.event == self.stands_at
        yield self.is_ahead()
        yield True

    def is_noted(self) -> bool:
        """A fact with no place in the lifecycle, an amendment or announcement by a role that may."""
        if self.event in ("announcement", "NEW") and self.role in ("marketplace", "platform"):
            return True
        if self.event in ("details", "fulfilment", "parties"):
            return self.relation == "named" and self.is_permitted()
        left_out = LEFT_OUT.get(self.fulfilment or "delivery")
        return self.event in ("fact", left_out) or (self.event == "CANCELLED" and self.role == "courier")

    def is_permitted(self) -> bool:
        """Section 3's table."""
        if self.role in ("marketplace", "platform", "operator"):
            return True
        if self.role == "courier":
            return self.event in ("TAKEN_BY_COURIER", "DELIVERED")
        if self.event == "TAKEN_BY_COURIER":
            return self.fulfilment == "own_delivery"
        if self.event == "DELIVERED":
            return self.fulfilment in ("own_delivery", "pickup", "dine_in")
        if self.event == "CANCELLED":
            return self.stands_at != "DELIVERED"
        return self.event in ("ACCEPTED_BY_RESTAURANT", "COOKING", "READY", "details")

    def is_ahead(self) -> bool:
        """CANCELLED, or ahead in the chain."""
        if self.stands_at == "CANCELLED" or self.event not in STATUSES:
            return False
        return STATUSES.index(self.event) > STATUSES.index(self.stands_at)

    def exists(self) -> bool:
        """Platform and operator are never foreign or replaced; an unknown order has not changed."""
        if self.role in ("platform", "operator") and self.relation in ("foreign", "former"):
            return False
        if self.role == "operator" and self.event in ("fact", "announcement"):
            return False
        return not (self.relation == "unknown" and self.attempt.startswith("changed"))


def order_of(case: Case, *, reported: bool = False, undone: bool = False) -> OrderState | None:
    """The order as the case has it. What moved it on and what was undone lies at offset 50 of its log."""
    if case.relation == "unknown":
        return None
    now = OrderStatus(case.stands_at)
    passer = PassedBy(50, START_MS, "uid-someone-else", None)
    behind = STATUSES[: STATUSES.index(case.stands_at)] if now is not OrderStatus.CANCELLED else CHAIN[:3]
    mine = PARTY.get(case.role, "")
    return OrderState(
        workspace="default",
        order_id="A",
        status=now,
        fulfilment=case.fulfilment,
        parties={case.role: mine if case.relation == "named" else "somebody"} if mine else {},
        former={case.role: (mine,)} if case.relation == "former" else {},
        revision=3,
        passers={OrderStatus(name): passer for name in behind},
        cancellation=passer if now is OrderStatus.CANCELLED else None,
        status_before_cancellation=OrderStatus.READY if now is OrderStatus.CANCELLED else None,
        undone=dict.fromkeys(OrderStatus, Undone(50, START_MS)) if undone else {},
        reported=dict.fromkeys(OrderStatus, (f"uid-{case.role}-{mine or 'all'}",)) if reported else {},
        announced_ms=START_MS,
        step_received_ms=START_MS,
    )


SOURCES: dict[str, SourceStamp] = {
    role: source(role, *([PARTY[role]] if role in PARTY else []), skew_ms=1_000) for role in Role
}
CASES = [
    case
    for values in product(ATTEMPTS, RELATIONS, Role, EVENTS, STATUSES, FULFILMENTS)
    if (case := Case(values[0], values[1], str(values[2]), *values[3:])).exists()
]


def situation_of(case: Case, order: OrderState | None, **fields: Any) -> Situation:
    """The case as decisions see it."""
    whole: dict[str, Any] = {
        "workspace": "default",
        "order_id": "A",
        "event": EVENTS[case.event],
        "source": SOURCES[case.role],
        "order": order,
        "offset": 60,
        "received_ms": START_MS,
        "first_offset": 60,
        "content_digest": "c",
        "attempt": ATTEMPTS[case.attempt],
        **fields,
    }
    return Situation(**whole)


def test_the_table_lists_nine_rows_in_their_order() -> None:
    """The list in the code reads like the design's table."""
    assert [number for number, _ in TABLE] == list(range(1, 10))


def test_every_combination_is_decided_by_the_row_that_the_table_names() -> None:
    """Conditions are computed here from the table's words; the first that holds names the row."""
    orders: dict[tuple[object, ...], OrderState | None] = {}
    wrong = []
    for case in CASES:
        shape = (case.relation, case.role, case.stands_at, case.fulfilment)
        if shape not in orders:
            orders[shape] = order_of(case)
        decision = decide(situation_of(case, orders[shape]))
        if decision.row != case.expected_row():
            wrong.append((case, decision.row, case.expected_row()))
    assert not wrong, wrong[:5]
    assert len(CASES) > 50_000


Outcome = tuple[str, str | None]
OUTCOMES: dict[int, set[Outcome]] = {
    1: {("rejected", "event_id_reused"), ("duplicate", None)},
    2: {
        ("applied", None),
        ("rejected", "role_not_permitted"),
        ("held", None),
        ("rejected", "order_not_found"),
        ("rejected", "not_your_order"),
    },
    3: {("noted", None)},
    4: {("rejected", "role_not_permitted"), ("rejected", "not_your_order")},
    5: {("applied", None)},
    6: {("repeated", None), ("late", "moved_before_cancellation"), ("rejected", "order_closed")},
    7: {("repeated", None)},
    8: {("late", "undone_by_operator"), ("applied", None)},
    9: {("late", None), ("rejected", "illegal_transition")},
}
"""All that each row of the table may say."""


def test_each_row_says_all_that_the_table_lets_it_say_and_nothing_else() -> None:
    """Over every condition that chooses among a row's outcomes: waiting, times, what was undone or reported."""
    seen: dict[int, set[Outcome]] = {number: set() for number in OUTCOMES}
    claims = (None, (START_MS - 1) * 1000, (START_MS + 1_000) * 1000, (START_MS + 1_001) * 1000)
    for case in CASES:
        if case.attempt not in ("none", "accepted", "other content") or case.fulfilment not in (None, "pickup"):
            continue
        for reported, undone in ((False, False), (True, False), (False, True)):
            order = order_of(case, reported=reported, undone=undone)
            for claim, first_offset, may_wait in product(claims, (40, 60), (True, False)):
                event = status(case.event, occurred_us=claim) if case.event in STATUSES else EVENTS[case.event]
                decision = decide(situation_of(case, order, event=event, first_offset=first_offset, may_wait=may_wait))
                verdict = "held" if decision.verdict is None else str(decision.verdict)
                seen[decision.row].add((verdict, decision.reason and str(decision.reason)))
    assert seen == OUTCOMES


# --- the machine ------------------------------------------------------------------------------------------------------


def _edges(trigger: str) -> set[tuple[str, str]]:
    return {
        (str(transition.source), str(transition.dest))
        for transitions in MACHINE.events[trigger].transitions.values()
        for transition in transitions
    }


def test_the_machine_has_the_specifications_moves_and_one_more() -> None:
    """One step down the chain, CANCELLED from anywhere else; collected orders go from READY to DELIVERED."""
    assert _edges("advance") == {*pairwise(CHAIN), ("READY", "DELIVERED")}
    assert _edges("cancel") == {(here, "CANCELLED") for here in CHAIN}
    corrections = {f"correct_to_{name.lower()}" for name in STATUSES}
    assert set(MACHINE.events) == {"advance", "cancel", *corrections}


@pytest.mark.parametrize("fulfilment", FULFILMENTS)
def test_a_walk_takes_every_step_of_the_orders_chain_and_never_goes_back(fulfilment: Fulfilment | None) -> None:
    """Whatever is not ahead is no legal move."""
    steps = [name for name in CHAIN if name != LEFT_OUT.get(fulfilment or "delivery")]
    for here, there in product(STATUSES, STATUSES):
        start, target = OrderStatus(here), OrderStatus(there)
        if there == "CANCELLED" and here != "CANCELLED":
            assert walk(start, target, fulfilment) == (target,)
        elif there in steps and here != "CANCELLED" and CHAIN.index(there) >= CHAIN.index(here):
            passed = [name for name in steps if CHAIN.index(here) < CHAIN.index(name) <= CHAIN.index(there)]
            assert [str(name) for name in walk(start, target, fulfilment)] == passed
        elif here != there:
            with pytest.raises(MachineError):
                walk(start, target, fulfilment)


@pytest.mark.parametrize("fulfilment", FULFILMENTS)
def test_an_operator_reaches_any_other_status_of_the_chain(fulfilment: Fulfilment | None) -> None:
    """Backward and out of CANCELLED too, but never to a status that the fulfilment leaves out."""
    for here, there in product(OrderStatus, OrderStatus):
        if here is there or there == LEFT_OUT.get(fulfilment or "delivery"):
            with pytest.raises(MachineError):
                correct(here, there, fulfilment)
        else:
            assert correct(here, there, fulfilment) is there


def test_the_documentation_shows_the_machine_as_it_is() -> None:
    """The diagram in docs/lifecycle.md is the one that `mermaid()` draws."""
    page = (Path(__file__).parents[2] / "docs" / "lifecycle.md").read_text()
    assert page.split("```mermaid\n")[1].split("```")[0] == mermaid()
