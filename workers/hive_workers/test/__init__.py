"""Checking a fleet: served by every worker, on every queue."""

from hive.task import Capability

test = Capability("test", "Check a fleet: is there a worker, does it run, report and come back?", default="probe")
