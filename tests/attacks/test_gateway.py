"""Attacks on the gateway: who comes in, what is refused early, and who cannot fill it."""

import json
import socket
import time
from http.client import HTTPConnection
from urllib.parse import urlencode

import pytest

from hive.staging import digest_of
from tests.support import TILE, wait_until

pytestmark = pytest.mark.wire
PATHS = ["/", "/task/abc", "/workers", "/status", "/flower/", "/flower/metrics", "/flower/healthcheck", "/metrics"]
PATHS += ["/flower/api/workers", "/flower/static/css/flower.css", "/healthcheck", "/openapi.json", f"/blob/{'0' * 64}"]


def log_in(web, token, **headers):
    form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    return web.ask("POST", "/login", urlencode({"token": token}).encode(), token=None, headers=form)


@pytest.mark.parametrize("path", PATHS)
def test_nobody_comes_in_without_the_right_token(web, attack, path):
    assert attack("no token at the gateway", lambda: web.ask("GET", path, token=None).status == 401)
    assert attack("a wrong token at the gateway", lambda: web.ask("GET", path, token="wrong").status in (401, 429))


def test_guessing_tokens_is_slowed_down_and_the_right_one_still_works(mac, web, attack):
    said = [web.ask("GET", "/status", token=f"guess {number}").status for number in range(12)]
    assert attack("guess tokens", lambda: said[-1] == 429)
    assert web.ask("GET", "/status").status == 200


def test_another_sites_requests_with_our_cookie_change_nothing(mac, web, attack):
    cookie = {"Cookie": log_in(web, web.token).headers["Set-Cookie"].partition(";")[0]}
    before = len(mac.json("jobs"))
    for name, headers in {
        "a form of another site": {"Origin": "https://evil.example", "Content-Type": "text/plain"},
        "a script of another site": {"Sec-Fetch-Site": "cross-site"},
        "a script of another port": {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
        "a request without an origin": {},
    }.items():
        answer = web.ask("POST", "/task", b'{"type": "test"}', token=None, headers=cookie | headers)
        assert attack(f"cross-site POST: {name}", lambda status=answer.status: status == 401)
    assert len(mac.json("jobs")) == before


def test_another_site_cannot_log_somebody_in(web, attack):
    answer = log_in(web, web.token, **{"Sec-Fetch-Site": "cross-site"})
    assert attack("cross-site log-in", lambda: answer.status == 403 and "Set-Cookie" not in answer.headers)


@pytest.mark.parametrize("path", ["/login", "/", "/flower/", "/flower/static/js/flower.js", "/nothing", "/status"])
def test_every_answer_is_safe_to_show(web, attack, path):
    headers = web.ask("GET", path, headers={"Accept": "text/html"}).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe-eval" not in headers["Content-Security-Policy"]
    wanted = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
    assert {name: headers[name] for name in wanted} == wanted
    assert headers["Server"] is None
    assert headers["Strict-Transport-Security"] is None  # this one is not encrypted
    assert attack("a frame around a page", lambda: headers["X-Frame-Options"] == "DENY")


@pytest.mark.parametrize(
    "path",
    [
        "/blob/../gateway.token?area=sha256/../..",
        f"/blob/{'0' * 64}?area=../..",
        f"/blob/{'0' * 64}?area=checkpoint/../../..",
        f"/blob/{'0' * 64}?area=%2e%2e%2f%2e%2e",
        "/blob/..%2f..%2fgateway.token",
        "/blob/%2e%2e/%2e%2e/redis.password",
        "/flower/static/../../../../etc/passwd",
        "/flower/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/../gateway.token",
    ],
)
def test_no_path_leads_out_of_its_folder(mac, web, attack, path):
    answer = web.ask("GET", path)
    secrets = [(mac.home / name).read_bytes() for name in ("gateway.token", "redis.password")]
    assert not any(secret in answer.body for secret in secrets)
    assert b"root:" not in answer.body
    assert attack("path traversal, GET", lambda: answer.status in (400, 403, 404))
    put = web.ask("PUT", path, b"x")
    assert attack("path traversal, PUT", lambda: put.status in (400, 403, 404, 405))


@pytest.mark.parametrize("name", ["../../x.laz", "/etc/x.laz", "a/../x.laz", "..", "x\0.laz", "x\n.laz"])
def test_no_name_of_a_file_leads_out_of_its_folder(web, attack, name):
    digest = digest_of(TILE)
    web.ask("PUT", f"/blob/{digest}", TILE.read_bytes())
    for params in ({"cloud": f"sha256:{digest}/{name}"}, {"cloud": f"sha256:{digest}/a.laz", "raster": name}):
        answer = web.ask("POST", "/task", json.dumps({"type": "gis.dtm", "params": params}).encode())
        assert attack("a file name that leads elsewhere", lambda status=answer.status: status == 400)


def test_a_body_of_a_gigabyte_is_refused_before_it_is_sent(web, attack):
    connection = HTTPConnection("127.0.0.1", web.port, timeout=20)
    begin = time.monotonic()
    connection.putrequest("POST", "/task")
    connection.putheader("Authorization", f"Bearer {web.token}")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders(b'{"type": "')
    answer = connection.getresponse()
    said = answer.read()
    assert attack("a JSON body of 1 GB", lambda: answer.status == 413)
    assert b"1,048,576 bytes at most" in said
    assert time.monotonic() - begin < 10
    wait_until(lambda: is_closed(connection.sock), "the connection is closed", 10)
    connection.close()


def is_closed(sock):
    if sock is None:
        return True
    try:
        sock.sendall(b"x" * 1000)
    except OSError:
        return True
    return False


def test_a_body_that_does_not_say_its_length_is_cut_off(web, attack):
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as connection:
        head = (
            f"POST /task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {web.token}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode())
        block = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"

        def cut_off():
            try:
                for _ in range(64):
                    connection.sendall(block)
            except OSError:
                return True
            return False

        assert attack("a chunked body without end", cut_off)


def test_who_sends_a_byte_now_and_then_is_cut_off_and_others_are_served_meanwhile(web, attack):
    """Slow-loris: many connections with half a head each, kept alive by a byte every few seconds."""
    slow = [socket.create_connection(("127.0.0.1", web.port), timeout=5) for _ in range(50)]
    body = socket.create_connection(("127.0.0.1", web.port), timeout=5)
    try:
        for one in slow:
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ")
        head = f"POST /task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {web.token}\r\nContent-Length: 1000\r\n\r\n"
        body.sendall(head.encode())
        begin = time.monotonic()
        next_byte, left = [begin], list(slow)

        def all_are_gone():
            if time.monotonic() >= next_byte[0]:
                next_byte[0] += 3
                left[:] = [one for one in left if is_open_after_a_byte(one)]
                assert web.ask("GET", "/healthcheck").status == 200
            return not left and not is_open_after_a_byte(body)

        assert attack("slow-loris, heads and a body", lambda: bool(wait_until(all_are_gone, "all are cut off", 60)))
        assert time.monotonic() - begin > 20  # an honest slow sender has its time
    finally:
        for one in (*slow, body):
            one.close()


def is_open_after_a_byte(connection):
    try:
        connection.sendall(b"x")
        connection.setblocking(False)
        return connection.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        connection.setblocking(True)


def test_the_connections_of_one_gateway_have_an_end(mac, web, attack):
    many = []
    try:
        for _ in range(600):
            many.append(socket.create_connection(("127.0.0.1", web.port), timeout=5))

        def some_are_closed():
            return sum(is_open_after_a_byte(one) for one in many) <= 500

        assert attack("600 connections at once", lambda: bool(wait_until(some_are_closed, "100 are closed", 20)))
    finally:
        for one in many:
            one.close()
    wait_until(lambda: answers(web), "it serves again", 20)


def answers(web):
    try:
        return web.ask("GET", "/healthcheck").status == 200
    except OSError:
        return False
