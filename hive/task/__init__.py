"""What the author of a task needs: declare it, name its files, report its progress."""

from hive.task.context import Attempt, Progress, checkpoint, current_attempt, progress, stopping
from hive.task.declaration import Capability, Limits, Task
from hive.task.files import (
    AnyInput,
    AnyOutput,
    InputFolder,
    OutputFolder,
    PointCloud,
    PointClouds,
    Preview,
    Raster,
    Read,
    Waveform,
    Written,
    replaced_atomically,
)
from hive.task.parts import Part, in_parts, part

__all__ = [
    "AnyInput",
    "AnyOutput",
    "Attempt",
    "Capability",
    "InputFolder",
    "Limits",
    "OutputFolder",
    "Part",
    "PointCloud",
    "PointClouds",
    "Preview",
    "Progress",
    "Raster",
    "Read",
    "Task",
    "Waveform",
    "Written",
    "checkpoint",
    "current_attempt",
    "in_parts",
    "part",
    "progress",
    "replaced_atomically",
    "stopping",
]
