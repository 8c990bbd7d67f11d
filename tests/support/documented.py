"""What JSON Schemas of documented APIs are made of, and how documents are held against them.

The schemas beside this file are written from the documents and not from the code. Every object is closed: a member that
no document names fails, and so does a required one that is missing. The documents' own examples must pass.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
STRING_OR_NULL: Schema = {"type": ["string", "null"]}
NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
OBJECT_OR_NULL: Schema = {"type": ["object", "null"]}
OFFSET_TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$"}
ZULU_TIME: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}
INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1}
INT64: Schema = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}


def array(of: Schema) -> Schema:
    """A list of one kind."""
    return {"type": "array", "items": of}


def closed(members: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """An object with these members and no other; all required but the optional ones."""
    return {
        "type": "object",
        "properties": members,
        "required": [name for name in members if name not in optional],
        "additionalProperties": False,
    }


def open_to(members: dict[str, Schema]) -> Schema:
    """An object whose members are all optional, and no other."""
    return closed(members, tuple(members))


def problems(schema: Schema, document: object) -> list[str]:
    """What is wrong with a document by a schema; empty when nothing is."""
    return [
        f"{'.'.join(map(str, error.path))}: {error.message}"
        for error in Draft202012Validator(schema).iter_errors(document)
    ]


def paths_of(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every member of every object within, lists included."""
    found: list[tuple[str | int, ...]] = []
    if isinstance(value, dict):
        for name, below in value.items():
            found += [(*path, name), *paths_of(below, (*path, name))]
    elif isinstance(value, list):
        for number, below in enumerate(value):
            found += paths_of(below, (*path, number))
    return found


def without(document: Any, path: tuple[str | int, ...]) -> Any:
    """A copy that lacks one member."""
    copied = deepcopy(document)
    place = copied
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return copied


def with_extra(document: Any, path: tuple[str | int, ...]) -> Any:
    """A copy with an undocumented member beside the one that the path names."""
    copied = deepcopy(document)
    place = copied
    for step in path[:-1]:
        place = place[step]
    place["undocumented"] = 1
    return copied
