"""Gravity: what buried bodies do to a gravimeter."""

from hive.task import Capability

gravity = Capability("gravity", "Model the pull of buried bodies.")
