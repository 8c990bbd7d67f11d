"""The secret box: what it opens, what it refuses, and that it never shows a key."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backbone.store.secrets import SecretBox, hash_token, new_token
from schemas.errors import ConfigurationError, SettingsInvalid

OLD, NEW = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))


def test_what_is_sealed_opens_for_the_same_row_only() -> None:
    """The bound row is part of the ciphertext."""
    box = SecretBox.parse(f"a:{OLD}")
    sealed, key_id = box.seal(b"plain", bound_to="default/s1/secret")
    assert key_id == "a"
    assert b"plain" not in sealed
    assert box.open(sealed, key_id, bound_to="default/s1/secret") == b"plain"
    with pytest.raises(ConfigurationError, match="does not open"):
        box.open(sealed, key_id, bound_to="default/s2/secret")


def test_the_same_plaintext_never_seals_alike() -> None:
    """Every ciphertext has a nonce of its own."""
    box = SecretBox.parse(f"a:{OLD}")
    assert box.seal(b"plain", bound_to="x") != box.seal(b"plain", bound_to="x")


@pytest.mark.parametrize("place", [0, 12, -1])
def test_a_changed_byte_is_noticed(place: int) -> None:
    """In the nonce, in the ciphertext and in the tag."""
    box = SecretBox.parse(f"a:{OLD}")
    sealed, key_id = box.seal(b"plain", bound_to="x")
    changed = bytearray(sealed)
    changed[place] ^= 1
    with pytest.raises(ConfigurationError, match="'a'"):
        box.open(bytes(changed), key_id, bound_to="x")


def test_a_cut_ciphertext_is_noticed() -> None:
    """Nothing shorter than nonce and tag crashes."""
    box = SecretBox.parse(f"a:{OLD}")
    for length in (0, 5, 12, 20):
        with pytest.raises(ConfigurationError):
            box.open(bytes(length), "a", bound_to="x")


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    """Keys are rotated by putting a new one first."""
    sealed, key_id = SecretBox.parse(f"old:{OLD}").seal(b"plain", bound_to="x")
    ring = SecretBox.parse(f"new:{NEW}, old:{OLD}")
    assert ring.open(sealed, key_id, bound_to="x") == b"plain"
    assert ring.seal(b"plain", bound_to="x")[1] == "new"


def test_a_missing_key_is_named_and_another_under_its_id_is_noticed() -> None:
    """Both tell the operator which key id is concerned."""
    sealed, key_id = SecretBox.parse(f"old:{OLD}").seal(b"plain", bound_to="x")
    with pytest.raises(ConfigurationError, match="lacks the key 'old'"):
        SecretBox.parse(f"new:{NEW}").open(sealed, key_id, bound_to="x")
    with pytest.raises(ConfigurationError, match="another key had this id"):
        SecretBox.parse(f"old:{NEW}").open(sealed, key_id, bound_to="x")


def test_all_problems_of_a_ring_are_listed_without_any_key() -> None:
    """Five wrong items, five problems, no key in the text."""
    short = base64.b64encode(b"k" * 16).decode()
    with pytest.raises(SettingsInvalid) as refusal:
        SecretBox.parse(f"{OLD},b a d:{OLD},a:{short},c:%%%,d:{OLD},d:{NEW}")
    text = str(refusal.value)
    assert text.count(";") == 4
    for words in ("item 1", "item 2", "'a' has 16 bytes", "'c' is not base64", "'d' is there twice"):
        assert words in text
    assert not any(key in text for key in (OLD, NEW, short))


@pytest.mark.parametrize("text", ["", " , "])
def test_an_empty_ring_is_refused(text: str) -> None:
    """Without a key nothing could be sealed."""
    with pytest.raises(SettingsInvalid, match="no key"):
        SecretBox.parse(text)


def test_keys_do_not_show() -> None:
    """The box's repr has ids only."""
    assert repr(SecretBox.parse(f"a:{OLD},b:{NEW}")) == "SecretBox(key ids: a, b)"


def test_a_directory_gets_one_ring_whoever_comes_first(tmp_path: Path) -> None:
    """Eight at once make one file, readable by its owner alone, and leave nothing else behind."""
    with ThreadPoolExecutor(8) as pool:
        boxes = list(pool.map(SecretBox.in_directory, [tmp_path] * 8))
    sealed, key_id = boxes[0].seal(b"plain", bound_to="x")
    assert all(box.open(sealed, key_id, bound_to="x") == b"plain" for box in boxes)
    assert [path.name for path in tmp_path.iterdir()] == ["secret.keys"]
    assert stat.S_IMODE((tmp_path / "secret.keys").stat().st_mode) == 0o600


def test_a_damaged_key_file_is_named(tmp_path: Path) -> None:
    """It is not made anew, which would lose every secret."""
    (tmp_path / "secret.keys").write_text("garbage")
    with pytest.raises(SettingsInvalid, match=r"secret\.keys"):
        SecretBox.in_directory(tmp_path)
    assert (tmp_path / "secret.keys").read_text() == "garbage"


def test_tokens_are_long_and_their_hash_is_what_is_kept() -> None:
    """43 URL-safe characters after the prefix; the hash is hex SHA-256."""
    token = new_token("mts")
    prefix, _, rest = token.partition("_")
    assert (prefix, len(rest)) == ("mts", 43)
    assert token != new_token("mts")
    assert len(hash_token(token)) == 64
