"""Sources on both databases: made, rotated, disabled, and each act on record."""

import base64
from typing import Any

import orjson
import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from backbone.store.admin_tables import admin_acts, source_credentials, sources
from backbone.store.engine import Store
from backbone.store.secrets import SecretBox, hash_token
from backbone.store.sources import NewSource, Source, SourceRepository
from schemas.errors import ConfigurationError, ConflictingName, DefinitionInvalid, NotFound
from schemas.records import DEFAULT_HOLD_MS, DEFAULT_SKEW_MS
from schemas.statuses import Policy, Role
from tests.support.clocks import Clock
from tests.support.stores import KEYS, store

__all__ = ["store"]

OTHER_KEYS = "other:" + base64.b64encode(b"o" * 32).decode()


@pytest.fixture
def clock() -> Clock:
    """A clock for the repositories."""
    return Clock()


@pytest.fixture
def repository(store: Store, clock: Clock) -> SourceRepository:
    """Sources of the default workspace."""
    return SourceRepository(store, SecretBox.parse(KEYS), now_ms=clock)


async def _acts(store: Store) -> list[tuple[str, str, str]]:
    async with store.reading() as connection:
        columns = admin_acts.c
        rows = await connection.execute(select(columns.act, columns.subject, columns.actor).order_by(columns.at))
        return [(act, subject, actor) for act, subject, actor in rows]


async def _only(repository: SourceRepository) -> Source:
    (source,) = await repository.all()
    return source


async def test_a_source_reads_back_as_it_was_made(repository: SourceRepository, store: Store) -> None:
    """All fields, the secret as the standard's own library reads it, and the act without any secret."""
    new = NewSource(
        name="kitchen-1",
        role=Role.RESTAURANT,
        parties=("r1", " r2 ", "r1"),
        hold_ms=0,
        skew_ms=5,
        rate=7,
        url="https://example.org/hook",
    )
    made, text = await repository.add(new, actor="anna")
    assert await _only(repository) == made
    assert made.parties == ("r1", "r2")
    assert (made.hold_ms, made.skew_ms, made.rate, made.url) == (0, 5, 7, "https://example.org/hook")
    assert (made.role, made.policy, made.auth) == (Role.RESTAURANT, Policy.FORWARD, "standard-webhooks")
    assert text.startswith("whsec_")
    assert made.secrets == (Webhook(text)._whsecret,)
    assert 24 <= len(made.secrets[0]) <= 64
    assert len(made.receipt_key) == 32
    async with store.reading() as connection:
        row = (await connection.execute(select(sources))).one()
        credential = (await connection.execute(select(source_credentials))).one()
        act = (await connection.execute(select(admin_acts))).one()
    assert made.receipt_key not in row.receipt_key
    assert made.secrets[0] not in credential.secret
    assert (act.act, act.subject, act.actor) == ("source.add", "kitchen-1", "anna")
    assert orjson.loads(act.detail)["parties"] == ["r1", "r2"]
    assert text not in act.detail


async def test_secrets_do_not_show(repository: SourceRepository) -> None:
    """Neither a source's repr nor that of the wish for one has them."""
    new = NewSource(name="a", role=Role.COURIER, secret="whsec_" + "A" * 32)
    made, text = await repository.add(new, actor="anna")
    assert "A" * 32 in text
    assert "A" * 32 not in repr(new)
    assert "secret" not in repr(made)
    assert "receipt_key" not in repr(made)


async def test_defaults_are_those_of_the_design(repository: SourceRepository) -> None:
    """All parties, 24 hours of hold, two minutes of skew, 1,000 requests a second."""
    made, _ = await repository.add(NewSource(name="p", role=Role.PLATFORM), actor="anna")
    assert made.parties is None
    assert (made.hold_ms, made.skew_ms, made.rate) == (DEFAULT_HOLD_MS, DEFAULT_SKEW_MS, 1000)


async def test_a_bearer_source_keeps_a_hash(repository: SourceRepository) -> None:
    """The token is shown once; its hash is what a request is compared with."""
    made, token = await repository.add(NewSource(name="b", role=Role.COURIER, auth="bearer"), actor="anna")
    assert token.startswith("mts_")
    assert (made.secrets, made.token_hashes) == ((), (hash_token(token),))
    assert await _only(repository) == made


RAW = bytes(range(24))


@pytest.mark.parametrize(
    "issued",
    [
        "whsec_" + base64.b64encode(RAW).decode(),
        base64.b64encode(RAW).decode() + "\n",
        RAW,
    ],
)
async def test_a_partner_issued_secret_is_read_as_the_standard_does(
    repository: SourceRepository, issued: bytes | str
) -> None:
    """With or without prefix, or as bare bytes; the official library makes the same key of it."""
    made, _ = await repository.add(NewSource(name="a", role=Role.COURIER, secret=issued), actor="anna")
    assert made.secrets == (RAW,)
    assert Webhook(issued.strip() if isinstance(issued, str) else issued)._whsecret == RAW


async def test_an_unpadded_secret_is_read_too(repository: SourceRepository) -> None:
    """The official library adds the padding, and so do we."""
    text = "whsec_" + base64.b64encode(bytes(25)).decode().rstrip("=")
    made, shown = await repository.add(NewSource(name="a", role=Role.COURIER, secret=text), actor="anna")
    assert made.secrets == (bytes(25),) == (Webhook(text)._whsecret,)
    assert Webhook(shown)._whsecret == bytes(25)


@pytest.mark.parametrize("issued", ["whsec_not base64 at all!!", "whsec_", "", "whsec_c2hvcnQ=", b"short", "A" * 33])
async def test_an_unusable_secret_is_refused_without_repeating_it(
    repository: SourceRepository, issued: bytes | str
) -> None:
    """A secret that would fail on every request is refused at once."""
    with pytest.raises(DefinitionInvalid, match="secret") as refusal:
        await repository.add(NewSource(name="a", role=Role.COURIER, secret=issued), actor="anna")
    assert str(issued or "?!") not in str(refusal.value)
    assert await repository.all() == []


async def test_a_partner_issued_token_is_taken(repository: SourceRepository) -> None:
    """And one that two sources would share is refused: a request could not say whose it is."""
    issued = "partner-token-0123456789"
    bearer = NewSource(name="a", role=Role.COURIER, auth="bearer", secret=issued)
    made, shown = await repository.add(bearer, actor="anna")
    assert (shown, made.token_hashes) == (issued, (hash_token(issued),))
    with pytest.raises(ConflictingName, match="in use"):
        await repository.add(NewSource(name="b", role=Role.COURIER, auth="bearer", secret=issued), actor="anna")
    with pytest.raises(DefinitionInvalid, match="token"):
        await repository.add(NewSource(name="c", role=Role.COURIER, auth="bearer", secret="short"), actor="anna")


async def test_everything_wrong_with_a_source_is_said_at_once(repository: SourceRepository) -> None:
    """One refusal names them all."""
    wrong: dict[str, Any] = {
        "name": "Not A Name",
        "role": Role.OPERATOR,
        "auth": "morse",
        "parties": ("ok", "", "a\x00b"),
        "hold_ms": -1,
        "ahead_hold_ms": -1,
        "skew_ms": 10**12,
        "rate": 0,
        "url": "ftp://x",
    }
    with pytest.raises(DefinitionInvalid) as refusal:
        await repository.add(NewSource(**wrong), actor="anna")
    text = str(refusal.value)
    assert text.count(";") == 9
    for words in ("name", "operator", "auth", "party ''", "hold must", "ahead hold must", "skew", "rate"):
        assert words in text


@pytest.mark.parametrize("name", ["", "-a", ".a", "A", "a b", "a" * 65, "ä", "a\n"])
async def test_names_are_plain(repository: SourceRepository, name: str) -> None:
    """A name stands in a URL and in commands."""
    with pytest.raises(DefinitionInvalid, match="name"):
        await repository.add(NewSource(name=name, role=Role.COURIER), actor="anna")


async def test_an_empty_list_of_parties_is_refused(repository: SourceRepository) -> None:
    """Nothing is not everything."""
    with pytest.raises(DefinitionInvalid, match="parties"):
        await repository.add(NewSource(name="a", role=Role.COURIER, parties=()), actor="anna")


async def test_a_name_is_taken_once(repository: SourceRepository, store: Store) -> None:
    """The second is refused whole: no source, no credential, no act."""
    await repository.add(NewSource(name="a", role=Role.COURIER), actor="anna")
    with pytest.raises(ConflictingName, match="'a'"):
        await repository.add(NewSource(name="a", role=Role.RESTAURANT), actor="bob")
    assert (await _only(repository)).role is Role.COURIER
    assert len(await _acts(store)) == 1


async def test_rotation_keeps_the_old_secret_for_a_grace_period(
    repository: SourceRepository, clock: Clock, store: Store
) -> None:
    """Newest first; the old one ends with its grace, not later when rotated again, and is then removed."""
    made, _ = await repository.add(NewSource(name="a", role=Role.COURIER), actor="anna")
    first = made.secrets[0]
    clock.ms += 10
    rotated, text = await repository.rotate("a", grace_ms=1000, secret=None, actor="bob")
    second = Webhook(text)._whsecret
    assert rotated.secrets == (second, first)
    assert (rotated.uid, rotated.receipt_key) == (made.uid, made.receipt_key)
    assert await _only(repository) == rotated
    clock.ms += 500
    again, text = await repository.rotate("a", grace_ms=5000, secret="whsec_" + "B" * 32, actor="bob")
    third = base64.b64decode("B" * 32)
    assert again.secrets == (third, second, first)
    clock.ms += 499
    assert (await _only(repository)).secrets == (third, second, first)
    clock.ms += 1
    assert (await _only(repository)).secrets == (third, second)
    now, _ = await repository.rotate("a", grace_ms=0, secret=None, actor="bob")
    assert len(now.secrets) == 1
    async with store.reading() as connection:
        assert len((await connection.execute(select(source_credentials.c.credential_id))).all()) == 3
    assert [act for act, _, _ in await _acts(store)] == ["source.add"] + ["source.rotate"] * 3


async def test_rotating_a_token(repository: SourceRepository) -> None:
    """A bearer source gets a new token; both are good for the grace period."""
    _, old = await repository.add(NewSource(name="a", role=Role.COURIER, auth="bearer"), actor="anna")
    rotated, new = await repository.rotate("a", grace_ms=1000, secret=None, actor="bob")
    assert rotated.token_hashes == (hash_token(new), hash_token(old))


async def test_a_disabled_source_is_gone_from_the_hot_path(repository: SourceRepository, store: Store) -> None:
    """It is listed only when asked for, cannot be rotated, keeps its name, and disabling again does nothing."""
    made, _ = await repository.add(NewSource(name="a", role=Role.COURIER), actor="anna")
    await repository.disable("a", actor="bob")
    await repository.disable("a", actor="carl")
    assert await repository.all() == []
    (kept,) = await repository.all(include_disabled=True)
    assert (kept.uid, kept.disabled_at) == (made.uid, 1_000_000)
    with pytest.raises(NotFound, match="disabled"):
        await repository.rotate("a", grace_ms=0, secret=None, actor="bob")
    assert sorted(await _acts(store)) == [("source.add", "a", "anna"), ("source.disable", "a", "bob")]


async def test_a_disabled_source_comes_back(repository: SourceRepository, store: Store) -> None:
    """With its credentials, on record once; enabling a live one does nothing."""
    made, _ = await repository.add(NewSource(name="a", role=Role.COURIER), actor="anna")
    await repository.disable("a", actor="bob")
    await repository.enable("a", actor="carl")
    await repository.enable("a", actor="dora")
    assert [(source.uid, source.secrets) for source in await repository.all()] == [(made.uid, made.secrets)]
    assert ("source.enable", "a", "carl") in await _acts(store)
    assert len(await _acts(store)) == 3


async def test_refusals_of_a_name_that_is_no_sources(repository: SourceRepository) -> None:
    """Not found; those of invented names are asked for by `?`."""
    with pytest.raises(NotFound, match="'x'"):
        await repository.refusals("x")
    assert await repository.refusals("?") == []
    assert await repository.refusals(None) == []


async def test_unknown_names_are_not_found(repository: SourceRepository) -> None:
    """Rotating and disabling say which name."""
    with pytest.raises(NotFound, match="'x'"):
        await repository.rotate("x", grace_ms=0, secret=None, actor="a")
    with pytest.raises(NotFound, match="'x'"):
        await repository.disable("x", actor="a")
    with pytest.raises(NotFound, match="'x'"):
        await repository.enable("x", actor="a")


async def test_a_source_whose_key_is_missing_is_listed_without_secrets(
    repository: SourceRepository, store: Store, clock: Clock
) -> None:
    """What is missing is named by its key id; the others open, and all of them can be disabled."""
    await repository.add(NewSource(name="a", role=Role.COURIER), actor="anna")
    _, token = await repository.add(NewSource(name="b", role=Role.COURIER, auth="bearer"), actor="anna")
    other = SourceRepository(store, SecretBox.parse(OTHER_KEYS), now_ms=clock)
    made, _ = await other.add(NewSource(name="c", role=Role.COURIER), actor="anna")
    a, b, c = await other.all()
    assert (a.secrets, a.receipt_key, a.sealed) == ((), b"", ("key 'test' missing",))
    assert (b.token_hashes, b.receipt_key, b.sealed) == ((hash_token(token),), b"", ("key 'test' missing",))
    assert (c, c.sealed) == (made, ())
    await other.disable("a", actor="bob")
    assert [source.name for source in await other.all()] == ["b", "c"]
    with pytest.raises(ConfigurationError, match="'test' missing"):
        await other.rotate("b", grace_ms=0, actor="bob")
    assert (await repository.all())[0].token_hashes == (hash_token(token),)


async def test_a_key_that_does_not_fit_is_told_from_a_missing_one(
    repository: SourceRepository, store: Store, clock: Clock
) -> None:
    """Another key has taken over the id."""
    await repository.add(NewSource(name="a", role=Role.COURIER), actor="anna")
    wrong = "test:" + base64.b64encode(b"x" * 32).decode()
    (source,) = await SourceRepository(store, SecretBox.parse(wrong), now_ms=clock).all()
    assert source.sealed == ("key 'test' does not fit",)


async def test_workspaces_do_not_see_each_other(repository: SourceRepository, store: Store, clock: Clock) -> None:
    """The same name may be used in two."""
    other = SourceRepository(store, SecretBox.parse(KEYS), workspace="other", now_ms=clock)
    await repository.add(NewSource(name="a", role=Role.COURIER), actor="anna")
    await other.add(NewSource(name="a", role=Role.RESTAURANT), actor="anna")
    assert [source.role for source in await repository.all()] == [Role.COURIER]
    assert [source.role for source in await other.all()] == [Role.RESTAURANT]
