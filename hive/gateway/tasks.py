"""`/task`: send a job, list jobs, see one, stop it, run it again."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from tornado.web import HTTPError

from hive.broker import reachable
from hive.catalog import find_task
from hive.client import Session
from hive.client.request import Request, make_remote_request, with_files
from hive.client.shown import shown, shown_whole
from hive.client.why import explain, look_around
from hive.errors import BadParameterError
from hive.gateway.answers import Answer
from hive.jobs import Job, Listing, Priority, State, Wanted

_MOST_LISTED = 1000
_FIELDS = {"type": str, "params": dict, "queue": str, "priority": str}


class Tasks(Answer):
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
        request = await self.blocking(_request, self._asked())
        job_id = await self.blocking(self.application.session.submit, request)
        self.say({"id": job_id, "state": "queued", "url": f"/task/{job_id}"}, HTTPStatus.ACCEPTED)

    def _asked(self) -> dict[str, Any]:
        body = self.json_body()
        for name, value in body.items():
            if name not in _FIELDS:
                raise HTTPError(HTTPStatus.BAD_REQUEST, reason=f"Known fields are {', '.join(_FIELDS)}")
            if not isinstance(value, _FIELDS[name]):
                kind = "an object" if _FIELDS[name] is dict else "text"
                raise HTTPError(HTTPStatus.BAD_REQUEST, reason=f"{name} must be {kind}")
        if "type" not in body:
            raise HTTPError(HTTPStatus.BAD_REQUEST, reason="Name the type of the task, such as gis.dtm")
        return body


def _request(asked: dict[str, Any]) -> Request:
    task = find_task(asked["type"])
    values = with_files(task, asked.get("params", {}))
    return make_remote_request(task, values, asked.get("queue"), asked.get("priority", Priority.NORMAL))


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


class OneTask(Answer):
    """One job."""

    async def get(self, job_id: str) -> None:
        """Show the job as `hive show --json` does."""
        job = await self.blocking(self.application.session.find, job_id)
        self.say(await self.blocking(shown_whole, job))


class Why(Answer):
    """Why a job is where it is."""

    async def get(self, job_id: str) -> None:
        """Say so, and what to do, as `hive why --json` does."""
        session = self.application.session
        job = await self.blocking(session.find, job_id)
        self.say(await self.blocking(_why, session, job))


def _why(session: Session, job: Job) -> dict[str, str]:
    reason = explain(job, look_around(session, job))
    return {"id": job.id, "state": str(job.state), "why": reason.why, "todo": reason.todo}


class Change(Answer):
    """A job that is to be stopped, or to be run again."""

    def initialize(self, step: Callable[[Session, Job], object]) -> None:
        """Do what `hive.client.control` does for the command of that name."""
        self._step = step

    async def post(self, job_id: str) -> None:
        """Do it, and show the job as it is then."""
        session = self.application.session
        job = await self.blocking(session.find, job_id)
        await self.blocking(self._step, session, job)
        self.say(shown_whole(await self.blocking(session.find, job.id)), HTTPStatus.ACCEPTED)
