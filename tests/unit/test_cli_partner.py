"""What `mealtrail send` puts on the wire."""

import base64
import time

import orjson
import pytest
from standardwebhooks import Webhook

from service.cli.partner import Credential, StatusReport, signing_key
from service.cli.receipt_line import describe_receipt

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_the_standards_own_library_accepts_our_signature() -> None:
    """Signed by us, verified by theirs."""
    report = StatusReport(order_id="ü-1", status="READY", event_id="e1", comment="ß")
    body = report.body()
    headers = Credential(key=signing_key(SECRET)).headers("e1", int(time.time()), body)
    assert Webhook(SECRET).verify(body, dict(headers)) == orjson.loads(body)


@pytest.mark.parametrize("text", [SECRET, SECRET.removeprefix("whsec_"), SECRET.rstrip("="), f" {SECRET}\n"])
def test_secrets_are_read_as_libraries_read_them(text: str) -> None:
    """With or without prefix and padding."""
    assert signing_key(text) == bytes(range(32))


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_*"])
def test_what_is_no_secret_is_refused_without_repeating_it(text: str) -> None:
    """The message holds none of it."""
    with pytest.raises(ValueError, match="secret") as raised:
        signing_key(text)
    assert "*" not in str(raised.value)


def test_fields_without_a_value_are_left_out() -> None:
    """The body is the native one."""
    report = StatusReport(order_id="1", status="CANCELLED", event_id="e", reason="place.closed", attributes=("paid",))
    assert orjson.loads(report.body()) == {
        "order_id": "1",
        "status": "CANCELLED",
        "event_id": "e",
        "reason": "place.closed",
        "attributes": ["paid"],
    }


def test_a_credential_does_not_show_itself() -> None:
    """Not in a log line, not in a traceback."""
    assert "hunter2" not in repr(Credential(token="hunter2"))
    assert "hunter2" not in repr(Credential(key=b"hunter2"))


@pytest.mark.parametrize(
    ("receipt", "words"),
    [
        ({"state": "pending"}, "pending: no verdict yet"),
        (
            {"state": "held", "verdict": None},
            "held: A-1 is not announced, or names no party of kitchen; or the event waits for another of its order",
        ),
        (
            {"state": "set_aside", "verdict": None},
            "set_aside: deciding it failed, which is no fault of yours; a verdict follows once a person has looked",
        ),
        (
            {"state": "final", "verdict": "applied", "reason": None, "from_status": "NEW", "to_status": "READY"},
            "applied  NEW -> READY",
        ),
        (
            {"state": "final", "verdict": "rejected", "reason": "order_closed", "from_status": "X", "to_status": "X"},
            "rejected: order_closed, stays X",
        ),
        (
            {"state": "final", "verdict": "repeated", "reason": None, "from_status": "X", "to_status": "X"},
            "repeated  X",
        ),
    ],
)
def test_receipts_in_words(receipt: dict[str, object], words: str) -> None:
    """One line a receipt."""
    assert describe_receipt(receipt, order_id="A-1", source="kitchen") == words
