"""`/workers`, `/queue`, `/status`: who is there, what waits, what the Mac side costs."""

import os
from typing import Any

from hive.broker import reachable
from hive.client import Session
from hive.gateway.answers import Answer
from hive.orchestrator import overview
from hive.orchestrator.tunnels import states, with_tunnels


class Workers(Answer):
    """All workers."""

    async def get(self) -> None:
        """List them as `hive workers --json` does."""
        self.say(await self.blocking(_workers, self.application.session))


class Queue(Answer):
    """All queues."""

    async def get(self) -> None:
        """Count them as `hive queues --json` does."""
        self.say(await self.blocking(_queues, self.application.session))


class Status(Answer):
    """The whole of this Hive."""

    async def get(self) -> None:
        """Show it as `hive status --json` does."""
        self.say(await self.blocking(overview, self.application.session, os.getpid()))


def _workers(session: Session) -> list[dict[str, Any]]:
    with reachable(session.settings):
        return with_tunnels(session.registry.workers(), states(session.settings))


def _queues(session: Session) -> list[dict[str, Any]]:
    with reachable(session.settings):
        return [vars(one) for one in session.registry.queues()]
