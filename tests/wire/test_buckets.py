"""Buckets: the store at s3://, on moto's server and on a stricter one, and files that workers read from elsewhere."""

import http.server
import os
import shutil
import ssl
import subprocess
import threading
from contextlib import contextmanager
from functools import partial

import obstore
import pytest
import trustme

from hive.errors import StagingError, UnreachableError
from hive.staging import FileContent, Reference, digest_of
from hive.staging.objects import ObjectBlobs
from tests.faults.harness import Proxy
from tests.support import TILE, Hive, end_tree, free_port, require_program, wait_until

pytestmark = pytest.mark.wire
_KEY, _SECRET = "hive-test", "hive-test-secret"
_SIZE = 40_000_000


@contextmanager
def serving(command, port, environment, log):
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        wait_until(lambda: process.poll() is not None or answers(port), "the server answers", 60)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        end_tree(process)


def answers(port):
    import socket

    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@contextmanager
def moto(folder, port):
    command = [require_program("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with serving(command, port, os.environ, folder / "moto.log"):
        yield


@contextmanager
def juicefs(folder, port):
    """JuiceFS' gateway speaks S3 as MinIO does: it checks signatures, parts and ranges, which moto does not."""
    program, data = require_program("juicefs"), f"sqlite3://{folder}/meta.db"
    place = ["--storage", "file", "--bucket", f"{folder}/data/"]
    subprocess.run([program, "format", data, "hive", *place], check=True, capture_output=True)
    environment = os.environ | {"MINIO_ROOT_USER": _KEY, "MINIO_ROOT_PASSWORD": _SECRET}
    own = ["--no-usage-report", "--cache-dir", f"{folder}/cache", "--multi-buckets"]
    with serving([program, "gateway", data, f"127.0.0.1:{port}", *own], port, environment, folder / "juicefs.log"):
        yield


@pytest.fixture(scope="module", params=[moto, juicefs])
def server(request, tmp_path_factory):
    port = free_port()
    with request.param(tmp_path_factory.mktemp("s3"), port):
        yield port


@pytest.fixture
def access(server, monkeypatch):
    """What reaches the server, also by the environment of this process."""
    variables = access_to(server)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with_bucket(server)
    return variables


def access_to(port):
    return {
        "AWS_ACCESS_KEY_ID": _KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
    }


def with_bucket(port):
    """Make the bucket as its owner would, with Amazon's own client."""
    import boto3
    from botocore.exceptions import ClientError

    client = boto3.client(
        "s3", aws_access_key_id=_KEY, aws_secret_access_key=_SECRET, region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
    )  # fmt: skip
    try:
        client.create_bucket(Bucket="tiles")
    except ClientError as error:
        assert "BucketAlreadyOwnedByYou" in str(error)  # noqa: PT017  any other error is none of ours


def make_file(path, size=_SIZE):
    path.write_bytes(os.urandom(size))
    return Reference(digest_of(path), path.name)


@pytest.mark.parametrize("url", ["s3://tiles", "s3://tiles/some/prefix"])
def test_a_file_comes_back_from_a_bucket_as_it_was_sent(access, tmp_path, url):
    blobs, reference = ObjectBlobs(url), make_file(tmp_path / "a.bin")
    assert blobs.missing([reference.digest]) == {reference.digest}
    moved = []
    blobs.put(FileContent(tmp_path / "a.bin"), reference, moved.append)
    assert (sum(moved), blobs.size(reference.digest)) == (_SIZE, _SIZE)
    (tmp_path / f".{reference.digest[:16]}.part").write_bytes((tmp_path / "a.bin").read_bytes()[: _SIZE // 2 + 1])
    blobs.fetch(reference, tmp_path / "b.bin", moved.append)
    assert digest_of(tmp_path / "b.bin") == reference.digest
    blobs.delete(reference.digest)
    assert not blobs.has(reference.digest)


def test_a_file_that_changes_while_it_is_sent_never_appears_in_a_bucket(access, tmp_path):
    blobs, reference = ObjectBlobs("s3://tiles"), make_file(tmp_path / "a.bin")
    make_file(tmp_path / "a.bin")
    with pytest.raises(StagingError, match="changed while it was sent"):
        blobs.put(FileContent(tmp_path / "a.bin"), reference)
    assert not blobs.has(reference.digest)


def test_what_is_damaged_in_a_bucket_is_not_used_and_is_removed(access, tmp_path):
    blobs, reference = ObjectBlobs("s3://tiles"), make_file(tmp_path / "a.bin")
    path = f"sha256/{reference.digest[:2]}/{reference.digest}"
    obstore.put(blobs._store, path, os.urandom(_SIZE))
    with pytest.raises(StagingError, match="its digest was wrong. It is removed there"):
        blobs.fetch(reference, tmp_path / "b.bin")
    assert not (tmp_path / "b.bin").exists()
    assert not blobs.has(reference.digest)


def test_a_bucket_that_is_not_there_is_said(access, tmp_path):
    reference = make_file(tmp_path / "a.bin", 100)
    with pytest.raises(StagingError, match="There is no bucket at s3://nowhere. Make it, or correct HIVE_STORE"):
        ObjectBlobs("s3://nowhere").put(FileContent(tmp_path / "a.bin"), reference)


def test_a_wrong_key_is_said(access, tmp_path, monkeypatch, request):
    if request.node.callspec.params["server"] is moto:
        pytest.skip("moto takes every key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(UnreachableError, match="The store s3://tiles refuses access"):
        ObjectBlobs("s3://tiles").has("0" * 64)


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_broken_line_to_a_bucket_costs_little(access, server, tmp_path, monkeypatch, way):
    size = 2 * _SIZE
    reference = make_file(tmp_path / "a.bin", size)
    if way == "down":
        ObjectBlobs("s3://tiles").put(FileContent(tmp_path / "a.bin"), reference)
    with Proxy("127.0.0.1", server) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
        blobs, moved = ObjectBlobs("s3://tiles", is_patient=True), []

        def cut_in_the_middle(count):
            moved.append(count)
            if sum(moved) > size / 2 and not line.was_cut:
                line.cut()

        if way == "up":
            blobs.put(FileContent(tmp_path / "a.bin"), reference, cut_in_the_middle)
        else:
            blobs.fetch(reference, tmp_path / "b.bin", cut_in_the_middle)
            assert digest_of(tmp_path / "b.bin") == reference.digest
        assert line.was_cut
        assert blobs.has(reference.digest)
        if way == "down":  # parts on their way up are several at a time
            assert line.down_bytes < size + (16 << 20)


def test_a_job_runs_with_its_files_in_a_bucket(access, tmp_path):
    hive = Hive(tmp_path / "home", HIVE_STORE="s3://tiles", **access)
    raster = tmp_path / "dtm.tif"
    with hive.up(), hive.worker("gis"):
        job = hive.json("submit", "gis", "dtm", TILE, raster, "--cell", "2")
    assert job["outputs"]["raster"] == f"sha256:{digest_of(raster)}/dtm.tif"
    assert not (hive.home / "store").exists()


def test_a_worker_reads_an_input_from_a_bucket_itself(access, tmp_path):
    obstore.put(ObjectBlobs("s3://tiles")._store, "survey/tile 1.laz", TILE.read_bytes())
    hive = Hive(tmp_path / "home", **access)
    with hive.up(), hive.worker("gis"):
        job = hive.json("submit", "gis", "dtm", "s3://tiles/survey/tile 1.laz", tmp_path / "dtm.tif", "--cell", "2")
        assert job["measures"]["points"] == 110_000
        assert job["inputs"] == {"cloud": "s3://tiles/survey/tile 1.laz"}
        failed = hive.run("submit", "gis", "dtm", "s3://tiles/none.laz", tmp_path / "b.tif", code=1).stderr
        assert "s3://tiles/none.laz could not be fetched" in failed


@pytest.fixture
def web_server(tmp_path):
    """A web server with a certificate of an authority of its own."""
    folder = tmp_path / "www"
    folder.mkdir()
    shutil.copy(TILE, folder / "tile.laz")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/to/"))
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}", tmp_path / "ca.pem"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_worker_reads_an_input_from_a_web_server_whose_certificate_is_good(web_server, hive, tmp_path):
    address, authority = web_server
    with hive.up(), hive.worker("gis", SSL_CERT_FILE=str(authority)):
        for path in ("/to//tile.laz", "/tile.laz?signature=abc"):
            job = hive.json("submit", "gis", "dtm", address + path, tmp_path / "dtm.tif", "--cell", "2", "--force")
            assert job["measures"]["points"] == 110_000
        for path, words in (
            ("/none.laz", "the server answered 404"),
            ("/to/http://localhost/tile.laz", "and that is not https"),
        ):
            assert words in hive.run("submit", "gis", "dtm", address + path, tmp_path / "b.tif", code=1).stderr
    with hive.up(), hive.worker("gis", name="w2"):
        said = hive.run("submit", "gis", "dtm", f"{address}/tile.laz", tmp_path / "b.tif", code=1).stderr
        assert "certificate" in said
