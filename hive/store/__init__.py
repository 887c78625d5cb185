"""What Redis keeps: job records and logs, workers and queues, accounts. Record types are in `hive.wire`."""

from hive.store.accounts import Spending, Totals, read_totals
from hive.store.jobs import JobStore, in_batches, new_id
from hive.store.listing import Changes, ChangeSet, Hour, JobFilter, Listing, Minute, Page
from hive.store.logs import LogEntry, LogStore
from hive.store.registry import QueueReport, Registry

__all__ = [
    "ChangeSet",
    "Changes",
    "Hour",
    "JobFilter",
    "JobStore",
    "Listing",
    "LogEntry",
    "LogStore",
    "Minute",
    "Page",
    "QueueReport",
    "Registry",
    "Spending",
    "Totals",
    "in_batches",
    "new_id",
    "read_totals",
]
