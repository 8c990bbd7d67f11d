"""All dialects by the name that a source carries: every module of this package that has a `DIALECT`."""

from __future__ import annotations

import importlib
import pkgutil

from service import dialects
from service.dialects.native import DIALECT as NATIVE
from service.dialects.port import Dialect

__all__ = ["DIALECTS", "NATIVE"]


def _find() -> dict[str, Dialect]:
    """The dialects, native first and the others by name. Raises RuntimeError where two have one name."""
    found: dict[str, Dialect] = {NATIVE.name: NATIVE}
    for module in sorted(item.name for item in pkgutil.iter_modules(dialects.__path__)):
        if module == "registry":
            continue
        dialect = getattr(importlib.import_module(f"{dialects.__name__}.{module}"), "DIALECT", None)
        if dialect is not None and found.setdefault(dialect.name, dialect) is not dialect:
            raise RuntimeError(f"two dialects are called {dialect.name}")
    return found


DIALECTS: dict[str, Dialect] = _find()
