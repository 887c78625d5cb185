"""Files on their way down: checked, atomic, and never over something newer."""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hive.client.observer import Observer
from hive.errors import BadFileError, StagingError
from hive.jobs import Job
from hive.staging import BlobStore, Reference, digest_of, pack_folder, unpack

_AT_ONCE = 4


class Downloads:
    """Brings a job's written files from the store to where they are wanted."""

    def __init__(self, store: BlobStore, watcher: Observer, *, force: bool) -> None:
        self._store = store
        self._watcher = watcher
        self._force = force

    def bring(self, job: Job, places: Mapping[str, Path]) -> None:
        """Bring what is not there yet, each to its place by parameter.

        Raises
        ------
        BadFileError
            Something there is newer than the job, and `force` is not set; or a folder is gone.
        StagingError
            A file is missing from the store or damaged, or cannot be written.
        """
        wanted = {name: Reference.parse(text) for name, text in job.outputs.items()}
        missing = {places[name]: one for name, one in wanted.items() if not _is_there(places[name], one)}
        for place, reference in missing.items():
            if not place.parent.is_dir():
                raise BadFileError(f"The folder {place.parent} is gone. Bring the files elsewhere: hive fetch ID DIR.")
            if not reference.is_folder:
                self._refuse_newer(place, job)
        if not missing:
            return
        self._watcher.begin("download", sum(self._store.size(one.digest) or 0 for one in missing.values()))
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(lambda one: self._bring(job, one[0], one[1]), missing.items()))
        finally:
            self._watcher.end()

    def _bring(self, job: Job, place: Path, reference: Reference) -> None:
        try:
            if reference.is_folder:
                self._bring_folder(job, place, reference)
            else:
                self._store.fetch(reference, place, self._watcher.advance)
        except OSError as error:
            raise StagingError(f"{place} cannot be written: {error.strerror}.") from error

    def _bring_folder(self, job: Job, place: Path, reference: Reference) -> None:
        """Unpack beside the place, then rename: the whole where nothing is there, otherwise file by file."""
        pack = place.with_name(f".{reference.digest[:16]}.tar")
        self._store.fetch(reference, pack, self._watcher.advance)
        try:
            with tempfile.TemporaryDirectory(prefix=".hive-", dir=place.parent) as passing:
                fresh = Path(passing, place.name)
                fresh.mkdir()
                files = unpack(pack, fresh)
                if not place.exists():
                    fresh.replace(place)
                else:
                    self._merge(job, {file: place / file.relative_to(fresh) for file in files})
        finally:
            pack.unlink(missing_ok=True)

    def _merge(self, job: Job, moves: Mapping[Path, Path]) -> None:
        for file, target in moves.items():
            if not (target.is_file() and digest_of(target) == digest_of(file)):
                self._refuse_newer(target, job)
        for file, target in moves.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)

    def _refuse_newer(self, place: Path, job: Job) -> None:
        if not self._force and place.exists() and place.stat().st_mtime > job.submitted_at.timestamp():
            raise BadFileError(
                f"{place} is newer than the job {job.short_id}. Overwrite it: hive fetch {job.short_id} --force. "
                f"Or bring the files elsewhere: hive fetch {job.short_id} DIR."
            )


def _is_there(place: Path, reference: Reference) -> bool:
    if reference.is_folder:
        return place.is_dir() and digest_of(pack_folder(place)) == reference.digest
    return place.is_file() and digest_of(place) == reference.digest
