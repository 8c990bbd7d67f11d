"""The page of the order-status API is held against the code."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from schemas.errors import MalformedEvent
from schemas.verdicts import Reason
from service.facades.order_status import STATUS_PATH, OrderStatusPut, read_put
from service.facades.order_status_errors import EXPIRED, REJECTIONS, Code, rejection
from service.facades.order_status_login import TOKEN_PATH
from service.facades.order_status_tokens import LIFETIME_S
from tests.support.documents import ROOT
from tests.unit.test_docs import first_cells, table_cells

PAGE = ROOT / "docs/order-status-api.md"
STATUS_OF_CODE = {code: status for status, code, _ in REJECTIONS.values()}


def test_every_code_has_its_row_and_status() -> None:
    """The table of codes is the code's, and rejections come with the status that it says."""
    documented = {int(cells[0].strip("`")): int(cells[1]) for cells in table_cells(PAGE, "## Errors")}
    assert list(documented) == [int(code) for code in Code]
    for code, status in STATUS_OF_CODE.items():
        assert documented[code] == status


def test_every_reason_of_a_rejection_has_an_answer() -> None:
    """Reasons that go with other verdicts are the only ones left out."""
    assert set(Reason) - set(REJECTIONS) == {Reason.MOVED_BEFORE_CANCELLATION, Reason.UNDONE_BY_OPERATOR}
    assert len({code for _, code, _ in REJECTIONS.values()}) == len(REJECTIONS)


def test_a_reason_without_words_is_logged() -> None:
    """The caller gets a refusal all the same."""
    with capture_logs() as lines:
        assert rejection("brand_new").status == 400
    assert [(line["event"], line["reason"]) for line in lines] == [("rejection_without_words", "brand_new")]


def test_members_paths_and_words_are_documented() -> None:
    """The page has the body's members, the paths, the one reason and the lifetime."""
    members = {field.alias or name for name, field in OrderStatusPut.model_fields.items()}
    assert set(first_cells(PAGE, "## PUT /order/{orderId}/status")) >= members
    text = PAGE.read_text("utf-8")
    assert STATUS_PATH.replace(":[^/]*", "") in text
    for words in (TOKEN_PATH, EXPIRED, f'"expires_in":{LIFETIME_S}'):
        assert words in text


def test_a_reason_with_another_status_is_told_under_its_name() -> None:
    """The description of code 101 begins with the member's name, also where two members do not fit together."""
    with pytest.raises(MalformedEvent) as refused:
        read_put(b'{"reason": "place.closed", "status": "DELIVERED"}', "A-1")
    assert refused.value.errors == (("reason", "is sent with the status CANCELLED only"),)
