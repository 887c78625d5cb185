"""`/task/ID/logs`: the lines that a job has written, now or as they come."""

import asyncio
import json
import re
from http import HTTPStatus

from tornado.iostream import StreamClosedError

from hive.broker import reachable
from hive.gateway.answers import Answer
from hive.jobs import LogEntry
from hive.jobs.logs import BEGINNING

_ENTRY = re.compile(r"\d{1,19}-\d{1,19}")
_LOOK_EVERY_S = 0.5
# A line that says nothing, so that proxies and browsers do not take the connection for dead.
_SIGN_OF_LIFE_S = 15.0


class Logs(Answer):
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
