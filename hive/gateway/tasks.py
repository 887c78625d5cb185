"""Jobs over HTTP: submit, list, show, explain, cancel, retry, and read logs."""

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from hive.catalog import all_tasks, find_task
from hive.client import Session
from hive.client.explain import explain, job_document, job_document_with_story, look_around
from hive.client.request import Request, make_remote_request, with_files
from hive.errors import BadParameterError
from hive.gateway.context import Route
from hive.gateway.handler import Handler
from hive.gateway.openapi import (
    COUNT,
    EVENT,
    MAYBE_TEXT,
    STATE,
    TEXT,
    TIME,
    array,
    content,
    query,
    ref,
    responses,
    structure,
)
from hive.options import JobOptions, job_options
from hive.store import JobFilter, Listing, LogEntry
from hive.store.connection import reachable
from hive.store.logs import BEGINNING
from hive.wire.job import JobRecord, State

_MAX_LISTED = 1000
_OWN_FIELDS: Mapping[str, tuple[type, str]] = {"type": (str, "text"), "params": (dict, "an object")}


class Tasks(Handler):
    """All jobs."""

    async def get(self) -> None:
        """List the newest first: `state`, `task`, `capability`, `text` and `since` filter, `limit` and `after` page."""
        job_filter = JobFilter(
            frozenset(map(State.read, self.get_query_arguments("state"))),
            self.get_query_argument("capability", ""),
            self.get_query_argument("text", ""),
            self.get_query_argument("task", ""),
            _since(self.get_query_argument("since", None)),
        )
        limit = _limit(self.get_query_argument("limit", "100"))
        after = self.get_query_argument("after", "")
        self.send_json(await self.in_thread(_list, self.context.session, job_filter, limit, after))

    async def post(self) -> None:
        """Submit a job; responds at once, with the path of the job."""
        self.send_json(await self.in_thread(_submit, self.context.session, self._body()), HTTPStatus.ACCEPTED)

    def _body(self) -> dict[str, Any]:
        body = self.json_body()
        fields = [*_OWN_FIELDS, *(option.name for option in job_options())]
        if any(name not in fields for name in body):
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason=f"Known fields are {', '.join(fields)}")
        for name, (kind, words) in _OWN_FIELDS.items():
            if name in body and not isinstance(body[name], kind):
                raise HTTPError(HTTPStatus.BAD_REQUEST, reason=f"{name} must be {words}")
        if "type" not in body:
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="Name the type of the task, such as gis.dtm")
        return body


def _submit(session: Session, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send what a body asks for; `warnings` says what could not be checked."""
    request = _request(body)
    warnings: list[str] = []
    session.check_budget([request], warnings.append)
    job_id = session.submit(request)
    return {"id": job_id, "state": str(State.QUEUED), "url": f"/task/{job_id}", "warnings": warnings}


def _request(body: Mapping[str, Any]) -> Request:
    task = find_task(body["type"])
    options = JobOptions.read({name: value for name, value in body.items() if name not in _OWN_FIELDS})
    return make_remote_request(task, with_files(task, body.get("params", {})), options)


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise BadParameterError(f"since must be a time such as 2026-11-26T14:30:00Z, not {text[:40]!r}.")
    return time


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MAX_LISTED):
        raise BadParameterError(f"limit must be a number from 1 to {_MAX_LISTED}, not {text[:40]!r}.")
    return int(text)


def _list(session: Session, job_filter: JobFilter, limit: int, after: str) -> dict[str, Any]:
    with reachable(session.settings):
        page = Listing(session.broker, session.jobs).page(job_filter, limit, after)
    return {"jobs": [job_document(job) for job in page.jobs], "after": page.after or None}


def _tasks_api() -> Mapping[str, Any]:
    filters = [
        query("limit", "How many jobs; 100 by default.", {"type": "integer", "minimum": 1, "maximum": _MAX_LISTED}),
        query("state", "Only jobs in one of these states.", array(STATE)),
        query("task", "Only jobs of this task.", TEXT),
        query("since", "Only jobs submitted at that time or later.", {"type": "string", "format": "date-time"}),
        query("capability", "Only jobs of this capability.", TEXT),
        query("text", "Only jobs with this in their id, task, worker, file names or error.", TEXT),
        query("after", "Continue after this job: `after` of the previous page.", TEXT),
    ]
    page = structure(jobs=array(ref("Listed")), after=MAYBE_TEXT)
    submitted = structure(id=TEXT, state={"const": "queued"}, url=TEXT, warnings=array(TEXT))
    return {
        "get": {
            "summary": "List jobs, newest first.",
            "parameters": filters,
            "responses": responses(200, page, 400, 404, 503),
        },
        "post": {
            "summary": "Submit a job.",
            "requestBody": {"required": True} | content(_submission()),
            "responses": responses(202, submitted, 400, 402, 404, 413, 503),
        },
    }


def _submission() -> dict[str, Any]:
    """The body of `POST /task`; each task's parameters are those of `hive describe TASK --json`."""
    return {
        "type": "object",
        "properties": {
            "type": {"type": "string", "examples": [task.wire_name for task in all_tasks()]},
            "params": {"type": "object", "description": "The task's parameters; files are references or URLs."},
            **{option.name: {**option.schema, "description": option.help} for option in job_options()},
        },
        "required": ["type"],
        "additionalProperties": False,
    }


class OneTask(Handler):
    """One job."""

    async def get(self, job_id: str) -> None:
        """Show the job as `hive show --json` does."""
        job = await self.in_thread(self.context.session.find, job_id)
        self.send_json(await self.in_thread(job_document_with_story, job))


def _one_task_api() -> Mapping[str, Any]:
    return {"get": {"summary": "Show a job, with its history.", "responses": responses(200, ref("Job"), 404, 503)}}


class Why(Handler):
    """Why a job is in its state."""

    async def get(self, job_id: str) -> None:
        """Say so, and what to do, as `hive why --json` does."""
        session = self.context.session
        job = await self.in_thread(session.find, job_id)
        self.send_json(await self.in_thread(_why, session, job))


def _why(session: Session, job: JobRecord) -> dict[str, str]:
    reason = explain(job, look_around(session, job))
    return {"id": job.id, "state": str(job.state), "why": reason.why, "todo": reason.todo}


def _why_api() -> Mapping[str, Any]:
    reason = structure(id=TEXT, state=STATE, why=TEXT, todo=TEXT)
    summary = "Explain why a job is in its state, and what to do."
    return {"get": {"summary": summary, "responses": responses(200, reason, 404, 503)}}


class Cancel(Handler):
    """A job that is to be cancelled."""

    async def post(self, job_id: str) -> None:
        """Cancel it, and show the job as it is then."""
        session = self.context.session
        job = await self.in_thread(session.find, job_id)
        await self.in_thread(session.cancel, job)
        self.send_json(job_document_with_story(await self.in_thread(session.find, job.id)), HTTPStatus.ACCEPTED)


class Retry(Handler):
    """A failed or cancelled job that is to be run again."""

    async def post(self, job_id: str) -> None:
        """Retry it, and show the job as it is then."""
        session = self.context.session
        job = await self.in_thread(session.find, job_id)
        await self.in_thread(session.retry, job)
        self.send_json(job_document_with_story(await self.in_thread(session.find, job.id)), HTTPStatus.ACCEPTED)


def _cancel_api() -> Mapping[str, Any]:
    return {"post": {"summary": "Cancel a job.", "responses": responses(202, ref("Job"), 404, 409, 503)}}


def _retry_api() -> Mapping[str, Any]:
    summary = "Run a failed or cancelled job again."
    return {"post": {"summary": summary, "responses": responses(202, ref("Job"), 404, 409, 503)}}


_ENTRY = re.compile(r"\d{1,19}-\d{1,19}")
_POLL_S = 0.5
# A comment line keeps proxies and browsers from closing a silent connection.
_KEEP_ALIVE_S = 15.0


class Logs(Handler):
    """The log of one job."""

    async def get(self, job_id: str) -> None:
        """Send the stored lines; with `follow=1` each new one too, as server-sent events."""
        session = self.context.session
        job = await self.in_thread(session.find, job_id)
        follow = self.get_query_argument("follow", "0")
        if follow not in ("0", "1"):
            self.refuse(HTTPStatus.BAD_REQUEST, "bad-parameter", "follow must be 0 or 1.")
        elif follow == "0":
            self.send_json([entry.to_json() for entry in await self.in_thread(self._after, job.id, BEGINNING)])
        else:
            self.set_header("Content-Type", "text/event-stream; charset=utf-8")
            try:
                last_id = self.request.headers.get("Last-Event-ID", "")
                await self._follow(job.id, last_id if _ENTRY.fullmatch(last_id) else BEGINNING)
            except StreamClosedError:
                return  # the reader has disconnected

    def _after(self, job_id: str, last_id: str) -> list[LogEntry]:
        session = self.context.session
        with reachable(session.settings):
            return list(session.logs.read(job_id, last_id))

    async def _follow(self, job_id: str, last: str) -> None:
        quiet_s = 0.0
        while True:
            job = await self.in_thread(self.context.session.find, job_id)  # before its lines: none comes after its end
            entries = await self.in_thread(self._after, job_id, last)
            for entry in entries:
                self.write(f"id: {entry.id}\ndata: {json.dumps(entry.to_json(), ensure_ascii=False)}\n\n")
                last = entry.id
            quiet_s = 0.0 if entries else quiet_s + _POLL_S
            if quiet_s >= _KEEP_ALIVE_S:
                self.write(":\n\n")
                quiet_s = 0.0
            await self.flush()
            if job.state.is_final:
                self.write("event: end\ndata: {}\n\n")
                return
            await asyncio.sleep(_POLL_S)


def _logs_api() -> Mapping[str, Any]:
    lines = responses(200, array(structure(time=TIME, level=TEXT, attempt=COUNT, text=TEXT)), 400, 404, 503)
    lines["200"]["content"] |= content(EVENT, "text/event-stream")["content"]
    words = "1: send each line as it is written, as server-sent events, until the job has ended."
    follow = query("follow", words, {"enum": ["0", "1"]})
    return {"get": {"summary": "Read a job's log.", "parameters": [follow], "responses": lines}}


ROUTES = (
    Route("/task", Tasks, _tasks_api),
    Route("/task/{id}", OneTask, _one_task_api),
    Route("/task/{id}/cancel", Cancel, _cancel_api),
    Route("/task/{id}/retry", Retry, _retry_api),
    Route("/task/{id}/why", Why, _why_api),
    Route("/task/{id}/logs", Logs, _logs_api),
)
