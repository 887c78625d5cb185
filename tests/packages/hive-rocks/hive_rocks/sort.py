"""Sort the rocks of a collection."""

from dataclasses import dataclass

from hive.task import AnyInput, InputFolder, OutputFolder
from hive_rocks import rocks


@dataclass(frozen=True)
class Sorted:
    """How many rocks lie where."""

    names: list[str]
    notes: list[str]


@rocks.task
def sort(collection: InputFolder, notes: list[AnyInput] = [], *, drawers: OutputFolder) -> Sorted:
    """Put each file of a folder into a drawer named after its first letter."""
    files = sorted(path for path in collection.rglob("*") if path.is_file())
    for file in files:
        drawer = drawers / file.name[0]
        drawer.mkdir(exist_ok=True)
        (drawer / file.name).write_bytes(file.read_bytes())
    return Sorted([file.relative_to(collection).as_posix() for file in files], [note.read_text() for note in notes])
