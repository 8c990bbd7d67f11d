"""The commands that `mealtrail up --demo` prints: one order from its announcement to DELIVERED, and what came of it.

They are pasted as they are, so they hold no secret (tokens come from demo.env), work in any POSIX shell with curl,
and fit an 80-column terminal. The times tell a story that ends now: a shell has no portable way to count minutes, and
a claimed time takes part in decisions, so they are written out. The order id is made when the commands are pasted.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

RESTAURANT = "demo-restaurant"
COURIER = "demo-courier"
PLATFORM = "demo-platform"
_PARTNER_ZONE = timezone(timedelta(hours=3))
_CURL = 'curl -sS -w "$END" $URL'


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoScript:
    """What the commands depend on: where the server answers, where the tokens lie, what `mealtrail` is called."""

    url: str
    env_file: Path
    command: str
    now: datetime

    def text(self) -> str:
        """The whole script, to be pasted in one piece or several.

        Headings are echoed, for an interactive zsh would try to run comments; parentheses stand in quotes only.
        """
        parts = [self._preparation(), self._announcement(), self._kitchen(), self._courier()]
        return "\n\n".join([*parts, self._illegal_move(), self._reading()])

    def _preparation(self) -> str:
        return (
            "echo '--- The demo tokens, and a fresh order id'\n"
            f". {shlex.quote(str(self.env_file))}\n"
            f"URL={self.url} ORDER=demo-$(date +%s)\n"
            "JSON='Content-Type: application/json' END='\\nHTTP %{http_code}\\n'"
        )

    def _announcement(self) -> str:
        body = (
            '\'{"order_id":"\'$ORDER\'","fulfilment":"delivery",\n'
            f'  "restaurant":"{RESTAURANT}","courier":"{COURIER}"}}\''
        )
        return "echo '--- The platform announces the order'\n" + _post("/v1/orders", "PLATFORM", body)

    def _kitchen(self) -> str:
        path = f"/v1/webhooks/{RESTAURANT}"
        steps = (("ACCEPTED_BY_RESTAURANT", 38), ("COOKING", 35), ("READY", 20))
        posts = [
            _post(
                path,
                "RESTAURANT",
                f'\'{{"order_id":"\'$ORDER\'","status":"{status}",\n  "occurred_at":"{self._ago(minutes, UTC)}"}}\'',
            )
            for status, minutes in steps
        ]
        return "echo '--- The kitchen accepts, cooks, is ready'\n" + "\n".join(posts)

    def _courier(self) -> str:
        path = f"/v1/webhooks/{COURIER}"
        taken = (
            '\'{"order_id":"\'$ORDER\'","status":"TAKEN_BY_COURIER",\n'
            '  "comment":"picked up at the counter","attributes":[],\n'
            f'  "updatedAt":"{self._ago(12, _PARTNER_ZONE)}"}}\''
        )
        delivered = (
            '\'{"order_id":"\'$ORDER\'","status":"DELIVERED",\n'
            '  "comment":"handed over at the door","attributes":["paid"],\n'
            f'  "updatedAt":"{self._ago(1, _PARTNER_ZONE)}"}}\''
        )
        heading = "echo '--- The courier posts OrderStatusPut bodies, its own offset in the times'\n"
        return heading + _post(path, "COURIER", taken) + "\n" + _post(path, "COURIER", delivered)

    def _illegal_move(self) -> str:
        body = f'\'{{"order_id":"\'$ORDER\'","status":"COOKING",\n  "occurred_at":"{self._ago(0, UTC)}"}}\''
        post = _post(f"/v1/webhooks/{RESTAURANT}", "RESTAURANT", body)
        return (
            "echo '--- An illegal move: cooking again what is delivered. It is taken ...'\n"
            f"ANSWER=$({post})\n"
            "printf '%s\\n' \"$ANSWER\""
        )

    def _reading(self) -> str:
        return (
            "echo '--- ... and rejected: its receipt says so'\n"
            "sleep 1\n"
            "RECEIPT=$(printf '%s' \"$ANSWER\" |\n"
            '  sed -n \'s/.*"receipt_id":"\\([^"]*\\)".*/\\1/p\')\n'
            + _get("/v1/receipts/$RECEIPT")
            + "\n\necho '--- The order and its whole trail'\n"
            + _get("/v1/orders/$ORDER")
            + "\n"
            + _get("/v1/orders/$ORDER/history")
            + "\n\necho '--- The same for people, and the proof that nobody touched the trail'\n"
            + f"{self.command} order show $ORDER\n"
            + f"{self.command} audit verify"
        )

    def _ago(self, minutes: int, zone: timezone) -> str:
        moment = (self.now - timedelta(minutes=minutes)).astimezone(zone)
        return moment.isoformat(timespec="microseconds")


def _post(path: str, who: str, body: str) -> str:
    return f'{_CURL}{path} \\\n  -H "Authorization: Bearer $DEMO_{who}_TOKEN" -H "$JSON" -d \\\n  {body}'


def _get(path: str) -> str:
    return f'{_CURL}{path} \\\n  -H "Authorization: Bearer $DEMO_READ_TOKEN"'
