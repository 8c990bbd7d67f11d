"""Settings: described each, and all their problems told at once."""

import pytest

from backbone.settings import Settings, load_settings
from schemas.errors import SettingsInvalid


def test_every_setting_is_described() -> None:
    """Nobody has to read the code to know what one does."""
    assert not [name for name, field in Settings.model_fields.items() if not field.description]


def test_problems_of_one_and_of_several_settings_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong port does not hide that the database lacks its Kafka and its keys."""
    monkeypatch.setenv("MEALTRAIL_PORT", "99999")
    monkeypatch.setenv("MEALTRAIL_DATABASE_URL", "mysql://u:hunter2@h/d")
    monkeypatch.setenv("MEALTRAIL_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(SettingsInvalid) as refusal:
        load_settings()
    text = str(refusal.value)
    lines = text.splitlines()[1:]
    for name in ("PORT:", "KAFKA_BOOTSTRAP_SERVERS and", "DATABASE_URL must", "SECRET_KEYS is", "KAFKA_SASL_USERNAME"):
        assert len([line for line in lines if line.strip().startswith(f"MEALTRAIL_{name}")]) == 1, text
    assert len(lines) == 5
    assert "hunter2" not in text


def test_a_wrong_setting_is_not_blamed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """How a setting goes with others is not told while it is wrong by itself: nobody knows what it will be."""
    monkeypatch.setenv("MEALTRAIL_STORE_TIMEOUT_MS", "30000")
    monkeypatch.setenv("MEALTRAIL_KAFKA_SESSION_TIMEOUT_MS", "soon")
    with pytest.raises(SettingsInvalid) as refusal:
        load_settings()
    [line] = str(refusal.value).splitlines()[1:]
    assert line.strip().startswith("MEALTRAIL_KAFKA_SESSION_TIMEOUT_MS:")
