from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from schemas.errors import BodyTooLarge, Unavailable
from service.ingress.body import BODY_CAP, BodyBudget


def request(length: int | None, *, body: bool = True) -> Any:
    """A request that announces this length."""
    return SimpleNamespace(content_length=length, body_exists=body)


def test_bodies_together_stay_within_the_budget() -> None:
    """What does not fit is turned away at once; a room that is left can be taken again."""
    budget = BodyBudget(limit=1000)
    with budget.reserve(request(600)):
        with pytest.raises(Unavailable):
            budget.reserve(request(401))
        with budget.reserve(request(400)):
            assert budget.used == 1000
    assert budget.used == 0


def test_body_of_unknown_length_counts_as_the_largest() -> None:
    """A chunked body takes the cap's room from the start; a request without a body takes none."""
    budget = BodyBudget()
    with budget.reserve(request(None)), budget.reserve(request(None, body=False)):
        assert budget.used == BODY_CAP


def test_length_over_the_cap_is_refused_before_reading() -> None:
    """Exactly the cap is fine, one byte more is not, and nothing stays reserved."""
    budget = BodyBudget()
    budget.reserve(request(BODY_CAP)).__exit__()
    with pytest.raises(BodyTooLarge):
        budget.reserve(request(BODY_CAP + 1))
    assert budget.used == 0


def test_room_is_given_back_when_the_request_fails() -> None:
    """An error inside the block leaves no room taken."""
    budget = BodyBudget()
    with pytest.raises(KeyError), budget.reserve(request(10)):
        raise KeyError
    assert budget.used == 0
