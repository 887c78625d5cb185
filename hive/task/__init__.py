"""What the author of a task needs: declare it, name its files, report its progress."""

from hive.task.context import Attempt, Progress, current_attempt, progress
from hive.task.declaration import Capability, Task
from hive.task.files import AnyInput, AnyOutput, PointCloud, Preview, Raster, Read, Written, replaced_atomically

__all__ = [
    "AnyInput",
    "AnyOutput",
    "Attempt",
    "Capability",
    "PointCloud",
    "Preview",
    "Progress",
    "Raster",
    "Read",
    "Task",
    "Written",
    "current_attempt",
    "progress",
    "replaced_atomically",
]
