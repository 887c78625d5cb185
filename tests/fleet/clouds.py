"""A line to a provider's API that is looked into: it keeps every request, and injects errors where it is told to."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.support import BIN, Hive, end_tree, redis_with_tls

_PASSED_ON = {"content-type", "authorization", "x-amz-date", "x-amz-target", "x-amz-content-sha256", "amz-sdk-request"}


@dataclass
class Request:
    """A request as it came: Amazon's parameters, or a JSON body."""

    method: str
    path: str
    head: dict[str, str]
    body: bytes

    @property
    def fields(self):
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}

    @property
    def action(self):
        """What is asked for: RunInstances, or POST /v2/droplets."""
        target = self.head.get("x-amz-target", "").rpartition(".")[2]
        return target or self.fields.get("Action") or f"{self.method} {urlsplit(self.path).path}"

    @property
    def json(self):
        return json.loads(self.body)


@dataclass
class Answer:
    status: int
    body: bytes = b""
    type: str = "text/xml"


@dataclass
class Line:
    """Stands between Hive and the provider. `answers` may answer instead, `after` change the answer."""

    behind: int
    requests: list[Request] = field(default_factory=list)
    answers: list[Callable[[Request], Answer | None]] = field(default_factory=list)
    after: list[Callable[[Request, Answer], Answer | None]] = field(default_factory=list)
    port: int = 0

    def forget(self):
        """Begin anew, for the next test."""
        for kept in (self.requests, self.answers, self.after):
            kept.clear()

    def asked(self, action):
        return [one for one in self.requests if one.action == action]

    def ask(self, request):
        self.requests.append(request)
        for answer in self.answers:
            if (found := answer(request)) is not None:
                return found
        found = self.pass_on(request)
        for change in self.after:
            found = change(request, found) or found
        return found

    def pass_on(self, request):
        connection = HTTPConnection("127.0.0.1", self.behind, timeout=60)
        head = {name: value for name, value in request.head.items() if name in _PASSED_ON}
        head["Host"] = request.head.get("host", "")
        connection.request(request.method, request.path, request.body or None, head)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return Answer(answer.status, body, answer.headers.get("Content-Type", ""))

    def fail(self, action, *codes, times=1_000_000):
        """Answer with errors instead of asking the provider; the last code goes on."""
        left = [times]

        def answer(request):
            if request.action != action or not left[0]:
                return None
            left[0] -= 1
            return codes[0]

        self.answers.append(answer)
        return left


@contextmanager
def line_to(port):
    line = Line(port)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            head = {name.lower(): value for name, value in self.headers.items()}
            found = line.ask(Request(self.command, self.path, head, body))
            try:
                self.send_response(found.status)
                self.send_header("Content-Type", found.type)
                self.send_header("Content-Length", str(len(found.body)))
                self.end_headers()
                self.wfile.write(found.body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # whoever asked has lost patience, as the test wants

        do_GET = do_POST = do_DELETE = do_PUT = _serve  # noqa: N815  names of the standard library

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    line.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield line
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def amazons_error(code, words, status=400):
    """An error as EC2 says it."""
    text = (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{words}</Message></Error></Errors>"
        "<RequestID>0</RequestID></Response>"
    )
    return Answer(status, text.encode())


class RentedMachines:
    """What the machines do: each that an identity was made for runs a real worker with that identity's folder."""

    def __init__(self, hive, folder, **environment):
        self.hive, self.folder, self.environment = hive, folder, environment
        self.processes: dict[str, subprocess.Popen] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._start_them, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        for process in self.processes.values():
            end_tree(process)

    def _start_them(self):
        while not self._over.wait(0.1):
            for config in sorted((self.hive.home / "access").glob("*/config.toml")):
                if config.parent.name not in self.processes:
                    self.start(config.parent.name)

    def restart_all(self):
        """As if each machine had been switched off and on."""
        for name, process in list(self.processes.items()):
            end_tree(process)
            self.start(name)

    def start(self, name):
        own = {name: text for name, text in self.hive.environment.items() if not name.startswith(("HIVE_", "AWS_"))}
        log = (self.folder / f"{name}.log").open("a")
        self.processes[name] = subprocess.Popen(
            [str(BIN / "hive"), "worker", "--name", name],
            env=own | {"HIVE_HOME": str(self.hive.home / "access" / name), "HIVE_PRELOAD": "0", **self.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        return self.processes[name]


@contextmanager
def open_hive(folder, **environment):
    """A Hive that is up and open to the network, to which machines come by themselves."""
    hive = Hive(folder / "home", PATH=redis_with_tls(folder / "programs"), **environment)
    try:
        hive.run("up", "--lan", "--redis-only")
        yield hive
    finally:
        hive.run("down", code=None)


def run_script(folder, stand_ins, text, fails=""):
    """Run the script of a first start in a folder of its own; returns how it ended, and that folder."""
    (folder / "script").write_text(text)
    root = folder / "root"
    environment = {"PATH": f"{stand_ins}:{os.environ['PATH']}", "HIVE_ROOT": str(root), "FAILS": fails}
    command = ["/bin/bash", str(folder / "script")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60), root


def forget_machines(hive):
    """Make a Hive forget all that it has rented, for the next test."""
    shutil.rmtree(hive.home / "fleet", ignore_errors=True)
    for identity in (hive.home / "access").glob("*.identity"):
        shutil.rmtree(hive.home / "access" / identity.stem, ignore_errors=True)
        identity.unlink()


def slow(seconds):
    """Answer too late for whoever waits."""

    def late(request, answer):
        time.sleep(seconds)
        return answer

    return late
