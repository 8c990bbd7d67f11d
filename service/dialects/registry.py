"""All dialects by the name that a source carries."""

from __future__ import annotations

from service.dialects.native import NativeDialect
from service.dialects.port import Dialect

NATIVE = NativeDialect()
DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (NATIVE,)}
