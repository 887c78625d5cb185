"""Files by content: nothing half-stored, nothing wrong used, no name leads out of its folder."""

import os
import tarfile
import time

import pytest

from hive.errors import BadFileError, BadParameterError, StagingError
from hive.staging import Cache, FileContent, Reference, digest_of, pack_files, pack_folder, unpack
from hive.staging.contents import Digests
from hive.staging.objects import ObjectBlobs
from tests.support import wait_until


@pytest.fixture
def store(tmp_path):
    return ObjectBlobs((tmp_path / "store").as_uri())


def stored_files(tmp_path):
    return [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def make_file(path, size=3_000_000):
    path.write_bytes(os.urandom(size))
    return Reference(digest_of(path), path.name)


def test_a_file_comes_back_as_it_was_sent(store, tmp_path):
    reference = make_file(tmp_path / "a.bin", 20_000_000)
    store.put(FileContent(tmp_path / "a.bin"), reference)
    store.fetch(reference, tmp_path / "b.bin")
    assert digest_of(tmp_path / "b.bin") == reference.digest


def test_a_file_that_changes_while_it_is_sent_is_not_stored(store, tmp_path):
    reference = make_file(tmp_path / "a.bin")
    make_file(tmp_path / "a.bin")
    with pytest.raises(StagingError, match="changed while it was sent"):
        store.put(FileContent(tmp_path / "a.bin"), reference)
    assert not store.has(reference.digest)
    assert stored_files(tmp_path) == []


def test_a_damaged_file_in_the_store_is_never_used(store, tmp_path):
    reference = make_file(tmp_path / "a.bin")
    store.put(FileContent(tmp_path / "a.bin"), reference)
    [blob] = stored_files(tmp_path)
    blob.write_bytes(b"damaged" + blob.read_bytes()[7:])
    with pytest.raises(StagingError, match="its digest was wrong. It is removed there"):
        store.fetch(reference, tmp_path / "b.bin")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "store"]
    assert not store.has(reference.digest)  # so that the next submission sends it anew


def test_storing_twice_keeps_one(store, tmp_path):
    reference = make_file(tmp_path / "a.bin")
    store.put(FileContent(tmp_path / "a.bin"), reference)
    store.put(FileContent(tmp_path / "a.bin"), reference)
    assert len(stored_files(tmp_path)) == 1


def test_a_file_that_is_not_there_is_said_so(store, tmp_path):
    with pytest.raises(StagingError, match="is not in the store"):
        store.fetch(Reference("0" * 64, "a.bin"), tmp_path / "b.bin")


def test_a_cached_file_is_not_fetched_again_and_cannot_be_changed_by_a_task(store, tmp_path):
    reference = make_file(tmp_path / "a.bin")
    store.put(FileContent(tmp_path / "a.bin"), reference)
    cache = Cache(tmp_path / "cache", store, 10**9)
    with cache.scratch("one") as scratch:
        scratch.mkdir(parents=True)
        first = cache.place(reference, scratch)
        assert first.stat().st_mode & 0o222 == 0
    stored_files(tmp_path)[0].unlink()
    with cache.scratch("two") as scratch:
        scratch.mkdir(parents=True)
        assert digest_of(cache.place(reference, scratch)) == reference.digest


def test_scratch_is_removed_also_after_a_failure(store, tmp_path):
    cache = Cache(tmp_path / "cache", store, 10**9)

    def fail_in(scratch):
        scratch.mkdir(parents=True)
        (scratch / "left.bin").touch()
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"), cache.scratch("job") as scratch:
        fail_in(scratch)
    assert list((tmp_path / "cache" / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "a/b", "a\\b", "..", ".", "a\0b", "a\nb", "x" * 300, "ü" * 200]
)
def test_a_name_never_leads_out_of_its_folder(name):
    with pytest.raises(BadParameterError):
        Reference.parse(f"sha256:{'0' * 64}/{name}")


@pytest.mark.parametrize("name", ["tile.laz", "Gelände 1.laz", "-rf", "{x}.laz", "$(touch x).laz"])
def test_ordinary_and_odd_names_are_kept_as_they_are(name):
    assert Reference.parse(f"sha256:{'0' * 64}/{name}").name == name


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def scan(tmp_path):
    folder = tmp_path / "scan"
    (folder / "depth").mkdir(parents=True)
    (folder / "empty").mkdir()
    for number in range(3):
        (folder / "depth" / f"{number}.png").write_bytes(os.urandom(1000 * number))
    (folder / "run.sh").write_text("#!/bin/sh")
    (folder / "run.sh").chmod(0o755)
    return folder


def test_a_folder_comes_back_as_it_was_sent(store, scan, tmp_path):
    pack = pack_folder(scan)
    reference = Reference(digest_of(pack), "scan", is_folder=True)
    store.put(pack, reference)
    store.fetch(reference, tmp_path / "scan.tar")
    (tmp_path / "back").mkdir()
    unpack(tmp_path / "scan.tar", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(scan)
    assert (tmp_path / "back" / "empty").is_dir()
    assert os.access(tmp_path / "back" / "run.sh", os.X_OK)


def test_a_pack_depends_on_nothing_but_its_content(scan, tmp_path):
    before = digest_of(pack_folder(scan))
    os.utime(scan / "run.sh", (1, 1))
    scan.rename(tmp_path / "elsewhere")
    assert digest_of(pack_folder(tmp_path / "elsewhere")) == before


def test_a_pack_can_be_read_from_any_place_on(scan):
    pack = pack_folder(scan)
    whole = b"".join(pack.read())
    assert len(whole) == pack.size
    assert all(b"".join(pack.read(start)) == whole[start:] for start in (0, 1, 511, 512, 1500, 4000, pack.size))


def test_a_pack_of_files_keeps_their_order_and_equal_names(tmp_path):
    names = [tmp_path / "b" / "x.txt", tmp_path / "a" / "x.txt"]
    for number, path in enumerate(names):
        path.parent.mkdir()
        path.write_text(str(number))
    (tmp_path / "pack.tar").write_bytes(b"".join(pack_files("two", names).read()))
    (tmp_path / "back").mkdir()
    assert [path.read_text() for path in unpack(tmp_path / "pack.tar", tmp_path / "back")] == ["0", "1"]


@pytest.mark.parametrize("rules", [".hiveignore", ".gitignore"])
def test_what_the_rules_of_a_folder_name_stays_here(scan, rules):
    (scan / ".git").mkdir()
    (scan / ".git" / "config").touch()
    (scan / rules).write_text("*.png\n!1.png\nempty/\n")
    assert [one.name for one in pack_folder(scan).members] == [rules, "depth/1.png", "run.sh"]


def test_a_link_out_of_a_folder_is_refused(scan, tmp_path):
    (tmp_path / "secret").touch()
    (scan / "inside").symlink_to("run.sh")
    assert "inside" in [one.name for one in pack_folder(scan).members]
    (scan / "outside").symlink_to(tmp_path / "secret")
    with pytest.raises(BadFileError, match=r"outside is a link out of the folder.*\.hiveignore"):
        pack_folder(scan)


@pytest.mark.parametrize(("make", "words"), [
    (lambda path: path.symlink_to("depth"), "is a link to a folder"),
    (lambda path: path.symlink_to("nowhere"), "cannot be read"),
    (os.mkfifo, "is neither a file nor a folder"),
    (lambda path: (path.parent / os.fsdecode(b"\xff")).touch(), "no UTF-8"),
])  # fmt: skip
def test_what_cannot_travel_is_refused_by_name(scan, make, words):
    make(scan / "odd")
    with pytest.raises(BadFileError, match=words):
        pack_folder(scan)


def test_a_file_that_shrinks_while_its_folder_is_sent_is_noticed(scan):
    pack = pack_folder(scan)
    (scan / "depth" / "2.png").write_bytes(b"short")
    with pytest.raises(StagingError, match="changed while it was sent"):
        list(pack.read())


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b", "a\\b"])
def test_a_pack_that_leads_out_of_its_folder_is_refused(tmp_path, name):
    with tarfile.open(tmp_path / "bad.tar", "w") as bad:
        bad.addfile(tarfile.TarInfo(name))
    (tmp_path / "in").mkdir()
    with pytest.raises(BadParameterError):
        unpack(tmp_path / "bad.tar", tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_pack_holds_nothing_but_files_and_folders(tmp_path, kind):
    entry = tarfile.TarInfo("x")
    entry.type, entry.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "bad.tar", "w") as bad:
        bad.addfile(entry)
    with pytest.raises(StagingError, match="neither a file nor a folder"):
        unpack(tmp_path / "bad.tar", tmp_path)


def test_the_cache_forgets_what_was_used_longest_ago(store, tmp_path):
    cache = Cache(tmp_path / "cache", store, 7_000_000)
    references = [make_file(tmp_path / f"{number}.bin") for number in range(3)]
    for number, reference in enumerate(references):
        store.put(FileContent(tmp_path / f"{number}.bin"), reference)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for number, reference in enumerate([*references[:2], references[0], references[2]]):
        placed = cache.place(reference, scratch)
        os.utime(tmp_path / "cache" / "sha256" / reference.digest[:2] / reference.digest, (number, number))
        placed.unlink()
    kept = {path.name for path in (tmp_path / "cache" / "sha256").rglob("*") if path.is_file()}
    assert kept == {references[0].digest, references[2].digest}


def test_a_file_in_use_survives_that_the_cache_forgets_it(store, tmp_path):
    reference = make_file(tmp_path / "a.bin")
    store.put(FileContent(tmp_path / "a.bin"), reference)
    placed = Cache(tmp_path / "cache", store, 1).place(reference, tmp_path / "store")
    other = make_file(tmp_path / "b.bin")
    store.put(FileContent(tmp_path / "b.bin"), other)
    Cache(tmp_path / "cache", store, 1).place(other, tmp_path)
    assert digest_of(placed) == reference.digest


def test_a_file_too_large_for_the_disk_is_refused_before_it_is_fetched(store, tmp_path, monkeypatch):
    reference = make_file(tmp_path / "a.bin")
    store.put(FileContent(tmp_path / "a.bin"), reference)
    cache = Cache(tmp_path / "cache", store, 10**9)
    monkeypatch.setattr(Cache, "_free", lambda _: (256 << 20) + 1_000_000)
    with pytest.raises(
        StagingError, match="needs 2.9 MiB on this worker, and .* has 1.0 MiB to spare. Make room there"
    ):
        cache.place(reference, tmp_path / "store")


def test_a_download_goes_on_where_it_was_cut(store, tmp_path):
    reference = make_file(tmp_path / "a.bin", 20_000_000)
    store.put(FileContent(tmp_path / "a.bin"), reference)
    cut = tmp_path / f".{reference.digest[:16]}.part"
    cut.write_bytes((tmp_path / "a.bin").read_bytes()[:12_000_000])
    moved = []
    store.fetch(reference, tmp_path / "b.bin", moved.append)
    assert digest_of(tmp_path / "b.bin") == reference.digest
    assert max(moved[12:]) <= 8 << 20
    assert sum(moved) == 20_000_000
    assert not cut.exists()


def test_what_was_left_of_another_download_is_not_believed(store, tmp_path):
    reference = make_file(tmp_path / "a.bin")
    store.put(FileContent(tmp_path / "a.bin"), reference)
    (tmp_path / f".{reference.digest[:16]}.part").write_bytes(os.urandom(4_000_000))  # longer than the file
    store.fetch(reference, tmp_path / "b.bin")
    assert digest_of(tmp_path / "b.bin") == reference.digest


def test_a_large_file_that_has_not_changed_is_not_read_again(tmp_path):
    path = tmp_path / "large.bin"
    digest = make_file(path).digest
    os.utime(path, (1, 1))
    digests = Digests(tmp_path / "home")
    wait_until(lambda: time.time() - path.stat().st_ctime > 2.1, "the file has settled")
    read: list[int] = []
    assert digests.of(FileContent(path), read.append) == digest
    assert len(read) == 3  # blocks of 1 MiB
    assert digests.of(FileContent(path), read.append) == digest
    assert read[3:] == [3_000_000]
    path.write_bytes(os.urandom(3_000_000))
    os.utime(path, (1, 1))
    assert digests.of(FileContent(path)) == digest_of(path) != digest
