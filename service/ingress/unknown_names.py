"""Names that no source has, as strangers call them: a line in the log, so that an operator sees the typing error in a
partner's URL. The count of refusals keeps no names: it is bounded by what exists.

Each name once a minute, at most a hundred names a minute, shortened and escaped: whoever makes names up fills no log.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

_WINDOW_S = 60.0
MOST_NAMES = 100
LONGEST_NAME = 64
_log = structlog.get_logger("mealtrail.refusals")


class UnknownNames:
    """What was told in this minute. One per door."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._begun = float("-inf")
        self._told: set[str] = set()

    def tell(self, name: str) -> None:
        """Logs `source_unknown` with the name, unless this minute has told it or enough of others. Constant cost."""
        now = self._monotonic()
        if now - self._begun >= _WINDOW_S:
            self._begun = now
            self._told.clear()
        shown = shorten_name(name)
        if shown in self._told or len(self._told) >= MOST_NAMES:
            return
        self._told.add(shown)
        _log.info("source_unknown", requested=shown)


def shorten_name(name: str) -> str:
    """The name in printable ASCII, cut to 64 characters with an ellipsis of three dots for the rest."""
    shown = name[: LONGEST_NAME + 1].encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 3] + "..."
