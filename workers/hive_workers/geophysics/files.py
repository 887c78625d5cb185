"""The kinds of files that the tasks of this capability write."""

from pathlib import Path
from typing import Annotated

from hive.task import Written

QuakeML = Annotated[Path, Written("QuakeML file", (".xml", ".quakeml", ".qml"))]
Table = Annotated[Path, Written("table", (".csv",))]
