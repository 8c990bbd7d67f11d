"""Access tokens of the order-status API: who can make one, and what ends it."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backbone.clocks import SYSTEM_CLOCK
from backbone.store.secrets import SecretBox, hash_token
from backbone.store.sources import Source
from schemas.statuses import Policy, Role
from service.credentials import SourceCache
from service.facades.order_status_tokens import LIFETIME_S, PURPOSE, IssuedTokens

SECRET = hash_token("mts_" + "s" * 43)
KEYS = {"k1": bytes(32), "k2": bytes([7]) * 32}
NOW_MS = 1_900_000_000_500
SOURCE = Source(
    workspace="default",
    uid="u1",
    name="market",
    dialect="native",
    role=Role.MARKETPLACE,
    parties=("m1",),
    policy=Policy.FORWARD,
    hold_ms=0,
    skew_ms=0,
    rate=1,
    auth="bearer",
    url=None,
    receipt_key=bytes(32),
    secrets=(),
    token_hashes=(hash_token("another"), SECRET),
    created_at=0,
    disabled_at=None,
)


class Sources:
    """A store of sources."""

    def __init__(self, *sources: Source) -> None:
        self.kept = list(sources)

    async def all(self, *, include_disabled: bool = False) -> list[Source]:  # noqa: ARG002 - the real one has it
        """All of them."""
        return self.kept


async def tokens_of(*sources: Source, keys: dict[str, bytes] | None = None, now_ms: int = NOW_MS) -> IssuedTokens:
    """Issued tokens over a loaded cache."""
    cache = SourceCache(Sources(*sources), SYSTEM_CLOCK.monotonic)
    await cache.refresh()
    return IssuedTokens(keys or KEYS, cache, lambda: now_ms)


async def test_token_is_read_by_every_holder_of_the_ring() -> None:
    """Another process with the keys reads it, in another order too; one without its key does not."""
    token = (await tokens_of(SOURCE)).issue(SOURCE, SECRET)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "kid": "k1", "typ": "JWT"}
    rotated = await tokens_of(SOURCE, keys={"k2": KEYS["k2"], "k1": KEYS["k1"]})
    assert rotated.source_of(token) == SOURCE
    for keys in ({"k2": KEYS["k2"]}, {"k1": KEYS["k2"]}):
        assert (await tokens_of(SOURCE, keys=keys)).source_of(token) is None


async def test_token_ends_with_its_time() -> None:
    """To the second, by the injected clock."""
    token = (await tokens_of(SOURCE)).issue(SOURCE, SECRET)
    end_ms = (NOW_MS // 1000 + LIFETIME_S) * 1000
    assert (await tokens_of(SOURCE, now_ms=end_ms - 1)).source_of(token) == SOURCE
    assert (await tokens_of(SOURCE, now_ms=end_ms)).source_of(token) is None


async def test_token_ends_with_what_it_stands_on() -> None:
    """The source gone or disabled, its credential ended, or another source under the uid's name: no token."""
    token = (await tokens_of(SOURCE)).issue(SOURCE, SECRET)
    ended = replace(SOURCE, token_hashes=(hash_token("another"),))
    for sources in ((), (replace(SOURCE, disabled_at=1),), (ended,), (replace(SOURCE, uid="u2"),)):
        assert (await tokens_of(*sources)).source_of(token) is None


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another"},
        {"aud": None},
        {"sub": None},
        {"sub": 7},
        {"sub": "u2"},
        {"exp": None},
        {"exp": "2099"},
        {"exp": 1.5e12},
        {"iat": None},
        {"credential": None},
        {"credential": "0" * 32},
        {"credential": 5},
    ],
)
async def test_wrong_claims_open_nothing(change: dict[str, Any]) -> None:
    """Even rightly signed, a token needs every claim as we make it."""
    tokens = await tokens_of(SOURCE)
    claims = jwt.decode(tokens.issue(SOURCE, SECRET), options={"verify_signature": False})
    changed = {name: value for name, value in {**claims, **change}.items() if value is not None}
    payload = orjson.dumps(changed)
    signed = jwt.api_jws.encode(payload, KEYS["k1"], algorithm="HS256", headers={"kid": "k1"})
    assert tokens.source_of(signed) is None


@pytest.mark.parametrize("header", [{"alg": "none", "kid": "k1"}, {"alg": "HS512", "kid": "k1"}, {"alg": "HS256"}])
async def test_other_algorithms_open_nothing(header: dict[str, str]) -> None:
    """Unsigned, signed another way, or without a key's id."""
    tokens = await tokens_of(SOURCE)
    _, claims, signature = tokens.issue(SOURCE, SECRET).split(".")
    head = base64.urlsafe_b64encode(orjson.dumps(header)).rstrip(b"=").decode()
    assert tokens.source_of(f"{head}.{claims}.{signature}") is None
    assert tokens.source_of(f"{head}.{claims}.") is None


@given(text=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=512))
async def test_any_text_is_read_without_an_error(text: str) -> None:
    """What is no token of ours is nobody's."""
    assert (await tokens_of(SOURCE)).source_of(text) is None
    head = base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()
    assert (await tokens_of(SOURCE)).source_of(f"{head}.{head}.{head}") is None


def test_derived_keys_are_the_same_everywhere_and_for_one_purpose() -> None:
    """By key id, in the ring's order, other than the ring's own and than another purpose's."""
    ring = ",".join(f"{key_id}:{base64.b64encode(key).decode()}" for key_id, key in KEYS.items())
    derived = SecretBox.parse(ring).derive(PURPOSE)
    assert derived == SecretBox.parse(ring).derive(PURPOSE)
    assert list(derived) == ["k1", "k2"]
    assert not set(derived.values()) & {*KEYS.values(), *SecretBox.parse(ring).derive("another").values()}
    assert {len(key) for key in derived.values()} == {32}
