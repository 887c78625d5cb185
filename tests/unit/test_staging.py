"""Files by content: nothing half-stored, nothing wrong used, no name leads out of its folder."""

import os

import pytest

from hive.errors import BadParameterError, SettingError, StagingError
from hive.staging import BlobStore, Cache, Reference, digest_of


@pytest.fixture
def store(tmp_path):
    return BlobStore((tmp_path / "store").as_uri())


def stored_files(tmp_path):
    return [path for path in (tmp_path / "store").rglob("*") if path.is_file()]


def make_file(path, size=3_000_000):
    path.write_bytes(os.urandom(size))
    return Reference(digest_of(path), path.name)


def test_a_file_comes_back_as_it_was_sent(store, tmp_path):
    reference = make_file(tmp_path / "a.bin", 20_000_000)
    store.put(tmp_path / "a.bin", reference)
    store.fetch(reference, tmp_path / "b.bin")
    assert digest_of(tmp_path / "b.bin") == reference.digest


def test_a_file_that_changes_while_it_is_sent_is_not_stored(store, tmp_path):
    reference = make_file(tmp_path / "a.bin")
    make_file(tmp_path / "a.bin")
    with pytest.raises(StagingError, match="changed while it was sent"):
        store.put(tmp_path / "a.bin", reference)
    assert not store.has(reference.digest)
    assert stored_files(tmp_path) == []


def test_a_damaged_file_in_the_store_is_never_used(store, tmp_path):
    reference = make_file(tmp_path / "a.bin")
    store.put(tmp_path / "a.bin", reference)
    [blob] = stored_files(tmp_path)
    blob.write_bytes(b"damaged" + blob.read_bytes()[7:])
    with pytest.raises(StagingError, match="its digest is wrong"):
        store.fetch(reference, tmp_path / "b.bin")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "store"]


def test_storing_twice_keeps_one(store, tmp_path):
    reference = make_file(tmp_path / "a.bin")
    store.put(tmp_path / "a.bin", reference)
    store.put(tmp_path / "a.bin", reference)
    assert len(stored_files(tmp_path)) == 1


def test_a_file_that_is_not_there_is_said_so(store, tmp_path):
    with pytest.raises(StagingError, match="is not in the store"):
        store.fetch(Reference("0" * 64, "a.bin"), tmp_path / "b.bin")


@pytest.mark.parametrize("url", ["", "s3://bucket", "/folder", "file://"])
def test_a_store_that_is_not_known_is_refused(url):
    with pytest.raises(SettingError, match="HIVE_STORE cannot be"):
        BlobStore(url)


def test_a_cached_file_is_not_fetched_again_and_cannot_be_changed_by_a_task(store, tmp_path):
    reference = make_file(tmp_path / "a.bin")
    store.put(tmp_path / "a.bin", reference)
    cache = Cache(tmp_path / "cache", store)
    with cache.scratch("one") as scratch:
        scratch.mkdir(parents=True)
        first = cache.place(reference, scratch)
        assert first.stat().st_mode & 0o222 == 0
    stored_files(tmp_path)[0].unlink()
    with cache.scratch("two") as scratch:
        scratch.mkdir(parents=True)
        assert digest_of(cache.place(reference, scratch)) == reference.digest


def test_scratch_is_removed_also_after_a_failure(store, tmp_path):
    cache = Cache(tmp_path / "cache", store)

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
