"""Machines that Hive rents: started, watched and ended, so that none is left running that nobody uses."""

from hive.fleet.drivers import PROVIDERS, open_provider
from hive.fleet.launch import Launch, Plan, Wish, make_plan
from hive.fleet.listing import Row, rows
from hive.fleet.machine import Machine, Records
from hive.fleet.provider import Order, Provider, Resource
from hive.fleet.sweep import end, sweep

__all__ = [
    "PROVIDERS",
    "Launch",
    "Machine",
    "Order",
    "Plan",
    "Provider",
    "Records",
    "Resource",
    "Row",
    "Wish",
    "end",
    "make_plan",
    "open_provider",
    "rows",
    "sweep",
]
