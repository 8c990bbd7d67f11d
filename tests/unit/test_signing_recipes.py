"""The lines that people copy to sign a request by hand make requests that are genuine."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from service.dialects.port import Inbound
from service.dialects.registry import DIALECTS
from tests.support.dialect_fixtures import partners
from tests.support.documents import ROOT

GUIDE = (ROOT / "docs/dialects.md").read_text("utf-8")
RUNBOOK = (ROOT / "docs/runbook.md").read_text("utf-8")
BODY = '{"id":"e1","text":"Zażółć"}\n'.encode()
NOW_S = 1_700_000_000
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


def recipe(text: str, section: str) -> list[str]:
    """The shell blocks of a section."""
    return [block for _, block in _BLOCK.findall(text.split(f"\n## {section}\n")[1].split("\n## ", maxsplit=1)[0])]


def posted(script: str, folder: Path, **variables: str) -> dict[str, str]:
    """The headers that the script's curl would send."""
    (folder / "body.json").write_bytes(BODY)
    for name, text in (("curl", 'printf "%s\\0" "$@"'), ("date", f"echo {NOW_S}")):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    ran = subprocess.run(
        ["/bin/sh", "-eu", "-c", script], cwd=folder, env={"PATH": path, **variables}, capture_output=True, check=True
    )
    words = ran.stdout.decode().split("\0")
    assert words[words.index("--data-binary") + 1] == "@body.json"
    headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
    if "-u" in words:
        headers["Authorization"] = f"Basic {base64.b64encode(words[words.index('-u') + 1].encode()).decode()}"
    return headers


def authenticate(name: str, headers: dict[str, str], **changes: Any) -> None:
    """Raises what the dialect does."""
    partner = partners()[name]
    request = Inbound(CIMultiDictProxy(CIMultiDict(headers)), BODY, "/", NOW_S * 1000)
    DIALECTS[name].authenticate(request, partner.source(**changes))


@pytest.mark.parametrize("name", ["ifood", "rappi", "square", "doordash-drive"])
def test_a_partners_request_signed_by_hand(name: str, tmp_path: Path) -> None:
    """Hex, something before the body, base64 with the URL, user and password."""
    at = ["ifood", "rappi", "square", "doordash-drive"].index(name)
    described = partners()[name].described
    script = recipe(GUIDE, "Signing by hand")[at]
    changes: dict[str, Any] = {}
    secret = described["secret"]
    if name == "doordash-drive":
        changes = {"auth": "basic", "secret": "somebody:a-long-password"}
        secret = changes["secret"]
    headers = posted(script, tmp_path, SECRET=secret, URL="http://127.0.0.1/x", SIGNED_URL=described.get("url") or "")
    authenticate(name, headers, **changes)


def test_a_native_request_signed_by_hand(tmp_path: Path) -> None:
    """Of the runbook's page, with a secret as `source add` prints it."""
    (script,) = recipe(RUNBOOK, "A partner gets 401")
    key = bytes(range(200, 232))
    headers = posted(script, tmp_path, SECRET="whsec_" + base64.b64encode(key).decode(), URL="http://127.0.0.1/x")
    request = Inbound(CIMultiDictProxy(CIMultiDict(headers)), BODY, "/", NOW_S * 1000)
    source = partners()["ifood"].source(auth="standard-webhooks", secret=key, dialect="native")
    DIALECTS["native"].authenticate(request, source)
