"""Installing workers on machines over ssh, and removing them; moving a home to a machine and back."""

from hive.remote.deploy import Deployed, Removed, deploy, refuse_unready, remove
from hive.remote.host import Host, Runtime, Target, is_same_host, name_for
from hive.remote.records import Record, find_all

__all__ = [
    "Deployed",
    "Host",
    "Record",
    "Removed",
    "Runtime",
    "Target",
    "deploy",
    "find_all",
    "is_same_host",
    "name_for",
    "refuse_unready",
    "remove",
]
