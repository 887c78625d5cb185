"""Machines that Hive rents: started, watched and ended, so that none is left running that nobody uses."""

from hive.machines.launch import Launch, LaunchPlan, LaunchRequest, Row, make_plan, rows
from hive.machines.sweep import end, sweep
from hive.providers.machine import Machine, Records
from hive.providers.provider import PROVIDERS, Order, Provider, Resource, open_provider

__all__ = [
    "PROVIDERS",
    "Launch",
    "LaunchPlan",
    "LaunchRequest",
    "Machine",
    "Order",
    "Provider",
    "Records",
    "Resource",
    "Row",
    "end",
    "make_plan",
    "open_provider",
    "rows",
    "sweep",
]
