"""Whether Redis and the gateway answer, and to nobody else."""

import dataclasses
import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import redis

from hive.client.gateway import state
from hive.errors import HiveError
from hive.home import gateway_process, location, redis_server, tunnels
from hive.home.doctor.finding import Patient, Results, ok, problem, warning
from hive.settings import Settings, containers_folder, start_command
from hive.store.connection import connect, public_address, reachable


def redis_answers(patient: Patient) -> Results:
    """Whether Redis answers to the password of the settings."""
    try:
        with reachable(patient.settings):
            patient.session.broker.ping()
    except HiveError as error:
        what, _, todo = str(error).partition(". ")
        yield problem(f"{what.rstrip('.')}.", todo or "Name it with its password: HIVE_BROKER_URL.")
        return
    yield ok(f"Redis answers at {public_address(patient.settings.broker_url)}.")


def gateway_answers(patient: Patient) -> Results:
    """Whether the gateway answers to the token of the settings."""
    settings = patient.settings
    answer = state(settings)
    if answer == "up":
        yield ok(f"The gateway answers at {settings.gateway_url}.")
    elif answer == "down":
        words = f"The gateway at {settings.gateway_url} does not answer: no HTTP API, no page, no files from elsewhere."
        start = f"Start it: {start_command(settings.home)}. Its log: hive logs --orchestrator."
        yield problem(words, f"{start} Or name another: HIVE_GATEWAY_URL.")
    else:
        words = f"The gateway at {settings.gateway_url} refuses the token from {settings.origins['token']}."
        yield problem(words, "Name that of its Hive: HIVE_TOKEN. Where it was made anew: hive restart.")


def redis_is_closed(patient: Patient) -> Results:
    """Whether Redis refuses who shows no password."""
    parts = urlsplit(patient.settings.broker_url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    stranger = connect(dataclasses.replace(patient.settings, broker_url=bare))
    try:
        stranger.ping()
    except redis.RedisError:
        yield ok("Redis refuses whoever shows no password.")
        return
    finally:
        stranger.close()
    remedy = "Give it one (requirepass), and write it into HIVE_BROKER_URL; the Redis that hive up starts has one."
    yield problem("Redis answers to everybody who reaches it, without a password.", remedy)


def open_ports(patient: Patient) -> Results:
    """Whether Redis or the gateway listens to other machines without TLS."""
    settings = patient.settings
    is_open = False
    for name, pid, has_tls in (
        ("Redis", redis_server.running_pid(settings), settings.broker_url.startswith("rediss:")),
        ("The gateway", gateway_process.running_pid(settings), settings.gateway_url.startswith("https:")),
    ):
        for address in _listens_at(pid) if pid and not has_tls else ():
            is_open = True
            yield problem(
                f"{name} (process {pid}) listens at {address} without encryption, so other machines can reach it.",
                "Bind it to 127.0.0.1 (HIVE_GATEWAY_HOST, redis.conf), then: hive restart. Workers can use a tunnel.",
            )
    if not is_open:
        yield from _will_be_open(settings)


def _listens_at(pid: int) -> Iterator[str]:
    """Addresses of a process that other machines may reach."""
    try:
        sockets = psutil.Process(pid).net_connections(kind="inet")
    except psutil.Error:
        return
    for connection in sockets:
        if connection.status == psutil.CONN_LISTEN and not _is_loopback(connection.laddr.ip):
            yield f"{connection.laddr.ip} port {connection.laddr.port}"


def _will_be_open(settings: Settings) -> Results:
    if containers_folder(settings.home).exists():
        yield ok("Redis and the gateway run in containers and speak TLS only, to whomever their ports are open.")
    elif _is_loopback(settings.gateway_host) or settings.gateway_url.startswith("https:"):
        yield ok("No port of Redis or the gateway is open to other machines.")
    else:
        yield warning(
            f"HIVE_GATEWAY_HOST is {settings.gateway_host}: a gateway started now is open to others, unencrypted.",
            "Take it out of your shell and config.toml; it is meant for containers.",
        )


def home_answers(patient: Patient) -> Results:
    """Where Redis and the gateway are, and whether the way there is open."""
    home = location.elsewhere(patient.settings)
    if home is None:
        yield ok(f"Redis and the gateway are at home here: {patient.settings.home}.")
        return
    way = location.state(patient.settings, home)
    if way.state == "up" and not patient.redis_is_there:
        words = f"Redis and the gateway are at home on {home.destination}, and do not answer through the tunnel there."
        yield problem(words, f"Start them there: hive home {home.destination}.")
    elif way.state == "up":
        yield ok(f"Redis and the gateway are at home on {home.destination}; the tunnel there is up.")
    elif way.state == "stopped":
        yield problem(
            f"Redis and the gateway are at home on {home.destination}; the tunnel there is stopped.",
            "Start it: hive up.",
        )
    else:
        why = f" ({way.error.rstrip('.')})" if way.error else ""
        words = f"Redis and the gateway are at home on {home.destination}, and the tunnel there is down{why}."
        yield problem(words, f"See whether the machine lets you in: ssh {home.destination}. Where it is: hive home.")


def tunnels_hold(patient: Patient) -> Results:
    """Whether the tunnels to other machines are up."""
    states = list(tunnels.states(patient.settings))
    for tunnel in states:
        if tunnel.state == "stopped":
            yield problem(f"The tunnel to {tunnel.destination} is stopped.", "Start it: hive up.")
        elif tunnel.state != "up":
            why = f" ({tunnel.error.rstrip('.')})" if tunnel.error else ""
            words = f"The tunnel to {tunnel.destination} is down{why}; it is tried again every few seconds."
            again = f"hive deploy ssh {tunnel.destination} --name {tunnel.name}"
            remedy = f"See whether the machine lets you in: ssh {tunnel.destination}. If it was reinstalled: {again}."
            yield problem(words, f"{remedy} A rented machine may have ended: hive fleet ls.")
    if not states:
        yield ok("No machine has a tunnel from here.")
    elif all(tunnel.state == "up" for tunnel in states):
        yield ok(f"{'The tunnel' if len(states) == 1 else f'All {len(states)} tunnels'} to other machines: up.")


def _is_loopback(host: str) -> bool:
    """Whether an address is of this machine only.

    >>> _is_loopback("127.0.0.1"), _is_loopback("::1"), _is_loopback("localhost"), _is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
