"""The fixtures of partners' formats: requests as data, each with where it is known from and what it must mean.

tests/fixtures/dialects/<dialect>/source.json
    {"role", "auth"?, "secret", "url"?, "zone"?, "parties"?, "stores"?, "signing": {…}}     see tests/support/signing.py
tests/fixtures/dialects/<dialect>/<what>.json
    {"source":   where the payload comes from, marked [O], [I] or [D],
     "note"?:    what was changed in it,
     "body":     the raw body as text (of a token: its claims); or "json": the same as JSON, written compact
     "endpoint"?: "PUT /order/{orderId}/status", where it is not a POST on the webhook URL itself
     "variables"?: {"orderId": "A-17"}, of that path
     "headers"?: further headers, or a vendor's own signature where "signed" is true (nothing is signed then),
     "secret"?, "url"?: other ones than the source's,
     "given"?:   the status of the order before, announced for r1, c1 and m1; the order is unknown without it
     "expects":  {"events": [{"order_id", "status" or "fact", "occurred_at", "mark"?, "event_id"?, "store"?}],
                  "positions"?: [{"order_id", "latitude", "longitude"}]}
                 or {"answer_only": true}, or {"refused": 400},
     "verdicts"?: what the trail says of the events, in order: "applied READY", "noted CAR", "late READY",
                 "rejected READY: illegal_transition"; or ["held"]}
tests/fixtures/dialects/<dialect>/day.json
    {"script": [{"partner": 2}, {"kitchen": "READY"}, …], "ends": "DELIVERED", "trail": […]}   see test_dialect_days
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backbone.store.definitions import KEPT_AS_HASH, Auth, make_credential
from backbone.store.sources import NewSource, Source
from schemas.statuses import Policy, Role
from service.dialects.endpoints import Endpoint
from service.dialects.registry import DIALECTS
from tests.support.signing import Posting, sign

ROOT = Path(__file__).resolve().parents[1] / "fixtures/dialects"
PARTIES = {"restaurant": "r1", "courier": "c1", "marketplace": "m1"}


@dataclass(frozen=True)
class Partner:
    """A dialect's `source.json`."""

    dialect: str
    described: dict[str, Any]

    @property
    def role(self) -> Role:
        """What the source is to an order."""
        return Role(self.described["role"])

    @property
    def parties(self) -> tuple[str, ...] | None:
        """Those given, or the one that test orders name in this role."""
        given = self.described.get("parties")
        own = PARTIES.get(self.role)
        return tuple(given) if given else None if own is None else (own,)

    @property
    def auth(self) -> Auth:
        """How it proves itself."""
        auth: Auth = self.described.get("auth", DIALECTS[self.dialect].profile.schemes[0])
        return auth

    def unique_secret(self, tag: str) -> str:
        """A secret for one of several sources in one service: of fixed tokens no two may be the same."""
        secret = str(self.described["secret"])
        return f"{secret}.{tag}" if self.auth in KEPT_AS_HASH else secret

    def new_source(self, name: str, **changes: Any) -> NewSource:
        """The source to be made, by repository."""
        options: dict[str, Any] = {
            "name": name,
            "dialect": self.dialect,
            "role": self.role,
            "auth": self.auth,
            "parties": self.parties,
            "url": self.described.get("url"),
            "zone": self.described.get("zone"),
            "stores": self.described.get("stores", {}),
            "secret": self.described["secret"],
        }
        return NewSource(**{**options, **changes})

    def source(self, **changes: Any) -> Source:
        """The source as a request finds it, without a store."""
        new = self.new_source("s1", **changes)

        credential = make_credential(new.auth, new.secret)
        return Source(
            workspace="default",
            uid="u1",
            name="s1",
            dialect=new.dialect,
            role=new.role,
            parties=new.parties,
            policy=Policy.FORWARD,
            hold_ms=new.hold_ms,
            skew_ms=new.skew_ms,
            rate=new.rate,
            auth=new.auth,
            url=new.url,
            receipt_key=b"r" * 32,
            secrets=() if credential.key is None else (credential.key,),
            token_hashes=() if credential.token_hash is None else (credential.token_hash,),
            created_at=0,
            disabled_at=None,
            stores=new.stores,
            zone=new.zone,
        )

    def sign(self, raw: bytes, secret: str | None = None) -> Posting:
        """A body with a genuine proof."""
        described = self.described
        return sign(described["signing"], raw, secret=secret or described["secret"], url=described.get("url", ""))


@dataclass(frozen=True)
class Case:
    """One fixture."""

    partner: Partner
    path: Path
    given: dict[str, Any]

    @property
    def name(self) -> str:
        """For test ids."""
        return f"{self.partner.dialect}/{self.path.stem}"

    @property
    def raw(self) -> bytes:
        """The body before a token is made of it."""
        if "body" in self.given:
            return str(self.given["body"]).encode()
        return json.dumps(self.given["json"], separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def endpoint(self) -> Endpoint:
        """What it calls."""
        method, _, path = str(self.given.get("endpoint", "POST")).partition(" ")
        return Endpoint(method, path)

    @property
    def variables(self) -> dict[str, str]:
        """Of the endpoint's path."""
        return dict(self.given.get("variables", {}))

    @property
    def secret(self) -> str:
        """What it is signed with."""
        return str(self.given.get("secret", self.partner.described["secret"]))

    @property
    def signs_body(self) -> bool:
        """Whether its proof covers the body's raw bytes."""
        return "message" in self.partner.described["signing"]

    @property
    def changes(self) -> dict[str, Any]:
        """How its source differs from the partner's usual one."""
        given: dict[str, Any] = {name: self.given[name] for name in ("secret", "url", "zone") if name in self.given}
        if "role" in self.given:
            role = Role(self.given["role"])
            given |= {"role": role, "parties": (PARTIES[role],) if role in PARTIES else None}
        return given

    def posting(self, secret: str | None = None) -> Posting:
        """The request: signed by us (with another secret, if one is given), or by the vendor."""
        more = self.given.get("headers", {})
        if self.given.get("signed"):
            return Posting(self.raw, dict(more))
        signed = self.partner.sign(self.raw, secret or self.secret)
        return Posting(signed.raw, {**signed.headers, **more})


def partners() -> dict[str, Partner]:
    """The partners that have fixtures, by dialect."""
    found = sorted(ROOT.glob("*/source.json"))
    return {path.parent.name: Partner(path.parent.name, json.loads(path.read_text("utf-8"))) for path in found}


def cases() -> list[Case]:
    """Every fixture, in the order of their names."""
    return [
        Case(partner, path, json.loads(path.read_text("utf-8")))
        for partner in partners().values()
        for path in sorted((ROOT / partner.dialect).glob("*.json"))
        if path.name not in {"source.json", "day.json"}
    ]
