"""A spot machine's notice: running tasks save their state and go on elsewhere, before the machine is taken away."""

import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from hive.worker.shutdown import read_notice
from tests.support import is_gone, wait_until

pytestmark = pytest.mark.wire
NOTICE = b'{"action": "terminate", "time": "2026-11-23T12:00:00Z"}'


class Metadata(BaseHTTPRequestHandler):
    """Amazon's metadata service, as far as a notice goes: a token first, 404 until there is a notice."""

    notice = b""

    def do_PUT(self):
        self._answer(200 if self.path == "/latest/api/token" else 404, b"a-token")

    def do_GET(self):
        is_allowed = self.headers["X-aws-ec2-metadata-token"] == "a-token"
        is_there = bool(type(self).notice) and self.path == "/latest/meta-data/spot/instance-action"
        self._answer(401 if not is_allowed else 200 if is_there else 404, type(self).notice)

    def _answer(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def metadata():
    Metadata.notice = b""
    server = HTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_machine_without_notice_or_without_metadata_goes_on(metadata):
    assert read_notice(metadata) == ""
    assert read_notice("http://127.0.0.1:9") == ""


def test_a_notice_moves_the_work_elsewhere(field, note, metadata):
    with field.hive.worker("gis", slots=1, name="spot", HIVE_SPOT_NOTICE_URL=metadata) as spot:
        [job_id] = field.submit(seconds=4, save=True, gate="g")
        wait_until(lambda: (progress := field.job(job_id).progress) and progress.done >= 4, "it has worked for 4 s")
        with field.hive.worker("gis", slots=1, name="w2"):
            Metadata.notice = NOTICE
            wait_until(lambda: field.started(job_id, 2), "it goes on elsewhere", 15)
            field.hive.open_gate("g")
            opened = time.time()
            wait_until(lambda: is_gone(spot.pid), "the worker has stopped", 20)
            jobs = field.wait_for_all(60)
    row = note(field.row("spot notice, the task saves its state", jobs))
    assert (row.lost, jobs[0].worker) == (0, "w2@test")
    assert jobs[0].finished_at.timestamp() - opened < 4  # it did not begin again
