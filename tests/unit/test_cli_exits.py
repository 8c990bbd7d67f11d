"""Exit codes and error lines."""

import pytest

from schemas import errors
from schemas.errors import MalformedEvent, MealtrailError
from service.cli.exits import EXIT_CODES_HELP, ExitCode, describe_error, exit_code_of, report_error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SettingsInvalid("x"), 3),
        (errors.DataDirectoryLocked("x"), 3),
        (errors.AddressInUse("x"), 3),
        (errors.PartitionSetInvalid("x"), 3),
        (errors.TopicMisconfigured("x"), 3),
        (errors.SchemaOutdated("x"), 3),
        (errors.LogUnavailable("x"), 4),
        (errors.StoreUnavailable("x"), 4),
        (errors.NotFound("x"), 5),
        (errors.ConflictingName("x"), 6),
        (errors.MalformedEvent("x"), 7),
        (errors.DefinitionInvalid("x"), 2),
        (errors.RecordUnknown("x"), 3),
        (errors.RebuildRefused("x"), 3),
        (errors.HistoryLost("x"), 3),
        (errors.RecordTooLarge("x"), 70),
        (errors.MealtrailError("x"), 70),
    ],
)
def test_each_kind_of_error_has_its_code(error: MealtrailError, code: int) -> None:
    """Scripts tell kinds of failure apart."""
    assert exit_code_of(error) == code


def test_help_names_every_code() -> None:
    """What --help says is complete."""
    for code in ExitCode:
        assert f"{code.value} " in EXIT_CODES_HELP


def test_an_error_is_one_line_with_its_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback for people."""
    monkeypatch.delenv("MEALTRAIL_LOG_LEVEL", raising=False)
    assert report_error(errors.NotFound("there is no order 'x'")) is ExitCode.NOT_FOUND
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err == "mealtrail: there is no order 'x' [not_found]\n"


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for DEBUG gets the causes."""
    monkeypatch.setenv("MEALTRAIL_LOG_LEVEL", "debug")
    try:
        raise errors.StoreUnavailable("away") from OSError("refused")
    except MealtrailError as error:
        report_error(error)
    written = capsys.readouterr().err
    assert "OSError: refused" in written
    assert written.endswith("mealtrail: away [store_unavailable]\n")


def test_field_errors_are_listed() -> None:
    """A malformed event names its fields."""
    text = describe_error(MalformedEvent("wrong", errors=(("status", "unknown"),)))
    assert text == "mealtrail: wrong\n  status: unknown [malformed]"
