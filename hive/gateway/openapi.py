"""`/openapi.json`: the HTTP API in the words of OpenAPI 3.1."""

from functools import cache
from importlib.metadata import version
from typing import Any

from hive.catalog import all_tasks
from hive.gateway.answers import Handler
from hive.options import Priority, job_options
from hive.wire.job import State

_Document = dict[str, Any]
_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TIME = {"type": ["string", "null"], "format": "date-time"}
_TEXT = {"type": "string"}
_MAYBE_TEXT = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}


class OpenApi(Handler):
    """What the gateway can be asked."""

    async def get(self) -> None:
        """Describe it."""
        self.say(await self.blocking(document))


@cache
def document() -> _Document:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hive",
            "version": version("hive-compute"),
            "description": "Send jobs to workers, follow them, and move their files.",
        },
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": _error(),
                "Listed": _listed(),
                "Job": _job(),
                "Worker": _worker(),
                "Queue": _queue(),
                "Status": _status(),
            },
        },
        "paths": {
            "/task": {"get": _list(), "post": _send()},
            "/task/{id}": {"parameters": [_ID], "get": _one("Show a job, with its story.", "Job", 404)},
            "/task/{id}/cancel": {"parameters": [_ID], "post": _cancel()},
            "/task/{id}/retry": {"parameters": [_ID], "post": _retry()},
            "/task/{id}/why": {"parameters": [_ID], "get": _why()},
            "/task/{id}/preview": {"parameters": [_ID], "get": _preview()},
            "/task/{id}/logs": {"parameters": [_ID], "get": _logs()},
            "/events": {"get": _events()},
            "/workers": {"get": _many("List the workers that are there.", "Worker")},
            "/queue": {"get": _many("Count the jobs of each queue.", "Queue")},
            "/status": {"get": _one("Show the whole of this Hive in a few numbers.", "Status")},
            "/metrics": {"get": _metrics()},
            "/blob/missing": {"post": _missing()},
            "/blob/{sha256}": _blob(),
            "/ticket": {
                "post": {"summary": "A way in for a browser, good once.", "responses": _answers(201, _ticket())}
            },
            "/healthcheck": {"get": {"summary": "Whether the gateway answers.", "responses": _answers(200, _object())}},
            "/openapi.json": {"get": {"summary": "This document.", "responses": _answers(200, {"type": "object"})}},
        },
    }


_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The job's id, or a unique beginning of it.",
    "schema": {"type": "string", "pattern": "^[0-9a-zA-Z]{1,64}$"},
}
_REFUSALS = {
    400: "What was sent is not accepted; the sentence says why.",
    402: "The budget of the day or the month is reached.",
    404: "There is no such thing; the sentence lists what there is.",
    409: "The job is not in a state for this, or the file is not where the part begins.",
    411: "Say Content-Length.",
    413: "The body is larger than this call takes.",
    416: "The file does not reach that far.",
    422: "The content does not have the digest that was announced; nothing is kept.",
    403: "Not from outside.",
    503: "Redis or the store does not answer.",
    507: "The disk of the gateway is full.",
}


def _refusals(*codes: int) -> _Document:
    """Refusals that a call knows, beside that of a missing token."""
    words = {401: "The token is missing or wrong."} | {code: _REFUSALS[code] for code in codes}
    return {str(code): {"description": text} | _json(_ref("Error")) for code, text in words.items()}


def _answers(code: int, schema: _Document, *refusals: int) -> _Document:
    return {str(code): {"description": "It is so."} | _json(schema)} | _refusals(*refusals)


def _json(schema: _Document) -> _Document:
    return {"content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> _Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: _Document) -> _Document:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _one(summary: str, name: str, *refusals: int) -> _Document:
    return {"summary": summary, "responses": _answers(200, _ref(name), *refusals, 503)}


def _many(summary: str, name: str) -> _Document:
    return {"summary": summary, "responses": _answers(200, {"type": "array", "items": _ref(name)}, 503)}


def _send() -> _Document:
    """`POST /task`; each task's parameters are those of `hive describe TASK --json`."""
    body = {
        "type": "object",
        "properties": {
            "type": {"type": "string", "examples": [task.wire_name for task in all_tasks()]},
            "params": {"type": "object", "description": "The task's parameters; files are references or URLs."},
            **{option.name: {**option.schema, "description": option.help} for option in job_options()},
        },
        "required": ["type"],
        "additionalProperties": False,
    }
    sent = _object(id=_TEXT, state={"const": "queued"}, url=_TEXT, warnings={"type": "array", "items": _TEXT})
    return {
        "summary": "Send a job.",
        "requestBody": {"required": True} | _json(body),
        "responses": _answers(202, sent, 400, 402, 404, 413, 503),
    }


def _cancel() -> _Document:
    return {"summary": "Stop a job.", "responses": _answers(202, _ref("Job"), 404, 409, 503)}


def _retry() -> _Document:
    return {"summary": "Run a failed or cancelled job again.", "responses": _answers(202, _ref("Job"), 404, 409, 503)}


def _why() -> _Document:
    reason = _object(id=_TEXT, state={"enum": [str(one) for one in State]}, why=_TEXT, todo=_TEXT)
    return {"summary": "Why a job is where it is, and what to do.", "responses": _answers(200, reason, 404, 503)}


def _list() -> _Document:
    """`GET /task`: what is asked for stands in the query."""
    known = {
        "limit": ("How many, 100 if it is not said.", {"type": "integer", "minimum": 1, "maximum": 1000}),
        "state": (
            "Only jobs in one of these states.",
            {"type": "array", "items": {"enum": [str(one) for one in State]}},
        ),
        "capability": ("Only jobs of this capability.", _TEXT),
        "text": ("Only jobs with this in their id, task, worker, file names or error.", _TEXT),
        "after": ("Go on behind this job: `after` of the page before.", _TEXT),
    }
    parameters = [
        {"name": name, "in": "query", "description": words, "schema": schema} for name, (words, schema) in known.items()
    ]
    page = _object(jobs={"type": "array", "items": _ref("Listed")}, after=_MAYBE_TEXT)
    return {
        "summary": "List jobs, newest first.",
        "parameters": parameters,
        "responses": _answers(200, page, 400, 404, 503),
    }


def _preview() -> _Document:
    picture = {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
    here = {"description": "The picture."} | picture
    return {"summary": "The picture that a job has made.", "responses": {"200": here} | _refusals(404, 503)}


def _events() -> _Document:
    stream = {"content": {"text/event-stream": {"schema": _TEXT}}}
    here = {"description": "First the whole, then what changes, for as long as you listen."} | stream
    return {"summary": "What happens, as server-sent events.", "responses": {"200": here} | _refusals()}


def _logs() -> _Document:
    line = _object(time=_TIME, level=_TEXT, attempt=_COUNT, text=_TEXT)
    responses = _answers(200, {"type": "array", "items": line}, 400, 404, 503)
    responses["200"]["content"]["text/event-stream"] = {"schema": _TEXT}
    follow = {
        "name": "follow",
        "in": "query",
        "description": "1: send each line as it comes, as server-sent events, until the job has ended.",
        "schema": {"enum": ["0", "1"]},
    }
    return {"summary": "The lines that a job has written.", "parameters": [follow], "responses": responses}


def _missing() -> _Document:
    digests = {"type": "array", "items": _DIGEST, "maxItems": 10_000}
    return {
        "summary": "Which of many files are not in the store.",
        "requestBody": {"required": True} | _json(_object(digests=digests)),
        "responses": _answers(200, _object(missing=digests), 400, 413),
    }


def _blob() -> _Document:
    """One file by its digest."""
    area = {
        "name": "area",
        "in": "query",
        "description": "Files of a checkpoint are kept apart, under the id of their job.",
        "schema": {"type": "string", "pattern": "^(sha256|checkpoint/[0-9a-f]{1,64})$"},
    }
    path = {"name": "sha256", "in": "path", "required": True, "schema": _DIGEST}
    damaged = {"name": "if", "in": "query", "schema": {"const": "damaged"}}
    bytes_ = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    here = {"description": "The file, or the part of it that was asked for."} | bytes_
    received = _object(received=_COUNT)
    stored = {
        "200": {"description": "It was here before."} | _json(received),
        "201": {"description": "It is here now."} | _json(received),
        "202": {"description": "The part is here; send the next one."} | _json(received),
    }
    return {
        "parameters": [path, area],
        "get": {"summary": "Read a file.", "responses": {"200": here, "206": here} | _refusals(400, 404, 416)},
        "head": {
            "summary": "How large a file is; where it is not here, Upload-Offset says how much of it has come.",
            "responses": {code: {"description": "See the headers."} for code in ("200", "400", "401", "404", "507")},
        },
        "put": {
            "summary": "Store a file, whole or, with Content-Range, part after part.",
            "requestBody": {"required": True} | bytes_,
            "responses": stored | _refusals(400, 404, 409, 411, 422, 507),
        },
        "delete": {
            "summary": "Remove a file of a checkpoint, or one that is damaged.",
            "parameters": [damaged],
            "responses": {"204": {"description": "It is not here any more."}} | _refusals(400, 403, 404),
        },
    }


def _error() -> _Document:
    return _object(error=_object(kind=_TEXT, message=_TEXT))


def _job() -> _Document:
    """As `hive show --json`."""
    story = {"type": "array", "items": _object(at=_TIME, event=_TEXT)}
    return _object(**_listed()["properties"], story=story, units={"type": "object", "additionalProperties": _TEXT})


def _listed() -> _Document:
    """As an item of `hive jobs --json`, with the parameters that name previews."""
    progress = _object(done={"type": "number"}, total={"type": ["number", "null"]}, unit=_TEXT, message=_TEXT)
    return _object(
        id=_TEXT,
        capability=_TEXT,
        task=_TEXT,
        queue=_TEXT,
        state={"enum": [str(one) for one in State]},
        parameters={"type": "object"},
        inputs={"type": "object"},
        outputs={"type": "object"},
        measures={"type": "object"},
        submitted_at=_TIME,
        started_at=_TIME,
        finished_at=_TIME,
        attempts=_COUNT,
        worker=_MAYBE_TEXT,
        progress={"anyOf": [progress, {"type": "null"}]},
        error={"anyOf": [_object(kind=_TEXT, message=_TEXT), {"type": "null"}]},
        cost_usd={"type": ["number", "null"]},
        priority={"enum": [str(one) for one in Priority]},
        previews={"type": "array", "items": _TEXT},
    )


def _worker() -> _Document:
    return _object(
        name=_TEXT,
        host=_TEXT,
        capabilities={"type": "array", "items": _TEXT},
        slots=_COUNT,
        busy=_COUNT,
        cpu_percent={"type": "number"},
        memory_bytes=_COUNT,
        gpus={"type": "array", "items": _TEXT},
        price_usd_per_h={"type": ["number", "null"]},
        last_seen=_TIME,
        clock_skew_s={"type": "number"},
        terms={"type": "object"},
        idle_s={"type": ["number", "null"]},
        tunnel={"type": ["object", "null"]},
    )


def _queue() -> _Document:
    return _object(name=_TEXT, queued=_COUNT, running=_COUNT, oldest_s={"type": "number"}, workers=_COUNT)


def _status() -> _Document:
    return _object(
        broker=_object(address=_TEXT, state=_TEXT),
        gateway=_object(address=_TEXT, state=_TEXT),
        home={"type": ["object", "null"]},
        orchestrator=_object(
            **_cost(),
            cpu_percent_since_start={"type": "number"},
            processes={"type": "array", "items": _process()},
            budget=_object(**_cost()),
        ),
        workers=_COUNT,
        queued=_COUNT,
        running=_COUNT,
    )


def _metrics() -> _Document:
    responses = _answers(200, _TEXT, 503)
    responses["200"]["content"] = {"text/plain": {"schema": _TEXT}}
    return {"summary": "What goes on, for Prometheus.", "responses": responses}


def _ticket() -> _Document:
    return _object(path=_TEXT, good_for_s={"type": "number"})


def _process() -> _Document:
    since_start = {"cpu_percent_since_start": {"type": "number"}, "age_s": {"type": "number"}}
    return _object(name=_TEXT, **_cost(), **since_start)


def _cost() -> dict[str, _Document]:
    return {"cpu_percent": {"type": "number"}, "memory_bytes": _COUNT}
