"""Rented machines: Hive starts, watches and ends them, so that none is left running unused."""

from hive.machines.launch import Launch, LaunchPlan, LaunchRequest, Row, make_plan, rows
from hive.machines.records import Machine, Records
from hive.machines.sweep import end, sweep

__all__ = ["Launch", "LaunchPlan", "LaunchRequest", "Machine", "Records", "Row", "end", "make_plan", "rows", "sweep"]
