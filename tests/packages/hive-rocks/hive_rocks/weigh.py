"""Weigh a list of rocks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hive.task import AnyInput, AnyOutput, progress
from hive.units import Help, MoreThan
from hive_rocks import rocks


@dataclass(frozen=True)
class Weight:
    """What the rocks weigh."""

    rocks: int
    total_kg: float


@rocks.task
def weigh(
    tables: list[AnyInput],
    report: AnyOutput,
    *,
    density: Annotated[float, MoreThan(0), Help("Density of the rock [kg/m3].")] = 2700.0,
) -> Weight:
    """Add up volumes [m3], one per line, and write the weight to a file."""
    volumes = [float(line) for table in tables for line in Path(table).read_text().splitlines()]
    progress(len(volumes), len(volumes), "rocks", "weighed")
    total = density * sum(volumes)
    report.write_text(f"{total} kg\n")
    return Weight(len(volumes), total)
