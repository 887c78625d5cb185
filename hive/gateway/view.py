"""What the page shows of the whole Hive, and what has changed in it since the last look."""

import json
from typing import Any

from hive.broker import reachable
from hive.client import Session
from hive.client.shown import shown
from hive.jobs import Changes, Hour, Spending

Event = tuple[str, Any]


class View:
    """Looks at Redis for all pages together. Not to be used by two threads at the same time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._changes = Changes(session.broker, session.jobs)
        self._hour = Hour(session.broker, session.jobs)
        self._spending = Spending(session.broker)
        self._told: dict[str, str] = {}
        self._minutes: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Look for the first time, or again after nobody has looked.

        Raises
        ------
        UnreachableError
            Redis does not answer.
        """
        self._told = {}
        with reachable(self._session.settings):
            queues = [one.name for one in self._session.registry.queues()]
            self._changes.begin(queues)
            self._minutes = self._hour.read(queues)
        self.look()

    def whole(self) -> list[Event]:
        """All that a page needs which has just been opened, except the list of jobs."""
        known = [(name, json.loads(text)) for name, text in self._told.items() if name != "minute"]
        return [*known, ("hour", self._minutes)]

    def look(self) -> list[Event]:
        """Look again; returns what is different.

        Raises
        ------
        UnreachableError
            Redis does not answer.
        """
        registry = self._session.registry
        with reachable(self._session.settings):
            workers = registry.workers()
            queues = registry.queues(workers)
            names = [one.name for one in queues]
            happened = self._changes.look(names)
            minute = self._hour.now(names, sum(one.queued for one in queues))
            spending = self._spending.look(names)
        self._go_on(minute)
        parts: list[Event] = [
            ("workers", workers),
            ("queues", [vars(one) for one in queues]),
            ("spending", spending),
            ("minute", minute),
        ]
        events = [one for one in parts if self._is_new(*one)]
        if happened.jobs:
            events.append(("jobs", [shown(job) for job in happened.jobs]))
        if not happened.is_all:
            events.append(("many", {}))
        return events

    def _is_new(self, name: str, value: object) -> bool:
        text = json.dumps(value)
        is_new = self._told.get(name) != text
        self._told[name] = text
        return is_new

    def _go_on(self, minute: dict[str, Any]) -> None:
        """Put the present minute behind the others, or in the place of how it was before."""
        others = [one for one in self._minutes if one["at"] != minute["at"]]
        self._minutes = [*others, minute][-len(self._minutes) :]
