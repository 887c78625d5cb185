"""What a check finds, and what it may look at."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

import redis

from hive.client import Session
from hive.errors import HiveError
from hive.settings import Settings


class Verdict(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One sentence on what a check has found, and how to fix it; empty where all is well."""

    check: str
    verdict: Verdict
    message: str
    todo: str = ""

    def to_json(self) -> dict[str, str]:
        """The fields that `--json` shows."""
        return {"check": self.check, "state": str(self.verdict), "message": self.message, "todo": self.todo}


@dataclass(frozen=True)
class Patient:
    """The Hive that is looked at; what several checks need is asked for once."""

    session: Session

    @property
    def settings(self) -> Settings:
        """The settings of this call."""
        return self.session.settings

    @cached_property
    def redis_is_there(self) -> bool:
        """Whether Redis answers to this password."""
        try:
            return bool(self.session.broker.ping())
        except (redis.RedisError, OSError, HiveError):
            return False

    @cached_property
    def redis_info(self) -> Mapping[str, Any]:
        """What Redis tells of itself."""
        return self.session.broker.info()

    @cached_property
    def workers(self) -> list[dict[str, Any]]:
        """The workers that are there."""
        return self.session.registry.workers()


@dataclass(frozen=True)
class Check:
    """A named look at one thing. One that `needs_redis` is left out where Redis does not answer."""

    name: str
    look: Callable[[Patient], Iterator[tuple[Verdict, str, str]]]
    needs_redis: bool = field(default=False, kw_only=True)

    def findings(self, patient: Patient) -> Iterator[Finding]:
        """What it finds."""
        for verdict, message, todo in self.look(patient):
            yield Finding(self.name, verdict, message, todo)


Results = Iterator[tuple[Verdict, str, str]]


def ok(message: str) -> tuple[Verdict, str, str]:
    """All is well."""
    return Verdict.OK, message, ""


def warning(message: str, todo: str) -> tuple[Verdict, str, str]:
    """Something may go wrong."""
    return Verdict.WARNING, message, todo


def problem(message: str, todo: str) -> tuple[Verdict, str, str]:
    """Something is wrong."""
    return Verdict.PROBLEM, message, todo
