"""`/openapi.json`: the HTTP API as an OpenAPI 3.1 document, put together from what each route says of itself."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from importlib.metadata import version
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hive.gateway.context import PATH_PARAMETERS, Route
from hive.gateway.handler import Handler
from hive.store import QueueReport
from hive.wire.job import JobRecord, Specification, State

Document = dict[str, Any]
DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
TIME = {"type": ["string", "null"], "format": "date-time"}
TEXT = {"type": "string"}
MAYBE_TEXT = {"type": ["string", "null"]}
COUNT = {"type": "integer", "minimum": 0}
NUMBER = {"type": "number"}
# OpenAPI before 3.2 describes a stream of server-sent events by the schema of each event.
EVENT = {"type": "object", "properties": {"id": TEXT, "event": TEXT, "data": TEXT}, "required": ["data"]}
STATE = {"enum": [str(state) for state in State]}
_PLAIN: Mapping[Any, Document] = {
    str: TEXT,
    int: COUNT,
    float: NUMBER,
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    type(None): {"type": "null"},
}


@dataclass(frozen=True)
class _Error:
    kind: str
    message: str


# Fields that a job's JSON has otherwise than its record.
_SHOWN_OTHERWISE: dict[str, Any] = {"parts": list[str], "parent": str | None, "error": _Error | None}
_PARAMETERS = {
    "id": "The job's id, or a unique prefix of it.",
    "name": "Name of a preview.",
    "sha256": "SHA-256 of the file's content.",
}
_REFUSALS = {
    400: "The request is not accepted; the message says why.",
    401: "The token is missing or wrong.",
    402: "The budget of the day or the month is spent.",
    403: "Not allowed over HTTP.",
    404: "Not found; the message lists what exists.",
    409: "The job is not in a state that allows this, or the part does not begin where the file ends.",
    411: "Content-Length is missing.",
    413: "The body is too long for this call.",
    416: "The file is shorter than that.",
    422: "SHA-256 mismatch; nothing is kept.",
    503: "Redis or the store does not answer.",
    507: "The gateway's disk is full.",
}


class OpenApi(Handler):
    """The description of the whole API."""

    async def get(self) -> None:
        """Send it."""
        self.send_json(await self.in_thread(document, self.context.routes))


@cache
def document(routes: tuple[Route, ...]) -> Document:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hive",
            "version": version("hive-compute"),
            "description": "Submit jobs to workers, follow them, and transfer their files.",
        },
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": structure(error=structure(kind=TEXT, message=TEXT)),
                "Listed": _listed(),
                "Job": _job(),
                "Worker": _worker(),
                "Queue": schema_of(QueueReport),
                "Status": _status(),
            },
        },
        "paths": dict(_paths(routes)),
    }


def _paths(routes: Iterable[Route]) -> Iterable[tuple[str, Document]]:
    for route in routes:
        if methods := dict(route.api()):
            names = re.findall(r"\{(\w+)\}", route.path)
            own = [
                {
                    "name": name,
                    "in": "path",
                    "required": True,
                    "description": _PARAMETERS[name],
                    "schema": {"type": "string", "pattern": f"^{PATH_PARAMETERS[name]}$"},
                }
                for name in names
            ]
            parameters = [*own, *methods.pop("parameters", [])]
            yield route.path, ({"parameters": parameters} if parameters else {}) | methods


def structure(**properties: Document) -> Document:
    """Schema of a JSON object with these properties, all of them required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def array(items: Document) -> Document:
    """Schema of a JSON array."""
    return {"type": "array", "items": items}


def ref(name: str) -> Document:
    """One of the schemas that several calls share."""
    return {"$ref": f"#/components/schemas/{name}"}


def content(schema: Document, media_type: str = "application/json") -> Document:
    """A body of that type."""
    return {"content": {media_type: {"schema": schema}}}


def response(description: str, schema: Document, media_type: str = "application/json") -> Document:
    """A response with a body."""
    return {"description": description} | content(schema, media_type)


def refusals(*codes: int) -> Document:
    """Errors of a call, besides that of a missing token."""
    return {str(code): response(_REFUSALS[code], ref("Error")) for code in (401, *codes)}


def responses(code: int, schema: Document, *errors: int) -> Document:
    """Responses of a call that succeeds with JSON."""
    return {str(code): response("Success.", schema)} | refusals(*errors)


def query(name: str, description: str, schema: Mapping[str, Any]) -> Document:
    """A parameter in the query."""
    return {"name": name, "in": "query", "description": description, "schema": dict(schema)}


def _job() -> Document:
    """As `hive show --json`."""
    story = array(structure(at=TIME, event=TEXT))
    return structure(**_listed()["properties"], story=story, units={"type": "object", "additionalProperties": TEXT})


def _listed() -> Document:
    """As an item of `hive jobs --json`, with the parameters that name previews."""
    hints = get_type_hints(Specification) | get_type_hints(JobRecord) | _SHOWN_OTHERWISE
    blank = Specification(capability="", task="", queue="", parameters={}, inputs={}, outputs={})
    names = JobRecord("", blank, State.QUEUED, datetime.now(UTC)).to_json()
    return structure(**{name: schema_of(hints[name]) for name in names}, previews=array(TEXT))


def schema_of(hint: Any) -> Document:  # noqa: ANN401  whatever a field is annotated with
    """Schema of a field of a record, by its type; of a type that is not known here nothing is said.

    >>> schema_of(int | None)
    {'anyOf': [{'type': 'integer', 'minimum': 0}, {'type': 'null'}]}
    """
    origin = get_origin(hint) or hint
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(member) for member in get_args(hint)]}
    if not isinstance(origin, type):
        return {}
    if origin in _PLAIN:
        return _PLAIN[origin]
    if issubclass(origin, Enum):
        return {"enum": [str(member) for member in origin]}
    if dataclasses.is_dataclass(origin):
        return structure(**{name: schema_of(member) for name, member in get_type_hints(origin).items()})
    if issubclass(origin, Mapping):
        return {"type": "object"}
    return array(schema_of(get_args(hint)[0])) if issubclass(origin, Sequence) else {}


def _worker() -> Document:
    return structure(
        name=TEXT,
        host=TEXT,
        capabilities=array(TEXT),
        slots=COUNT,
        busy=COUNT,
        cpu_percent=NUMBER,
        memory_bytes=COUNT,
        gpus=array(TEXT),
        price_usd_per_h={"type": ["number", "null"]},
        last_seen=TIME,
        clock_skew_s=NUMBER,
        terms={"type": ["object", "null"]},
        idle_s={"type": ["number", "null"]},
        tunnel={"type": ["object", "null"]},
    )


def _status() -> Document:
    usage: dict[str, Document] = {"cpu_percent": NUMBER, "memory_bytes": COUNT}
    process = structure(name=TEXT, **usage, cpu_percent_since_start=NUMBER, age_s=NUMBER)
    return structure(
        broker=structure(address=TEXT, state=TEXT),
        gateway=structure(address=TEXT, state=TEXT),
        home={"type": ["object", "null"]},
        orchestrator=structure(
            **usage, cpu_percent_since_start=NUMBER, processes=array(process), budget=structure(**usage)
        ),
        workers=COUNT,
        queued=COUNT,
        running=COUNT,
    )


def _api() -> Mapping[str, Any]:
    return {"get": {"summary": "This document.", "responses": responses(200, {"type": "object"})}}


ROUTES = (Route("/openapi.json", OpenApi, _api),)
