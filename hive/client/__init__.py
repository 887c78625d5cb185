"""The submitting side: check a call, stage its files, send it, wait, bring back."""

from hive.client.client import Client, map, submit
from hive.client.job import Job, Jobs, failure_of
from hive.client.observer import Observer
from hive.client.request import Request, make_request
from hive.client.session import Session

__all__ = [
    "Client",
    "Job",
    "Jobs",
    "Observer",
    "Request",
    "Session",
    "failure_of",
    "make_request",
    "map",
    "submit",
]
