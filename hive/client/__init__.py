"""The submitting side: check a call, stage its files, send it, wait, bring back."""

from hive.client.job import Job, Jobs, failure_of, map, submit, with_options
from hive.client.observer import Observer
from hive.client.request import Request, make_request
from hive.client.session import Session

__all__ = [
    "Job",
    "Jobs",
    "Observer",
    "Request",
    "Session",
    "failure_of",
    "make_request",
    "map",
    "submit",
    "with_options",
]
