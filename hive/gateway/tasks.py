"""Jobs over HTTP: send, look, cancel, and read logs."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from hive.catalog import find_task
from hive.client import Session
from hive.client.explain import explain, look_around, shown, shown_whole
from hive.client.request import Request, make_remote_request, with_files
from hive.errors import BadParameterError
from hive.gateway.answers import Handler
from hive.options import JobOptions, job_options
from hive.store import Listing, LogEntry, Wanted
from hive.store.connection import reachable
from hive.store.logs import BEGINNING
from hive.wire.job import JobRecord, State

_MOST_LISTED = 1000
_OWN_FIELDS: Mapping[str, tuple[type, str]] = {"type": (str, "text"), "params": (dict, "an object")}


class Tasks(Handler):
    """All jobs."""

    async def get(self) -> None:
        """List the newest first; `state`, `capability` and `text` say which, `limit` how many, `after` which."""
        wanted = Wanted(
            frozenset(_state(one) for one in self.get_query_arguments("state")),
            self.get_query_argument("capability", ""),
            self.get_query_argument("text", ""),
        )
        limit = _limit(self.get_query_argument("limit", "100"))
        after = self.get_query_argument("after", "")
        self.say(await self.blocking(_list, self.application.session, wanted, limit, after))

    async def post(self) -> None:
        """Send a job; answers at once, with where to look for it."""
        self.say(await self.blocking(_submit, self.application.session, self._body()), HTTPStatus.ACCEPTED)

    def _body(self) -> dict[str, Any]:
        body = self.json_body()
        known = [*_OWN_FIELDS, *(option.name for option in job_options())]
        if any(name not in known for name in body):
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason=f"Known fields are {', '.join(known)}")
        for name, (kind, words) in _OWN_FIELDS.items():
            if name in body and not isinstance(body[name], kind):
                raise HTTPError(HTTPStatus.BAD_REQUEST, reason=f"{name} must be {words}")
        if "type" not in body:
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="Name the type of the task, such as gis.dtm")
        return body


def _submit(client: Session, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send what a body asks for; `warnings` says what could not be checked."""
    request = _request(body)
    warnings: list[str] = []
    client.check_budget([request], warnings.append)
    job_id = client.submit(request)
    return {"id": job_id, "state": str(State.QUEUED), "url": f"/task/{job_id}", "warnings": warnings}


def _request(body: Mapping[str, Any]) -> Request:
    task = find_task(body["type"])
    options = JobOptions.read({name: value for name, value in body.items() if name not in _OWN_FIELDS})
    return make_remote_request(task, with_files(task, body.get("params", {})), options)


def _state(text: str) -> State:
    if text not in set(State):
        raise BadParameterError(f"state must be one of {', '.join(State)}, not {text[:40]!r}.")
    return State(text)


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MOST_LISTED):
        raise BadParameterError(f"limit must be a number from 1 to {_MOST_LISTED}, not {text[:40]!r}.")
    return int(text)


def _list(session: Session, wanted: Wanted, limit: int, after: str) -> dict[str, Any]:
    with reachable(session.settings):
        page = Listing(session.broker, session.jobs).page(wanted, limit, after)
    return {"jobs": [shown(job) for job in page.jobs], "after": page.after or None}


class OneTask(Handler):
    """One job."""

    async def get(self, job_id: str) -> None:
        """Show the job as `hive show --json` does."""
        job = await self.blocking(self.application.session.find, job_id)
        self.say(await self.blocking(shown_whole, job))


class Why(Handler):
    """Why a job is where it is."""

    async def get(self, job_id: str) -> None:
        """Say so, and what to do, as `hive why --json` does."""
        session = self.application.session
        job = await self.blocking(session.find, job_id)
        self.say(await self.blocking(_why, session, job))


def _why(session: Session, job: JobRecord) -> dict[str, str]:
    reason = explain(job, look_around(session, job))
    return {"id": job.id, "state": str(job.state), "why": reason.why, "todo": reason.todo}


class Change(Handler):
    """A job that is to be stopped, or to be run again."""

    def initialize(self, step: Callable[[Session, JobRecord], object]) -> None:
        """Do what `Session` does for the command of that name."""
        self._step = step

    async def post(self, job_id: str) -> None:
        """Do it, and show the job as it is then."""
        session = self.application.session
        job = await self.blocking(session.find, job_id)
        await self.blocking(self._step, session, job)
        self.say(shown_whole(await self.blocking(session.find, job.id)), HTTPStatus.ACCEPTED)


_ENTRY = re.compile(r"\d{1,19}-\d{1,19}")
_LOOK_EVERY_S = 0.5
# A line that says nothing, so that proxies and browsers do not take the connection for dead.
_SIGN_OF_LIFE_S = 15.0


class Logs(Handler):
    """The log of one job."""

    async def get(self, job_id: str) -> None:
        """Give the lines that are kept; with `follow=1` each new one too, as server-sent events."""
        session = self.application.session
        job = await self.blocking(session.find, job_id)
        wanted = self.get_query_argument("follow", "0")
        if wanted not in ("0", "1"):
            self.refuse(HTTPStatus.BAD_REQUEST, "bad-parameter", "follow must be 0 or 1.")
        elif wanted == "0":
            self.say([entry.to_json() for entry in await self.blocking(self._after, job.id, BEGINNING)])
        else:
            self.set_header("Content-Type", "text/event-stream; charset=utf-8")
            try:
                known = self.request.headers.get("Last-Event-ID", "")
                await self._follow(job.id, known if _ENTRY.fullmatch(known) else BEGINNING)
            except StreamClosedError:
                return  # whoever read it has gone

    def _after(self, job_id: str, known: str) -> list[LogEntry]:
        session = self.application.session
        with reachable(session.settings):
            return list(session.logs.read(job_id, known))

    async def _follow(self, job_id: str, last: str) -> None:
        quiet_s = 0.0
        while True:
            job = await self.blocking(
                self.application.session.find, job_id
            )  # before its lines: none comes after its end
            entries = await self.blocking(self._after, job_id, last)
            for entry in entries:
                self.write(f"id: {entry.id}\ndata: {json.dumps(entry.to_json(), ensure_ascii=False)}\n\n")
                last = entry.id
            quiet_s = 0.0 if entries else quiet_s + _LOOK_EVERY_S
            if quiet_s >= _SIGN_OF_LIFE_S:
                self.write(":\n\n")
                quiet_s = 0.0
            await self.flush()
            if job.state.is_final:
                self.write("event: end\ndata: {}\n\n")
                return
            await asyncio.sleep(_LOOK_EVERY_S)
