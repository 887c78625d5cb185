"""Files on their way between this machine and the store, for the jobs of a client."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from hive.client.observer import Observer
from hive.client.request import Request, Source
from hive.errors import BadFileError, StagingError
from hive.staging import (
    BlobStore,
    Content,
    FileContent,
    Pack,
    Reference,
    Remote,
    digest_of,
    pack_files,
    pack_folder,
    unpack,
)
from hive.staging.contents import Digests
from hive.task.parameter import Parameter
from hive.task.values import Json
from hive.wire.job import JobRecord

# A list of more files than these, of this size at most on average, travels as one.
_MANY, _SMALL_BYTES = 32, 1 << 20
_AT_ONCE = 4


@dataclass(frozen=True)
class _Piece:
    """One thing that travels: what it is called at the other end, and where it comes from."""

    name: str
    source: Content | Reference | Remote


_Named = _Piece | list[_Piece]


class Uploads:
    """Brings the files of requests into the store."""

    def __init__(self, store: BlobStore, digests: Digests) -> None:
        self._store = store
        self._digests = digests

    def stage(self, requests: Sequence[Request], watcher: Observer) -> list[dict[str, Json]]:
        """Send what the store lacks; returns the references of each request, by parameter.

        Raises
        ------
        BadFileError
            A file cannot be read, a folder holds something that cannot be sent, or a reference is not in the store.
        StagingError
            A file changed or vanished on its way.
        UnreachableError
            The store does not answer.
        """
        by_request = [_pieces(request) for request in requests]
        sources = [piece.source for pieces in by_request for named in pieces.values() for piece in _listed(named)]
        self._refuse_unknown([source for source in sources if isinstance(source, Reference)])
        digests = self._hash([source for source in sources if not isinstance(source, Reference | Remote)], watcher)
        self._upload(digests, watcher)
        return [{name: _references(named, digests) for name, named in pieces.items()} for pieces in by_request]

    def _refuse_unknown(self, references: Sequence[Reference]) -> None:
        missing = self._store.missing({reference.digest for reference in references}) if references else set()
        for reference in references:
            if reference.digest in missing:
                raise BadFileError(f"{reference} is not in the store {self._store.url}. Give the file's path instead.")

    def _hash(self, contents: Iterable[Content], watcher: Observer) -> dict[Content, str]:
        unique = list(dict.fromkeys(contents))
        if not unique:
            return {}
        try:
            watcher.begin("hash", sum(content.size for content in unique))
            return {content: self._digests.of(content, watcher.advance) for content in unique}
        except OSError as error:
            raise BadFileError(f"{error.filename} cannot be read: {error.strerror}.") from error
        finally:
            watcher.end()

    def _upload(self, digests: Mapping[Content, str], watcher: Observer) -> None:
        """Send several files at once; where one fails, or on Ctrl-C, the others end too."""
        missing = self._store.missing(set(digests.values())) if digests else set()
        lacking = {digest: content for content, digest in digests.items() if digest in missing}
        if not lacking:
            return
        over = Event()

        def advance(count: int) -> None:
            if over.is_set():
                raise StagingError("Sending was stopped.")
            watcher.advance(count)

        watcher.begin("upload", sum(content.size for content in lacking.values()))
        pool = ThreadPoolExecutor(_AT_ONCE)
        sent = [pool.submit(self._put, content, digest, advance) for digest, content in lacking.items()]
        try:
            for upload in as_completed(sent):
                upload.result()
        finally:
            over.set()
            pool.shutdown(wait=False, cancel_futures=True)
            watcher.end()

    def _put(self, content: Content, digest: str, advance: Callable[[int], None]) -> None:
        try:
            self._store.put(content, Reference(digest, Path(content.name).name), advance)
        except OSError as error:
            raise StagingError(f"{content.name} cannot be read: {error.strerror}.") from error


def _pieces(request: Request) -> dict[str, _Named]:
    """What travels for a request, by parameter."""
    pieces: dict[str, _Named] = {}
    for parameter in request.task.reads:
        sources = request.sources.get(parameter.name, ())
        if sources:
            pieces[parameter.name] = _listed_pieces(parameter, sources) if parameter.is_repeated else _piece(sources[0])
    return pieces


def _listed_pieces(parameter: Parameter, sources: Sequence[Source]) -> _Named:
    paths = [source for source in sources if isinstance(source, Path)]
    is_packed = len(paths) == len(sources) > _MANY and not parameter.is_folder
    if is_packed and sum(path.stat().st_size for path in paths) <= len(paths) * _SMALL_BYTES:
        return _Piece(parameter.name, pack_files(f"the {len(paths)} files of {parameter.name}", paths))
    return [_piece(source) for source in sources]


def _piece(source: Source) -> _Piece:
    if isinstance(source, Reference | Remote):
        return _Piece(source.name, source)
    if source.is_dir():
        return _Piece(source.resolve().name, pack_folder(source))
    return _Piece(source.name, FileContent(source))


def _listed(named: _Named) -> list[_Piece]:
    return named if isinstance(named, list) else [named]


def _references(named: _Named, digests: Mapping[Content, str]) -> Json:
    """The references of one parameter; a list that is packed has one for all."""
    if isinstance(named, list):
        return [_references(piece, digests) for piece in named]
    source = named.source
    if isinstance(source, Reference | Remote):
        return str(source)
    return str(Reference(digests[source], named.name, is_folder=isinstance(source, Pack)))


class Downloads:
    """Brings a job's written files from the store to their places."""

    def __init__(self, store: BlobStore, watcher: Observer, *, force: bool) -> None:
        self._store = store
        self._watcher = watcher
        self._force = force

    def download(self, job: JobRecord, places: Mapping[str, Path]) -> None:
        """Bring what is not there yet, each to its place by parameter.

        Raises
        ------
        BadFileError
            Something there is newer than the job, and `force` is not set; or a folder is gone.
        StagingError
            A file is missing from the store or damaged, or cannot be written.
        """
        references = {name: Reference.parse(text) for name, text in job.outputs.items()}
        missing = {
            places[name]: reference for name, reference in references.items() if not _is_there(places[name], reference)
        }
        for place, reference in missing.items():
            if not place.parent.is_dir():
                raise BadFileError(f"The folder {place.parent} is gone. Fetch the files elsewhere: hive fetch ID DIR.")
            if not reference.is_folder:
                self._refuse_newer(place, job)
        if not missing:
            return
        self._watcher.begin("download", sum(self._store.size(reference.digest) or 0 for reference in missing.values()))
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(lambda item: self._download(job, *item), missing.items()))
        finally:
            self._watcher.end()

    def _download(self, job: JobRecord, place: Path, reference: Reference) -> None:
        try:
            if reference.is_folder:
                self._download_folder(job, place, reference)
            else:
                self._store.fetch(reference, place, self._watcher.advance)
        except OSError as error:
            raise StagingError(f"{place} cannot be written: {error.strerror}.") from error

    def _download_folder(self, job: JobRecord, place: Path, reference: Reference) -> None:
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

    def _merge(self, job: JobRecord, moves: Mapping[Path, Path]) -> None:
        for file, target in moves.items():
            if not (target.is_file() and digest_of(target) == digest_of(file)):
                self._refuse_newer(target, job)
        for file, target in moves.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            file.replace(target)

    def _refuse_newer(self, place: Path, job: JobRecord) -> None:
        if not self._force and place.exists() and place.stat().st_mtime > job.submitted_at.timestamp():
            raise BadFileError(
                f"{place} is newer than the job {job.short_id}. Overwrite it: hive fetch {job.short_id} --force. "
                f"Or fetch the files elsewhere: hive fetch {job.short_id} DIR."
            )


def _is_there(place: Path, reference: Reference) -> bool:
    if reference.is_folder:
        return place.is_dir() and digest_of(pack_folder(place)) == reference.digest
    return place.is_file() and digest_of(place) == reference.digest
