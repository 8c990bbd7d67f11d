from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.verdicts.preference import LONGEST_WAIT_S, preferred_wait


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["wait=5"], 5),
        (["WAIT=5"], 5),
        (["Wait = 5"], 5),
        (['wait="7"'], 7),
        (["respond-async, wait=10"], 10),
        (["wait=10, respond-async"], 10),
        (["handling=lenient; strict, wait=3"], 3),
        (['respond-async;x=y;z="a,b", wait=3'], 3),
        (['foo="a, wait=9", wait=2'], 2),
        (["respond-async", "wait=4"], 4),
        (["wait=4, wait=9"], 4),
        (["wait=3600"], LONGEST_WAIT_S),
        (["wait=0"], 0),
        (["wait"], 0),
        (["wait="], 0),
        (["wait=-1"], 0),
        (["wait=1.5"], 0),
        (["wait=abc"], 0),
        (["waiting=5"], 0),
        ([""], 0),
        ([" , ,, wait=6"], 6),
        (["=, wait=6"], 6),
        ([], 0),
    ],
)
def test_wait_is_read_as_the_rfc_says(headers: list[str], seconds: int) -> None:
    """The first `wait` counts, whatever its case and company; what is no whole number is ignored."""
    assert preferred_wait(headers) == seconds


@given(st.lists(st.text(max_size=1200) | st.text(alphabet='wait=5 ,;"\\\t', max_size=1200), max_size=4))
def test_any_header_is_read_without_an_error(headers: list[str]) -> None:
    """Whatever stands there, the answer is a number within bounds."""
    assert 0 <= preferred_wait(headers) <= LONGEST_WAIT_S
