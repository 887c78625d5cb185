"""The files of an attempt: from the store into its scratch folder, and from there back into the store."""

from collections.abc import Iterable
from pathlib import Path

from hive.staging import (
    BlobStore,
    Cache,
    Content,
    FileContent,
    Reference,
    Remote,
    digest_of,
    pack_folder,
    safe_name,
    total_bytes,
    unpack,
)
from hive.task.parameter import Parameter
from hive.task.values import Json


def fetch(cache: Cache, scratch: Path, parameter: Parameter, source: Json) -> Path | list[Path]:
    """Put the file or files of one parameter into a folder of their own, so that equal names do not meet."""
    folder = scratch / "in" / parameter.name
    if isinstance(source, list):
        return [_fetch_one(cache, folder / str(number), part) for number, part in enumerate(source)]
    fetched = _fetch_one(cache, folder, source)
    if parameter.is_repeated:  # many small files, which travelled as one
        return sorted(path for path in fetched.rglob("*") if path.is_file())
    return fetched


def _fetch_one(cache: Cache, folder: Path, source: Json) -> Path:
    folder.mkdir(parents=True)
    if Remote.matches(str(source)):
        return Remote.parse(str(source)).fetch(folder)
    reference = Reference.parse(str(source))
    path = cache.place(reference, folder)
    return _unpacked(path) if reference.is_folder else path


def size_bytes(inputs: Iterable[Path | list[Path]]) -> int:
    """How much a task reads: all its files, and those in its folders."""
    return total_bytes([path for paths in inputs for path in (paths if isinstance(paths, list) else [paths])])


def _unpacked(pack: Path) -> Path:
    """Replace a pack by the folder of its name."""
    archive = pack.rename(pack.parent.with_suffix(".pack"))
    pack.mkdir()
    unpack(archive, pack)
    archive.unlink()
    return pack


def output_path(scratch: Path, parameter: Parameter, name: str) -> Path:
    """Where the task writes; a folder is there when the task starts."""
    path = scratch / "out" / safe_name(parameter.name) / safe_name(name)
    (path if parameter.is_folder else path.parent).mkdir(parents=True)
    return path


def store(blobs: BlobStore, path: Path) -> Reference:
    """Upload a file or a folder to the store, unless it is there already."""
    content: Content = pack_folder(path) if path.is_dir() else FileContent(path)
    reference = Reference(digest_of(content), path.name, is_folder=path.is_dir())
    if not blobs.has(reference.digest):
        blobs.put(content, reference)
    return reference


def download(blobs: BlobStore, reference: Reference, path: Path) -> None:
    """Write what another job has written to a path of this one."""
    if not reference.is_folder:
        blobs.fetch(reference, path)
        return
    pack = path.with_name(f".{reference.digest[:16]}.tar")
    blobs.fetch(reference, pack)
    path.mkdir(exist_ok=True)
    unpack(pack, path)
    pack.unlink()
