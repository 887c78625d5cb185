"""Rocks: a capability that does not come with Hive."""

from hive.task import Capability

rocks = Capability("rocks", "Weigh rocks.")
