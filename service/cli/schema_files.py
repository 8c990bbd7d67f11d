"""`mealtrail schemas export`: the JSON Schemas of what mealtrail takes and gives, generated from `schemas/`."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter

from schemas.dead_letters import PublishedDeadLetter
from schemas.details import OrderDetails
from schemas.errors import ConfigurationError
from schemas.events import FactEvent, OrderAmended, OrderPlaced, StatusEvent
from schemas.outcomes import Outcome
from schemas.records import RECORD_ADAPTER
from service.cli.options import AsJson
from service.cli.output import print_document, print_line

schemas_app = typer.Typer(help="The JSON Schemas of records, outcomes and events.", no_args_is_help=True)

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SOURCES: dict[str, Callable[[], dict[str, Any]]] = {
    "received.v1": RECORD_ADAPTER.json_schema,
    "outcome.v1": lambda: Outcome.model_json_schema(mode="serialization"),
    "dead-letter.v1": lambda: PublishedDeadLetter.model_json_schema(mode="serialization"),
    "status-event.v1": lambda: TypeAdapter(StatusEvent).json_schema(),
    "fact-event.v1": lambda: TypeAdapter(FactEvent).json_schema(),
    "order-placed.v1": lambda: TypeAdapter(OrderPlaced).json_schema(),
    "order-amended.v1": lambda: TypeAdapter(OrderAmended).json_schema(),
    "order-details.v1": lambda: TypeAdapter(OrderDetails).json_schema(),
}


def schema_documents() -> dict[str, bytes]:
    """File name to content, the same bytes for the same release of mealtrail."""
    documents = {}
    for name, make in _SOURCES.items():
        schema = {"$schema": _DRAFT, "$id": f"urn:mealtrail:{name}", **make()}
        text = json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False)
        documents[f"{name}.schema.json"] = f"{text}\n".encode()
    return documents


@schemas_app.command("export")
def export_schemas(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Made if it is not there.")],
    as_json: AsJson = False,
) -> None:
    """Write one JSON Schema a file into DIR. Files that are there already are replaced."""
    documents = schema_documents()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in documents.items():
            _replace(directory / name, content)
    except OSError as error:
        raise ConfigurationError(f"cannot write to {directory}: {error.strerror}") from error
    if as_json:
        print_document({"directory": str(directory), "files": sorted(documents)})
        return
    for name in sorted(documents):
        print_line(str(directory / name))


def _replace(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
