"""Redis and the gateway open to the network: encrypted, for known machines only, and the whole system runs that way."""

import http.client
import os
import shutil
import socket
import ssl
import stat
import subprocess

import psutil
import pytest
import redis

from hive.home.certificates import CertificateAuthority
from hive.home.network import network_access
from hive.settings import load_settings
from hive.store.connection import connect
from tests.support import TILE, Hive, missing, redis_with_tls

pytestmark = pytest.mark.wire


OUTSIDE = "198.51.100.7"  # TEST-NET-2 (RFC 5737)


@pytest.fixture(scope="module")
def network():
    """An address of this machine by which others could reach it, also where it is in no network."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        missing("root and the program ip (package iproute2), for an address,")
    subprocess.run(["/usr/bin/env", "ip", "address", "replace", f"{OUTSIDE}/32", "dev", "lo"], check=True)
    return OUTSIDE  # it stays: other processes of the tests may use it at the same time


@pytest.fixture(scope="module")
def encrypting(tmp_path_factory):
    """A PATH with a redis-server that has TLS."""
    return redis_with_tls(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def mac(tmp_path_factory, network, encrypting):
    """A Mac side that is open to the network, and the folders of two machines: `studio` and, revoked, `gone`."""
    hive = Hive(tmp_path_factory.mktemp("mac"))
    hive.environment["PATH"] = encrypting
    hive.run("up", "--lan", "--address", network)
    try:
        for name in ("studio", "gone"):
            hive.run("access", "add", name, "--capabilities", "gis", "--out", hive.home.parent / name)
        shutil.copytree(hive.home.parent / "gone", hive.home.parent / "copy of gone")
        hive.run("access", "remove", "gone")
        yield hive
    finally:
        hive.run("down", code=None)


@pytest.fixture
def address(mac):
    return network_access(mac.settings).address


def machine(mac, name):
    """The settings of a machine that has nothing but its folder."""
    return load_settings({}, {"HIVE_HOME": str(mac.home.parent / name)})


def no_handshake(address, port, **files):
    """Whether a TLS connection with these files comes to nothing: Redis says nothing, not even that it refuses."""
    context = ssl.create_default_context(cafile=files.get("ca"))
    context.check_hostname = False
    if "ca" not in files:
        context.verify_mode = ssl.CERT_NONE
    if "cert" in files:
        context.load_cert_chain(files["cert"], files["key"])
    with socket.create_connection((address, port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain) as encrypted:  # TLS 1.3 tells of a refused client at the first read
                encrypted.sendall(b"PING\r\n")
                return encrypted.recv(100) == b""
        except (ssl.SSLError, ConnectionError):
            return True


def test_a_machine_does_the_main_job_over_the_network_with_nothing_but_its_folder(mac, tmp_path):
    folder = mac.home.parent / "studio"
    assert machine(mac, "studio").broker_url.startswith("rediss://studio:")
    assert machine(mac, "studio").store.startswith("https://")
    with mac.worker("gis", slots=1, HIVE_HOME=str(folder)):
        raster = tmp_path / "dtm.tif"
        assert mac.json("submit", "gis", "dtm", TILE, raster, "--cell", "2", timeout_s=240)["state"] == "succeeded"
        assert raster.stat().st_size > 0
        assert mac.json("submit", "test")["measures"]


def test_only_tls_is_spoken_to_the_network(mac, address):
    services = {one["name"]: one["pid"] for one in mac.json("up", "--lan")["services"]}
    sockets = {
        (one.laddr.ip, one.laddr.port)
        for pid in services.values()
        for one in psutil.Process(pid).net_connections()
        if one.status == "LISTEN"
    }
    here, there = (
        {("127.0.0.1", mac.port), ("127.0.0.1", mac.gateway_port)},
        {(address, mac.port), (address, mac.gateway_port)},
    )
    assert sockets == here | there
    web = http.client.HTTPConnection("127.0.0.1", mac.gateway_port)
    web.request("GET", "/healthcheck", headers={"Authorization": f"Bearer {mac.settings.token}"})
    assert web.getresponse().status == 200  # in plain text on this machine alone
    web.close()


@pytest.mark.parametrize("service", ["Redis", "the gateway"])
def test_plain_text_is_not_answered(mac, address, attack, service):
    port, words = (mac.port, b"PING\r\n") if service == "Redis" else (mac.gateway_port, b"GET / HTTP/1.0\r\n\r\n")

    def tried():
        with socket.create_connection((address, port), timeout=10) as plain:
            plain.sendall(words)
            try:
                return b"PONG" not in (said := plain.recv(1000)) and b"HTTP" not in said
            except ConnectionError:
                return True

    assert attack(f"plain text to {service} over the network", tried)


def test_a_connection_without_a_certificate_of_ours_is_not_answered(mac, address, attack, tmp_path):
    ca = str(mac.home / "tls" / "ca.pem")
    CertificateAuthority(tmp_path / "foreign").issue(tmp_path / "stranger", "studio")
    stranger = {"cert": str(tmp_path / "stranger" / "cert.pem"), "key": str(tmp_path / "stranger" / "key.pem")}
    server = {
        "cert": str(mac.home / "tls" / "server" / "cert.pem"),
        "key": str(mac.home / "tls" / "server" / "key.pem"),
    }
    assert attack("TLS to Redis without a client certificate", lambda: no_handshake(address, mac.port, ca=ca))
    assert attack(
        "TLS to Redis with a foreign client certificate", lambda: no_handshake(address, mac.port, ca=ca, **stranger)
    )
    assert attack("TLS to Redis with a server's certificate", lambda: no_handshake(address, mac.port, ca=ca, **server))
    studio = mac.home.parent / "studio"
    ours = {"cert": str(studio / "cert.pem"), "key": str(studio / "key.pem")}
    assert not no_handshake(address, mac.port, ca=ca, **ours)  # answered: that it must say who it is


def test_a_certificate_alone_is_no_identity(mac, address, attack):
    studio = machine(mac, "studio")
    for user, password in (("studio", "wrong"), ("worker", "wrong"), ("default", "")):
        url = f"rediss://{user}:{password}@{address}:{mac.port}/0"
        client = connect(load_settings({"broker_url": url}, {"HIVE_HOME": str(studio.home)}))

        def tried(client=client):
            with pytest.raises(redis.AuthenticationError):
                client.ping()
            return True

        assert attack("a certificate with a wrong password", tried)
        client.close()


def test_a_revoked_identity_is_out_though_its_certificate_is_good(mac, attack):
    client = connect(machine(mac, "copy of gone"))

    def tried():
        with pytest.raises(redis.AuthenticationError):
            client.ping()
        return True

    assert attack("a revoked identity", tried)
    client.close()


def test_a_server_that_is_not_ours_is_not_believed(mac, attack, tmp_path):
    """Somebody answers in place of the Mac, with a certificate of an authority of their own."""
    CertificateAuthority(tmp_path / "foreign").issue(tmp_path / "server", "127.0.0.1", ("127.0.0.1", "localhost"))
    shutil.copytree(mac.home.parent / "studio", tmp_path / "home")
    (tmp_path / "home" / "ca.pem").write_text((tmp_path / "server" / "ca.pem").read_text())
    client = connect(load_settings({}, {"HIVE_HOME": str(tmp_path / "home")}))

    def tried():
        with pytest.raises(redis.ConnectionError, match="(?i)certificate verify failed"):
            client.ping()
        return True

    assert attack("a server with a foreign certificate", tried)
    client.close()


def test_the_gateway_tells_browsers_to_stay_encrypted(mac, address):
    context = ssl.create_default_context(cafile=mac.home / "tls" / "ca.pem")
    web = http.client.HTTPSConnection(address, mac.gateway_port, context=context)
    body = f"token={mac.settings.token}"
    web.request("POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"})
    answer = web.getresponse()
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Secure" in answer.headers["Set-Cookie"]
    web.close()


def test_keys_are_readable_by_their_owner_only(mac):
    files = [path for path in (mac.home / "tls").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_the_next_up_is_closed_again_and_says_so_where_it_cannot_be_opened(hive, network, encrypting):
    hive.environment["PATH"] = encrypting
    hive.run("up", "--lan", "--address", network, "--redis-only")
    hive.run("restart")
    assert hive.settings.broker_url.startswith("rediss://")
    hive.run("down")
    hive.run("up", "--redis-only")
    try:
        assert hive.settings.broker_url.startswith("redis://submitter:")
        assert "Stop it first: hive down." in hive.run("up", "--lan", code=1).stderr
        assert hive.json("jobs") == []
    finally:
        hive.run("down")
    assert "is no address of this machine" in hive.run("up", "--lan", "--address", "198.51.100.1", code=1).stderr
    assert not (hive.home / "tls" / "opened.json").exists()
