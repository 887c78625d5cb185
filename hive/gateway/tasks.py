"""`/task`: send a job, see it, read its log, cancel it."""

from http import HTTPStatus
from typing import Any

from tornado.web import HTTPError

from hive.catalog import find_task
from hive.client import control
from hive.client.request import Request, make_remote_request, with_files
from hive.gateway.answers import Answer
from hive.jobs import Job, Priority

_FIELDS = {"type": str, "params": dict, "queue": str, "priority": str}


class Tasks(Answer):
    """All jobs."""

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


class OneTask(Answer):
    """One job."""

    async def get(self, job_id: str) -> None:
        """Show the job as `hive show --json` does."""
        job = await self.blocking(self.application.session.find, job_id)
        self.say(shown(job))


def shown(job: Job) -> dict[str, Any]:
    """A job with its story."""
    return job.to_json() | {"story": list(job.story)}


class Cancel(Answer):
    """The end of a job."""

    async def post(self, job_id: str) -> None:
        """Stop a job that waits or runs."""
        session = self.application.session
        job = await self.blocking(session.find, job_id)
        await self.blocking(control.cancel, session, job)
        self.say(shown(await self.blocking(session.find, job.id)), HTTPStatus.ACCEPTED)
