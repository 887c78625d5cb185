"""What a worker reports of itself."""

from collections.abc import Mapping
from typing import Any

import msgspec

from hive.wire.record import Record, Value


class WorkerReport(Record, frozen=True, omit_defaults=False):
    """What a worker says of itself; `cpu_percent` is of one core, over the time since its last report.

    `clock_s` is the time that its clock shows [s since 1970]; `terms` are what must be the same on the laptop; `idle_s`
    says for how long it has had no job. An older Hive reports no `terms`.
    """

    name: str
    host: str
    capabilities: tuple[str, ...]
    slots: int
    busy: int = 0
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    gpus: tuple[str, ...] = ()
    price_usd_per_h: float | None = None
    pid: int | None = None
    version: str = ""
    clock_s: float | None = None
    terms: Mapping[str, Value] | None = None
    idle_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields that `hive workers --json` and the HTTP API show, but for when the report came."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in fields.items() if name not in ("v", "clock_s")}
