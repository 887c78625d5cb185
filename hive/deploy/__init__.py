"""Putting a worker on a machine over ssh, and taking it away again."""

from hive.deploy.deploying import Deployed, deploy, refuse_unready
from hive.deploy.host import Host
from hive.deploy.records import Record, find_all
from hive.deploy.removing import Removed, remove
from hive.deploy.target import Target, Via, is_same_host, name_for

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
