"""createNewStoreLocation: the documented body, and the documented object that answers it.

Every member of the body is optional; within `storeinfo`, if it is there, all three are required. A member that is null
counts as absent and unknown members are ignored, as far as the same creation is concerned too. Of the answer's many
members we send those we know: what the account just said, the ids, the token. Bank accounts, passwords and identity
numbers (`bvnNo`, `tinNo`, `cacNo`) are not asked for, not kept and never sent.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backbone.store.accounts import StoreLocation
from service.facades.money import decimal_text, json_number

Text = Annotated[str, Field(strict=True, max_length=2000)]
_ECHOED = {
    "storeName": ("sitename", "businessname"),
    "storeFullAddress": ("address",),
    "storeState": ("stateOfCountry",),
    "storeCountry": ("country",),
    "licensePlan": ("licensePlan",),
    "storeProfileType": ("category",),
    "email": ("emailAddress",),
    "mobile": ("contactPhone",),
    "currency": ("currency",),
    "vatType": ("taxType",),
}
"""Members of the request and the members of the answer that say the same."""
_DEGREES = re.compile(r"\s*[+-]?[0-9]{1,3}(\.[0-9]{1,20})?\s*", re.ASCII)


class StoreFinancialInfo(BaseModel):
    """`storeinfo`: tax and currency."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    taxRate: Annotated[float, Field(strict=True, ge=0, le=100)]  # noqa: N815 - the documented name
    vatType: Literal["inclusive", "exclusive"]  # noqa: N815
    currency: Annotated[str, Field(strict=True, pattern=r"^[A-Z]{3}$")]


class NewStoreLocation(BaseModel):
    """The body of createNewStoreLocation."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    storeinfo: StoreFinancialInfo | None = None
    storeName: Text | None = None  # noqa: N815 - these are the documented names
    storeCountry: Text | None = None  # noqa: N815
    storeState: Text | None = None  # noqa: N815
    storeCity: Text | None = None  # noqa: N815
    storeFullAddress: Text | None = None  # noqa: N815
    storeLocLat: Text | None = None  # noqa: N815
    storeLocLng: Text | None = None  # noqa: N815
    storeCountryCode: Text | None = None  # noqa: N815
    storeStateCode: Text | None = None  # noqa: N815
    storeCityCode: Text | None = None  # noqa: N815
    email: Text | None = None
    mobile: Text | None = None
    storeProfileType: Text | None = None  # noqa: N815
    storeUsers: Annotated[int, Field(strict=True, ge=-(1 << 31), lt=1 << 31)] | None = None  # noqa: N815
    licensePlan: Text | None = None  # noqa: N815

    def profile(self) -> dict[str, Any]:
        """What is kept and what makes two bodies the same: the members given, the rate as decimal text."""
        given = self.model_dump(exclude_none=True)
        if self.storeinfo is not None:
            rate = decimal_text(Decimal(repr(self.storeinfo.taxRate)))
            given["storeinfo"] = {**given["storeinfo"], "taxRate": rate}
        return given


def location_document(location: StoreLocation, token: str) -> dict[str, Any]:
    """The answer. The token is in both members that a client may take its `sessiontoken` from.

    Holds `orjson.Fragment`s, so that numbers are exact: write it with orjson.
    """
    profile = location.profile
    financial: dict[str, Any] = profile.get("storeinfo", {})
    known = {**profile, **financial}
    document: dict[str, Any] = {
        "accessToken": token,
        "sessionId": token,
        "originalStoreId": location.store_id,
        "success": True,
        "id": location.store_id,
    }
    document |= {theirs: known[ours] for ours, names in _ECHOED.items() if ours in known for theirs in names}
    features: dict[str, Any] = {}
    if financial:
        document["taxRate"] = json_number(Decimal(financial["taxRate"]))
        features["vatType"] = financial["vatType"]
    for given, ours, feature, limit in (
        ("storeLocLat", "storeGpsLatitude", "gpsLat", 90.0),
        ("storeLocLng", "storeGpsLongitude", "gpsLng", 180.0),
    ):
        degrees = _degrees(profile.get(given), limit)
        if degrees is not None:
            document[ours] = features[feature] = degrees
    if features:
        document["features"] = features
    return document


def _degrees(text: str | None, limit: float) -> float | None:
    """A coordinate that was sent as text, as the number that the answer has; None when it is none."""
    if text is None or not _DEGREES.fullmatch(text):
        return None
    degrees = float(text)
    return degrees if abs(degrees) <= limit else None
