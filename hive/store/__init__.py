"""Jobs: their records, their logs, and who works on them."""

from hive.store.accounts import Spending, Totals, read_totals
from hive.store.jobs import JobStore, in_batches, new_id
from hive.store.listing import Changes, ChangeSet, Hour, Listing, Page, Wanted
from hive.store.logs import LogEntry, LogStore
from hive.store.registry import QueueReport, Registry, WorkerReport
from hive.wire.job import JobRecord, Priority, Specification, State

__all__ = [
    "ChangeSet",
    "Changes",
    "Hour",
    "JobRecord",
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
