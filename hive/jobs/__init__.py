"""Jobs: their records, and who works on them."""

from hive.jobs.record import Job, Priority, Specification, State
from hive.jobs.registry import QueueReport, Registry, WorkerReport
from hive.jobs.store import JobStore, new_id

__all__ = ["Job", "JobStore", "Priority", "QueueReport", "Registry", "Specification", "State", "WorkerReport", "new_id"]
