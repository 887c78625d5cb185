"""Jobs: their records, their logs, and who works on them."""

from hive.jobs.changes import Changes, Happened
from hive.jobs.hour import Hour
from hive.jobs.listing import Listing, Page, Wanted
from hive.jobs.logs import LogEntry, LogStore
from hive.jobs.record import Job, Priority, Specification, State
from hive.jobs.registry import QueueReport, Registry, WorkerReport
from hive.jobs.spending import Spending
from hive.jobs.store import JobStore, in_batches, new_id
from hive.jobs.totals import Totals, read_totals

__all__ = [
    "Changes",
    "Happened",
    "Hour",
    "Job",
    "JobStore",
    "Listing",
    "LogEntry",
    "LogStore",
    "Page",
    "Priority",
    "QueueReport",
    "Registry",
    "Specification",
    "Spending",
    "State",
    "Totals",
    "Wanted",
    "WorkerReport",
    "in_batches",
    "new_id",
    "read_totals",
]
