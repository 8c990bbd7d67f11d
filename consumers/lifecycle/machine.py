"""The moves that exist, as one `transitions` machine; the docs' diagram is drawn from it.

`advance` goes one step down the chain (collected orders go from READY straight to DELIVERED), `cancel` leads from any
status to CANCELLED, and `correct_to_…` is an operator's move to any status of the order's chain. Who may ask for which
move, and when, is the verdict table's business (`consumers.lifecycle.table`).

The machine is asked once for each way there is: seven statuses, seven targets, five fulfilments. Its answer depends on
nothing else, so it is remembered; a trigger costs as much as all the rest of a decision.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

from transitions import Machine, MachineError

from schemas.statuses import FULL_CHAIN, Fulfilment, OrderStatus, chain_of


class Subject:
    """What the machine moves: a status and the fulfilment that its conditions ask about."""

    __slots__ = ("fulfilment", "state")

    def __init__(self, state: OrderStatus, fulfilment: Fulfilment | None) -> None:
        self.state: OrderStatus = state
        self.fulfilment = fulfilment


def _is_collected(event: Any) -> bool:
    return event.model.fulfilment in (Fulfilment.PICKUP, Fulfilment.DINE_IN)


def _transitions() -> list[dict[str, Any]]:
    by_courier, collected = list(pairwise(chain_of(Fulfilment.DELIVERY))), list(pairwise(chain_of(Fulfilment.PICKUP)))
    left_out = set(chain_of(Fulfilment.DELIVERY)) - set(chain_of(Fulfilment.PICKUP))
    steps: list[dict[str, Any]] = []
    for edge in sorted({*by_courier, *collected}, key=lambda edge: [FULL_CHAIN.index(status) for status in edge]):
        guard: dict[str, Any] = {}
        if edge[1] in left_out:  # the way out stays open: an order may be there when its fulfilment changes
            guard = {"unless": [_is_collected]}
        elif edge not in by_courier:
            guard = {"conditions": [_is_collected]}
        steps.append({"trigger": "advance", "source": edge[0], "dest": edge[1], **guard})
    steps += [{"trigger": "cancel", "source": here, "dest": OrderStatus.CANCELLED} for here in FULL_CHAIN]
    steps += [
        {
            "trigger": f"correct_to_{there.value.lower()}",
            "source": [here for here in OrderStatus if here is not there],
            "dest": there,
            **({"unless": [_is_collected]} if there in left_out else {}),
        }
        for there in OrderStatus
    ]
    return steps


def build_machine() -> Machine:
    """A fresh machine without a model: events are triggered on any object with a `state`."""
    return Machine(
        model=None,
        states=OrderStatus,
        transitions=_transitions(),
        initial=OrderStatus.NEW,
        auto_transitions=False,
        send_event=True,
    )


MACHINE = build_machine()


@cache
def walk(start: OrderStatus, target: OrderStatus, fulfilment: Fulfilment | None) -> tuple[OrderStatus, ...]:
    """The statuses passed through from `start` (left out) to `target` (the last), each a legal step.

    Raises transitions.MachineError when no legal step leads on; the verdict table never asks for such a walk.
    """
    subject = Subject(start, fulfilment)
    if target is OrderStatus.CANCELLED:
        MACHINE.events["cancel"].trigger(subject)
        return (subject.state,)
    passed: list[OrderStatus] = []
    while subject.state is not target:
        if not MACHINE.events["advance"].trigger(subject):
            raise MachineError(f"no step leads on from {subject.state} in a {fulfilment} order")
        passed.append(subject.state)
    return tuple(passed)


@cache
def correct(start: OrderStatus, target: OrderStatus, fulfilment: Fulfilment | None) -> OrderStatus:
    """An operator's move. Raises transitions.MachineError for a status the order's chain leaves out."""
    subject = Subject(start, fulfilment)
    if not MACHINE.events[f"correct_to_{target.value.lower()}"].trigger(subject):
        raise MachineError(f"{target} is not in the chain of a {fulfilment} order")
    return subject.state


def mermaid() -> str:
    """The lifecycle as a Mermaid state diagram: partners' moves; an operator may also correct to any status."""
    lines = ["stateDiagram-v2", f"    [*] --> {OrderStatus.NEW}"]
    for name in ("advance", "cancel"):
        for transitions in MACHINE.events[name].transitions.values():
            for transition in transitions:
                guards = transition.conditions
                label = name if not guards else f"{name} ({'collected' if guards[0].target else 'by courier'})"
                lines.append(f"    {transition.source} --> {transition.dest}: {label}")
    lines.append(f"    {OrderStatus.DELIVERED} --> [*]")
    return "\n".join(lines) + "\n"
