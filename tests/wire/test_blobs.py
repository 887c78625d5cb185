"""Files through the gateway: whole or not at all, each byte once, and what is wrong is said."""

import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import threading
from http.client import HTTPConnection

import psutil
import pytest

from hive.errors import StagingError, UnreachableError
from hive.staging import FileContent, Reference, digest_of, pack_folder
from hive.staging.gateway import GatewayBlobs
from hive.staging.upload import PART_BYTES
from tests.support import missing, wait_until

pytestmark = pytest.mark.wire


@pytest.fixture
def own(hive):
    """A gateway that a test may end."""
    with hive.up(gateway=True):
        yield hive


def blobs_of(hive):
    return GatewayBlobs(f"{hive.settings.gateway_url}/blob", hive.settings.token)


def make_file(path, size):
    path.write_bytes(os.urandom(size))
    return Reference(digest_of(path), path.name)


def kept(hive):
    """Every file in the gateway's store, whole or not, but for its folders."""
    store = hive.home / "store"
    return sorted(path.relative_to(store).parts[0] for path in store.rglob("*") if path.is_file())


@pytest.mark.parametrize("size", [0, 1, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 17])
def test_a_file_comes_back_as_it_was_sent(mac, tmp_path, size):
    reference = make_file(tmp_path / "a.bin", size)
    moved, brought = [], []
    blobs = blobs_of(mac)
    blobs.put(FileContent(tmp_path / "a.bin"), reference, moved.append)
    assert (sum(moved), blobs.size(reference.digest)) == (size, size)
    blobs.fetch(reference, tmp_path / "b.bin", brought.append)
    assert (digest_of(tmp_path / "b.bin"), sum(brought)) == (reference.digest, size)


def test_a_folder_travels_through_the_gateway(mac, tmp_path):
    (tmp_path / "scan").mkdir()
    for number in range(50):
        make_file(tmp_path / "scan" / f"{number}.png", 500_000)
    pack = pack_folder(tmp_path / "scan")
    reference = Reference(digest_of(pack), "scan", is_folder=True)
    blobs_of(mac).put(pack, reference)
    blobs_of(mac).fetch(reference, tmp_path / "scan.tar")
    assert digest_of(tmp_path / "scan.tar") == reference.digest


def test_only_what_is_missing_is_named(mac, tmp_path):
    reference = make_file(tmp_path / "a.bin", 100)
    blobs_of(mac).put(FileContent(tmp_path / "a.bin"), reference)
    asked = [reference.digest, "0" * 64, *(f"{number:064x}" for number in range(2500))]
    assert blobs_of(mac).missing(asked) == set(asked) - {reference.digest}


@pytest.mark.parametrize("headers", [{}, {"Content-Range": "bytes 0-4/5"}])
def test_what_does_not_have_the_announced_digest_is_422_and_not_kept(web, mac, headers):
    before = kept(mac)
    answer = web.ask("PUT", f"/blob/{'1' * 64}", b"wrong", headers=headers)
    assert answer.status == 422
    assert "Nothing is kept" in answer.json()["error"]["message"]
    assert kept(mac) == before
    assert web.ask("HEAD", f"/blob/{'1' * 64}").headers["Upload-Offset"] == "0"


def test_a_file_that_changes_while_it_is_sent_is_not_kept(mac, tmp_path):
    reference = make_file(tmp_path / "a.bin", 3 * PART_BYTES)

    def change(_):
        (tmp_path / "a.bin").write_bytes(os.urandom(3 * PART_BYTES))

    with pytest.raises(StagingError, match="changed while it was sent"):
        blobs_of(mac).put(FileContent(tmp_path / "a.bin"), reference, change)
    assert not blobs_of(mac).has(reference.digest)


def test_one_wrong_part_of_somebody_else_does_not_stop_an_honest_sender(web, mac, tmp_path):
    reference = make_file(tmp_path / "a.bin", 2 * PART_BYTES)
    part = {"Content-Range": f"bytes 0-9/{2 * PART_BYTES}"}
    assert web.ask("PUT", f"/blob/{reference.digest}", b"0123456789", headers=part).status == 202
    blobs_of(mac).put(FileContent(tmp_path / "a.bin"), reference)
    assert blobs_of(mac).has(reference.digest)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Range": "bytes 7-11/12"}, 409),  # nothing is there yet
        ({"Content-Range": "bytes 0-4/4"}, 400),
        ({"Content-Range": "bytes 0-4/*"}, 400),
        ({"Content-Range": "lines 0-4/5"}, 400),
        ({"Content-Range": "bytes -1-4/5"}, 400),
        ({"Content-Range": f"bytes 0-4/{'9' * 40}"}, 400),
    ],
)
def test_a_part_that_does_not_fit_is_refused(web, mac, headers, status):
    assert web.ask("PUT", f"/blob/{'2' * 64}", b"wrong", headers=headers).status == status
    store = mac.home / "store"
    wait_until(lambda: not [path for path in store.rglob("*") if "2" * 64 in path.name], "nothing of it stays")


@pytest.mark.parametrize(
    "path",
    [
        "/blob/../../etc/passwd", "/blob/..%2f..%2fetc%2fpasswd", "/blob/" + "A" * 64, "/blob/" + "0" * 63,
        "/blob/" + "0" * 65, "/blob/" + "0" * 300, "/blob//etc/passwd", "/blob/%00", "/blob/%C3%BC",
        f"/blob/{'0' * 64}/x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_path_leads_out_of_the_store(web, mac, method, path):
    before = kept(mac)
    assert web.ask(method, path, b"x").status == 404
    assert kept(mac) == before


@pytest.mark.parametrize("area", ["..", "checkpoint/..", "checkpoint/../sha256", "incoming", "", "checkpoint/"])
def test_no_area_leads_out_of_the_store(web, area):
    assert web.ask("GET", f"/blob/{'0' * 64}?area={area}").status in (400, 404)
    assert web.ask("PUT", f"/blob/{'0' * 64}?area={area}", b"x").status in (400, 422)


def test_a_part_of_a_file_is_read_by_its_range(web):
    content = bytes(range(256)) * 10
    path = f"/blob/{hashlib.sha256(content).hexdigest()}"
    assert web.ask("PUT", path, content).status == 201
    assert web.ask("PUT", path, content).status == 200
    for asked, status, start, end in (
        ("bytes=0-9", 206, 0, 10), ("bytes=100-", 206, 100, 2560), ("bytes=2559-9999", 206, 2559, 2560),
        ("bytes=0-", 200, 0, 2560), ("bytes=5-2", 416, 0, 0), ("bytes=2560-", 416, 0, 0), ("nonsense", 200, 0, 2560),
    ):  # fmt: skip
        answer = web.ask("GET", path, headers={"Range": asked})
        assert answer.status == status, asked
        if status != 416:
            assert answer.body == content[start:end]
        if status == 206:
            assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/2560"


def test_files_of_jobs_are_not_removed_from_outside_but_damaged_ones_are(web, mac, tmp_path):
    reference = make_file(tmp_path / "a.bin", 1000)
    blobs_of(mac).put(FileContent(tmp_path / "a.bin"), reference)
    path = f"/blob/{reference.digest}"
    assert web.ask("DELETE", path).status == 403
    assert web.ask("DELETE", f"{path}?if=damaged").status == 204
    assert web.ask("HEAD", path).status == 200  # it is sound
    place = mac.home / "store" / "sha256" / reference.digest[:2] / reference.digest
    place.write_bytes(b"damaged" + place.read_bytes()[7:])
    with pytest.raises(StagingError, match=r"does not match its SHA-256.*submit the job again"):
        blobs_of(mac).fetch(reference, tmp_path / "b.bin")
    assert not (tmp_path / "b.bin").exists()
    assert web.ask("HEAD", path).status == 404
    blobs_of(mac).put(FileContent(tmp_path / "a.bin"), reference)
    blobs_of(mac).fetch(reference, tmp_path / "b.bin")


def test_files_of_a_checkpoint_are_kept_apart_and_can_be_removed(mac, tmp_path):
    reference = make_file(tmp_path / "a.bin", 1000)
    area = blobs_of(mac).area("checkpoint/0123abc")
    area.put(FileContent(tmp_path / "a.bin"), reference)
    assert (area.has(reference.digest), blobs_of(mac).has(reference.digest)) == (True, False)
    area.delete(reference.digest)
    assert not area.has(reference.digest)


def start_upload(web, digest, total, body, whole=None):
    """Send the head of a part and some of its body, and leave the line open."""
    line = socket.create_connection(("127.0.0.1", web.port))
    head = [
        f"PUT /blob/{digest} HTTP/1.1", "Host: x", f"Authorization: Bearer {web.token}",
        f"Content-Length: {whole or total}", f"Content-Range: bytes 0-{(whole or total) - 1}/{total}", "", "",
    ]  # fmt: skip
    line.sendall("\r\n".join(head).encode() + body)
    return line


def offset(web, digest):
    return int(web.ask("HEAD", f"/blob/{digest}").headers["Upload-Offset"])


def test_a_cut_upload_goes_on_where_it_was_cut(web, mac, tmp_path):
    reference = make_file(tmp_path / "a.bin", PART_BYTES)
    content = (tmp_path / "a.bin").read_bytes()
    line = start_upload(web, reference.digest, PART_BYTES, content[: 10 << 20])
    wait_until(lambda: offset(web, reference.digest) >= 9 << 20, "most of it has come")
    line.close()
    there = offset(web, reference.digest)
    assert not blobs_of(mac).has(reference.digest)
    moved = []
    blobs_of(mac).put(FileContent(tmp_path / "a.bin"), reference, moved.append)
    assert moved[0] >= there  # counted as done at once, not sent
    assert blobs_of(mac).has(reference.digest)


def test_an_upload_goes_on_after_the_gateway_was_killed(own, tmp_path):
    reference = make_file(tmp_path / "a.bin", 4 * PART_BYTES)
    blobs = blobs_of(own)
    received = []

    def kill_after_two_parts(count):
        received.append(count)
        if count and sum(received) == 2 * PART_BYTES:
            psutil.Process(int((own.home / "gateway" / "gateway.pid").read_text())).kill()

    def bring_back():
        wait_until(lambda: sum(received) == 2 * PART_BYTES, "two parts have come")
        own.run("up")

    helper = threading.Thread(target=bring_back)
    helper.start()
    blobs.put(FileContent(tmp_path / "a.bin"), reference, kill_after_two_parts)
    helper.join()
    assert sum(received) == 4 * PART_BYTES
    assert max(received) == PART_BYTES
    assert min(received) >= 0  # nothing that was there had to be sent again
    blobs.fetch(reference, tmp_path / "b.bin")


def test_a_download_goes_on_after_the_gateway_was_killed(own, tmp_path):
    reference = make_file(tmp_path / "a.bin", 64 << 20)
    blobs = blobs_of(own)
    blobs.put(FileContent(tmp_path / "a.bin"), reference)
    received = []

    def kill_in_the_middle(count):
        received.append(count)
        if len(received) == 20:
            psutil.Process(int((own.home / "gateway" / "gateway.pid").read_text())).kill()
            own.run("up")

    blobs.fetch(reference, tmp_path / "b.bin", kill_in_the_middle)
    assert digest_of(tmp_path / "b.bin") == reference.digest
    assert sum(received) == 64 << 20  # no byte was counted twice


def test_a_store_that_stays_away_is_said_and_the_next_try_goes_on(own, tmp_path, monkeypatch):
    monkeypatch.setattr("hive.staging.gateway.PROMPT_S", 0.5)
    reference = make_file(tmp_path / "a.bin", 3 * PART_BYTES)

    def stop_gateway(_):
        psutil.Process(int((own.home / "gateway" / "gateway.pid").read_text())).kill()

    with pytest.raises(UnreachableError, match="does not answer. Start it where it belongs: hive up"):
        blobs_of(own).put(FileContent(tmp_path / "a.bin"), reference, lambda count: count and stop_gateway(count))
    own.run("up")
    moved = []
    blobs_of(own).put(FileContent(tmp_path / "a.bin"), reference, moved.append)
    assert moved[0] >= PART_BYTES
    assert blobs_of(own).has(reference.digest)


def test_the_same_file_from_two_senders_travels_once(mac, tmp_path):
    size = 6 * PART_BYTES
    reference = make_file(tmp_path / "a.bin", size)
    read = []

    class Counted(FileContent):
        def read(self, start=0):
            for block in super().read(start):
                read.append(len(block))
                yield block

    senders = [
        threading.Thread(target=lambda: blobs_of(mac).put(Counted(tmp_path / "a.bin"), reference)) for _ in range(2)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    blobs_of(mac).fetch(reference, tmp_path / "b.bin")
    assert sum(read) <= size + 2 * PART_BYTES


def test_an_upload_that_ends_too_early_is_not_kept_as_a_file(web, mac):
    before = kept(mac)
    content = os.urandom(1_000_000)
    digest = hashlib.sha256(content).hexdigest()
    connection = HTTPConnection("127.0.0.1", web.port)
    connection.putrequest("PUT", f"/blob/{digest}")
    connection.putheader("Authorization", f"Bearer {web.token}")
    connection.putheader("Content-Length", str(len(content)))
    connection.endheaders()
    connection.send(content[:-1])
    connection.close()
    assert web.ask("HEAD", f"/blob/{digest}").status == 404
    wait_until(lambda: kept(mac) == before, "what came of it is removed")


def test_a_wrong_token_is_said(mac, tmp_path):
    reference = make_file(tmp_path / "a.bin", 10)
    wrong = GatewayBlobs(f"{mac.settings.gateway_url}/blob", "wrong")
    with pytest.raises(UnreachableError, match="refuses access: the token is missing or wrong. Set HIVE_TOKEN"):
        wrong.put(FileContent(tmp_path / "a.bin"), reference)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 MB; 256 MiB of it are the reserve."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        missing("root, for a small file system,")
    subprocess.run([mount, "-t", "tmpfs", "-o", "size=300m", "tmpfs", folder], check=True)
    yield folder
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run([shutil.which("umount") or "umount", "--lazy", folder], check=True)


def test_a_full_disk_of_the_gateway_is_said_and_nothing_stays(hive, small_disk, tmp_path):
    hive.environment["HIVE_STORE"] = small_disk.as_uri()
    with hive.up(gateway=True):
        reference = make_file(tmp_path / "a.bin", 60_000_000)
        with pytest.raises(StagingError, match="The disk of the gateway at .* is full. Make room there"):
            blobs_of(hive).put(FileContent(tmp_path / "a.bin"), reference)
        assert [path for path in small_disk.rglob("*") if path.is_file()] == []
        small = make_file(tmp_path / "b.bin", 10_000_000)
        blobs_of(hive).put(FileContent(tmp_path / "b.bin"), small)


def test_a_disk_that_fills_up_in_the_middle_is_said_and_the_next_try_goes_on(hive, small_disk, tmp_path):
    hive.environment["HIVE_STORE"] = small_disk.as_uri()
    with hive.up(gateway=True):
        reference = make_file(tmp_path / "a.bin", 2 * PART_BYTES)

        def fill(count):
            if count and not (small_disk / "filler").exists():
                size = shutil.disk_usage(small_disk).free
                (small_disk / "filler").write_bytes(bytes(size))

        with pytest.raises(StagingError, match="is full"):
            blobs_of(hive).put(FileContent(tmp_path / "a.bin"), reference, fill)
        (small_disk / "filler").unlink()
        moved = []
        blobs_of(hive).put(FileContent(tmp_path / "a.bin"), reference, moved.append)
        assert moved[0] == PART_BYTES
        assert blobs_of(hive).has(reference.digest)


def test_a_large_upload_needs_little_memory(own, tmp_path):
    gateway = psutil.Process(int((own.home / "gateway" / "gateway.pid").read_text()))
    before = gateway.memory_info().rss
    reference = make_file(tmp_path / "a.bin", 300_000_000)
    most = []
    blobs_of(own).put(FileContent(tmp_path / "a.bin"), reference, lambda _: most.append(gateway.memory_info().rss))
    blobs_of(own).fetch(reference, tmp_path / "b.bin", lambda _: most.append(gateway.memory_info().rss))
    assert max(most) - before < 60_000_000
