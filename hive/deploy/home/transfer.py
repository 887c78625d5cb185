"""The files of a home on their way to another machine and back: Redis' data, and the gateway's files by content.

What has come is complete before it takes its place. What the other side has already is not sent again, so a move that
broke goes on where it was.
"""

import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from hive.deploy.ssh import Connection
from hive.errors import DeployError

REDIS, STORE = "redis/appendonlydir", "store"
# What may be in a home's list of files: names that Redis and the store give, and nothing that leads out of the folder.
_NAME = re.compile(
    r"redis/appendonlydir/[\w-][\w.-]*|store/(?:sha256|checkpoint/[0-9a-f]+)/[0-9a-f]{2}/[0-9a-f]+", re.ASCII
)
_LINE = re.compile(r"\s*(\d+) (\S+)")
_BATCH_BYTES, _BATCH_FILES = 256 << 20, 1000
_LEAST_S, _SLOWEST_BYTES_PER_S = 120.0, 50_000
_BLOCK_BYTES = 1 << 20
_PUT = """sh -c 'umask 077; cd "$HOME/.hive-home/{name}" && mkdir -p incoming && tar -xf - -C incoming'"""
_GET = """sh -c 'tar -cf - -C "$HOME/.hive-home/{name}/home" -T -'"""

Sizes = Mapping[str, int]


def files_of(home: Path, part: str) -> Sizes:
    """Names below a home, and sizes [bytes]."""
    found = {one.relative_to(home).as_posix(): one for one in (home / part).rglob("*") if one.is_file()}
    return {name: file.stat().st_size for name, file in sorted(found.items()) if _NAME.fullmatch(name)}


def read_list(text: str, part: str) -> Sizes:
    r"""What the list of the other side says.

    >>> read_list("  12 store/sha256/ab/abcd\n 7 store/../../x\n 19 total\n", "store")
    {'store/sha256/ab/abcd': 12}
    """
    found = [match for line in text.splitlines() if (match := _LINE.fullmatch(line))]
    return {one[2]: int(one[1]) for one in found if one[2].startswith(f"{part}/") and _NAME.fullmatch(one[2])}


def lacking(source: Sizes, target: Sizes) -> Sizes:
    """What is not there yet, or not whole."""
    return {name: size for name, size in source.items() if target.get(name) != size}


def put(connection: Connection, name: str, home: Path, batch: Sizes) -> None:
    """Send files to where they wait until they are taken (`control.sh take`)."""

    def write(stream: IO[bytes]) -> None:
        with tarfile.open(fileobj=stream, mode="w|") as tar:
            for one in batch:
                tar.add(home / one, one, recursive=False, filter=_ours)

    connection.stream(_PUT.format(name=name), write, _patience_s(batch))


def get(connection: Connection, name: str, folder: Path, batch: Sizes) -> None:
    """Bring files into a folder; each appears there when it is whole.

    Raises
    ------
    DeployError
        Not all of them came.
    """
    names = "".join(f"{one}\n" for one in batch).encode()
    left = dict(batch)
    connection.read(_GET.format(name=name), names, lambda stream: _unpack(stream, folder, left), _patience_s(batch))
    if left:
        raise DeployError(f"{connection.destination} did not give {len(left)} of {len(batch)} files. Run this again.")


def batches(sizes: Sizes) -> Iterator[Sizes]:
    """Parts that are sent one after the other, so that little is sent again after a break.

    >>> [list(one) for one in batches({"a": 1, "b": 300 << 20, "c": 1})]
    [['a'], ['b'], ['c']]
    """
    batch: dict[str, int] = {}
    for name, size in sizes.items():
        if batch and (sum(batch.values()) + size > _BATCH_BYTES or len(batch) == _BATCH_FILES):
            yield batch
            batch = {}
        batch[name] = size
    if batch:
        yield batch


def words(sizes: Sizes) -> str:
    """How much it is, for people."""
    return f"{len(sizes)} {'file' if len(sizes) == 1 else 'files'}, {sum(sizes.values()) / 1e6:.1f} MB"


def exchange(folder: Path, place: Path) -> None:
    """Put a folder in the place of another."""
    if place.exists():
        shutil.rmtree(place)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.rename(place)


def _ours(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Of whoever unpacks it, and readable by nobody else."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600
    return entry


def _unpack(stream: IO[bytes], folder: Path, left: dict[str, int]) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            content = tar.extractfile(entry) if entry.isfile() else None
            if content is None or left.get(entry.name) != entry.size:
                continue  # not what was asked for
            _write(content, folder / entry.name)
            del left[entry.name]


def _write(content: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, _BLOCK_BYTES)
    unfinished.replace(path)


def _patience_s(batch: Sizes) -> float:
    return _LEAST_S + sum(batch.values()) / _SLOWEST_BYTES_PER_S
