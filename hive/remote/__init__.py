"""Putting a worker on a machine over ssh, and taking it away again."""

from hive.remote.deploy import Deployed, Removed, deploy, refuse_unready, remove
from hive.remote.host import Host, Target, Via, is_same_host, name_for
from hive.remote.records import Record, find_all

__all__ = [
    "Deployed",
    "Host",
    "Record",
    "Removed",
    "Target",
    "Via",
    "deploy",
    "find_all",
    "is_same_host",
    "name_for",
    "refuse_unready",
    "remove",
]
