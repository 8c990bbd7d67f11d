"""What a seed fixes: the faults and the load."""

from collections import Counter
from datetime import UTC, datetime

from tests.faults.suite.partners import PARTNERS, Author
from tests.faults.suite.schedule import (
    LINK_FAULTS,
    MOST_AT_ONCE,
    PROCESS_FAULTS,
    SERVER_FAULTS,
    Kind,
    links,
    make_schedule,
    processes,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_seed_is_a_schedule() -> None:
    """The same seed gives the same faults, another one others."""
    assert make_schedule(7, 30, 3) == make_schedule(7, 30, 3)
    assert make_schedule(7, 30, 3) != make_schedule(8, 30, 3)


def _possible(target: str) -> tuple[Kind, ...]:
    if target in {"kafka", "postgres"}:
        return SERVER_FAULTS
    return PROCESS_FAULTS if target in processes(2) else LINK_FAULTS


def test_faults_leave_something_running() -> None:
    """Few at once, never two of one target, all within the time, on targets that exist and can suffer them."""
    for seed in range(50):
        faults = make_schedule(seed, 25, 2)
        targets = {"kafka", "postgres", *processes(2), *links(2)}
        assert len(faults) >= 5
        for fault in faults:
            assert fault.target in targets
            assert fault.kind in _possible(fault.target)
            assert 0 < fault.at_s < 25
            at_once = [other for other in faults if other.at_s <= fault.at_s < other.until_s]
            assert len(at_once) <= MOST_AT_ONCE
            assert len({other.target for other in at_once}) == len(at_once)


def test_fifty_seeds_break_everything() -> None:
    """A series of fifty runs kills, freezes, stops, cuts, stalls, resets, slows and throttles, and hits every part."""
    faults = [fault for seed in range(50) for fault in make_schedule(seed, 25, 2)]
    assert {fault.kind for fault in faults} == {
        "kill",
        "freeze",
        "stop",
        "cut",
        "stall",
        "reset",
        "slow",
        "throttle",
    }
    assert {fault.target for fault in faults} == {"kafka", "postgres", *processes(2), *links(2)}


def test_the_load_has_every_trouble_in_it() -> None:
    """Repeats, ids used twice, early and foreign events, orders that nobody announces, partners that give up."""
    scripts = Author(3, NOON).scripts(25, 9)
    requests = [request for script in scripts for request in script.requests]
    assert {request.partner for request in requests} == {partner.name for partner in PARTNERS}
    bodies = Counter((request.event_id, request.body) for request in requests)
    assert max(bodies.values()) > 1
    assert len({event_id for event_id, _ in bodies}) < len(bodies), "an id is used for something else"
    announced = [[request.path == "/v1/orders" for request in script.requests] for script in scripts]
    assert any(True in order and not order[0] for order in announced), "an event comes before the announcement"
    assert any(True not in order for order in announced), "an order is never announced"
    assert any(request.tries < 5 for request in requests)
    assert [script.requests for script in Author(3, NOON).scripts(25, 9)] == [script.requests for script in scripts]
