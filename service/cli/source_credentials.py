"""A source's secret or token on the command line: how it is given, and how it is shown, once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import typer

from backbone.settings import load_settings
from backbone.store.definitions import BASIC, SHORT_SECRET_BYTES, SIGNATURE, STANDARD_WEBHOOKS, Auth
from backbone.store.sources import Source
from schemas.errors import DefinitionInvalid
from schemas.statuses import Policy
from service.cli.addresses import own_url
from service.cli.options import read_secret
from service.cli.output import print_document, print_line, print_remark
from service.dialects.registry import DIALECTS

SourceName = Annotated[str, typer.Argument(metavar="NAME")]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--secret-file", metavar="F", help="A secret that the partner issued, from a file; - is standard input."
    ),
]
SecretEncoding = Literal["whsec", "raw"]
SecretEncodingOption = Annotated[
    SecretEncoding | None,
    typer.Option(
        "--secret-encoding",
        help="Of a Standard Webhooks secret in a file: whsec is the key in base64, raw is the key's own text.",
        show_default="whsec",
    ),
]


@dataclass(frozen=True, slots=True)
class Issued:
    """A secret as the sources take it; `value` is None where none was given and one is to be made."""

    value: bytes | str | None = field(repr=False)

    @property
    def is_known(self) -> bool:
        """Whether whoever brought it has it in the form in which it would be shown: it need not be printed again."""
        return isinstance(self.value, str)


def issued_secret(path: Path | None, encoding: SecretEncoding | None, auth: Auth) -> Issued:
    """The secret of the file. Raises what `read_secret` does, a usage error for an encoding without a file, and
    DefinitionInvalid for one of a secret that has none: but for Standard Webhooks a secret is its own text.
    """
    if encoding is not None and auth != STANDARD_WEBHOOKS:
        raise DefinitionInvalid(f"--secret-encoding is for Standard Webhooks; a secret of auth {auth} is its own text")
    if path is None:
        if encoding is not None:
            raise typer.BadParameter(
                "says how to read --secret-file, which is not given", param_hint="--secret-encoding"
            )
        return Issued(None)
    text = read_secret(path)
    return Issued(text.encode() if encoding == "raw" else text)


def show_credential(source: Source, secret: str, issued: Issued, *, as_json: bool) -> None:
    """Print a secret or token, once, and where its source posts. One that was given is not repeated to people."""
    if as_json:
        print_document(
            {"name": source.name, "uid": source.uid, "role": source.role.value, "auth": source.auth, "secret": secret}
        )
        return
    print_line(f"source  {source.name} ({source.role.value}, {source.auth})")
    settings = load_settings()
    known = settings.public_url is not None or settings.port != 0
    base = f"{own_url(settings) if known else ''}/v1/webhooks/{source.name}"
    print_line(f"posts   {base}")
    dialect = DIALECTS.get(source.dialect)
    if dialect is not None and dialect.profile.token is not None:
        print_line(f"tokens  {base}{dialect.profile.token.path}, client id {source.name}, client secret as below")
    if source.policy is Policy.STRICT:
        print_line(f"policy  {describe_policy(source)}")
    if issued.is_known:
        print_line("secret  as given")
    else:
        print_line(f"secret  {secret}")
        print_line("Keep it now: it is not shown again.")
    if issued.value is not None and (size := _guessed_bytes(source, secret)) < SHORT_SECRET_BYTES:
        print_remark(f"a secret of {size} bytes can be guessed: ask the partner for a longer one")


def describe_policy(source: Source) -> str:
    """The policy in a few words, with how long a strict one waits where it waits."""
    if source.policy is not Policy.STRICT:
        return source.policy.value
    wait = source.ahead_hold_ms / 1000
    return f"{source.policy.value}, waits {wait:g} s" if wait else f"{source.policy.value}, waits for nothing"


def _guessed_bytes(source: Source, secret: str) -> int:
    """How many bytes somebody would have to guess: of user and password the password's."""
    if source.auth in {SIGNATURE, STANDARD_WEBHOOKS}:
        return len(source.secrets[0])
    return len((secret.partition(":")[2] if source.auth == BASIC else secret).encode())
