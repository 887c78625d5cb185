"""Jobs: their records, their logs, and who works on them."""

from hive.jobs.logs import LogEntry, LogStore
from hive.jobs.record import Job, Priority, Specification, State
from hive.jobs.registry import QueueReport, Registry, WorkerReport
from hive.jobs.store import JobStore, in_batches, new_id
from hive.jobs.totals import Totals, read_totals

__all__ = [
    "Job",
    "JobStore",
    "LogEntry",
    "LogStore",
    "Priority",
    "QueueReport",
    "Registry",
    "Specification",
    "State",
    "Totals",
    "WorkerReport",
    "in_batches",
    "new_id",
    "read_totals",
]
