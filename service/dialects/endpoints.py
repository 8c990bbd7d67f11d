"""What a partner calls: requests on a source's webhook URL, on paths below it, and for access tokens.

Most partners post to one URL. Some are given a base URL and append paths of their own, and some fetch an access token
from us first. A profile lists both; `service.ingress` routes them, and a dialect's `parse` is told which one it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

_VARIABLE = re.compile(r"\{([a-zA-Z]+)\}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]+|\{[a-zA-Z]+\}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One request: its method, and its path below the source's webhook URL. "" is that URL itself; `{name}` is a
    segment of any content. Raises ValueError for a path that cannot be one.
    """

    method: str
    path: str = ""

    def __post_init__(self) -> None:
        segments = self.path.split("/")
        if segments[0] or (self.path and not all(_SEGMENT.fullmatch(segment) for segment in segments[1:])):
            raise ValueError(f"{self.path!r} is no path below a URL")

    def address(self, variables: Mapping[str, str]) -> str:
        """The path with its variables filled in, as it goes over the wire. Raises KeyError for one that is missing."""
        return _VARIABLE.sub(lambda found: quote(variables[found[1]], safe=""), self.path)


POSTED = Endpoint("POST")
"""A POST on the webhook URL itself, which is all that most partners do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGrant:
    """Access tokens for a source, by OAuth 2 client credentials (RFC 6749, section 4.4), as JSON or as a form.

    The client id is the source's name, the client secret its bearer secret.
    """

    path: str
    scopes: tuple[str, ...]
    """What a token covers: all of them or, where none is asked for, all of them."""
    lifetime_s: int = 3600


def overlap(one: str, other: str) -> bool:
    """Whether some request fits both paths."""
    ours, theirs = one.split("/"), other.split("/")
    if len(ours) != len(theirs):
        return False
    return all(a == b or a.startswith("{") or b.startswith("{") for a, b in zip(ours, theirs, strict=True))
