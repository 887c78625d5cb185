"""The submitting side: check a call, stage its files, send it, wait, bring back."""

from hive.client.api import RemoteJob, failure_of, map, options, submit
from hive.client.many import RemoteJobs
from hive.client.observer import Observer
from hive.client.request import Request, make_request
from hive.client.session import Session

__all__ = [
    "Observer",
    "RemoteJob",
    "RemoteJobs",
    "Request",
    "Session",
    "failure_of",
    "make_request",
    "map",
    "options",
    "submit",
]
