"""What each user of Redis may not do, tried on a real Redis: outside of a script and inside one."""

import pytest
import redis

from tests.support import Hive

pytestmark = pytest.mark.wire
QUEUES = ("training", "training\x06\x163")
FORBIDDEN = {
    "FLUSHALL": ["FLUSHALL"],
    "FLUSHDB": ["FLUSHDB"],
    "CONFIG": ["CONFIG", "SET", "dir", "/srv"],
    "CONFIG GET": ["CONFIG", "GET", "requirepass"],
    "KEYS": ["KEYS", "*"],
    "SCAN": ["SCAN", "0"],
    "MODULE": ["MODULE", "LOAD", "/srv/x.so"],
    "DEBUG": ["DEBUG", "SLEEP", "0"],
    "ACL": ["ACL", "SETUSER", "worker", "allcommands"],
    "ACL LIST": ["ACL", "LIST"],
    "MONITOR": ["MONITOR"],
    "REPLICAOF": ["REPLICAOF", "127.0.0.1", "1"],
    "SHUTDOWN": ["SHUTDOWN", "NOSAVE"],
    "SAVE": ["SAVE"],
    "CLIENT LIST": ["CLIENT", "LIST"],
    "FUNCTION": ["FUNCTION", "LIST"],
    "SCRIPT FLUSH": ["SCRIPT", "FLUSH"],
    "SORT": ["SORT", "hive:jobs", "BY", "nosort", "GET", "hive:job:*->specification"],
    "COPY": ["COPY", "hive:job:other", "hive:job:mine"],
    "RANDOMKEY": ["RANDOMKEY"],
    "MIGRATE": ["MIGRATE", "127.0.0.1", "1", "gis", "0", "1"],
}
FOREIGN = {
    "push to another queue": ["LPUSH", "training", "x"],
    "push to another queue's step": ["LPUSH", "training\x06\x163", "x"],
    "pop from another queue": ["BRPOP", "training", "1"],
    "read another queue": ["LRANGE", "training", "0", "-1"],
    "remove another queue": ["DEL", "training"],
    "another queue's waiting jobs": ["ZADD", "hive:waiting:training", "1", "x"],
    "another queue's running jobs": ["ZREM", "hive:running:training", "x"],
    "another queue's leases": ["ZRANGE", "hive:leases:training", "0", "-1"],
    "another queue's finished jobs": ["ZRANGE", "hive:finished:training", "0", "-1"],
    "what another identity holds": ["HVALS", "hive:unacked:worker"],
    "the list of all jobs": ["ZRANGE", "hive:jobs", "0", "-1"],
    "the ids of all jobs": ["ZSCAN", "hive:jobs", "0"],
    "a key that is nobody's": ["GET", "secret"],
    "a queue that begins alike": ["LPUSH", "gis-other", "x"],
    "an order to other workers": ["PUBLISH", "/0.celery.pidbox", "x"],
}


@pytest.fixture(scope="module")
def mac(tmp_path_factory):
    """A Redis with something to steal, and an identity for gis."""
    hive = Hive(tmp_path_factory.mktemp("mac"))
    with hive.up():
        hive.run("access", "add", "studio", "--capabilities", "gis", "--out", hive.home / "studio")
        hive.redis.lpush("training", "a message")
        hive.redis.set("secret", "x")
        yield hive


@pytest.fixture
def connected(mac):
    """Connections by user, closed at the end."""
    opened = []

    def connect(user):
        password = mac.home / ("studio/redis.password" if user == "studio" else f"access/{user}.password")
        opened.append(redis.Redis(port=mac.port, username=user, password=password.read_text(), decode_responses=True))
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


def refused(client, command):
    """Whether Redis says that it is not allowed; any other answer is none that was wanted."""
    with pytest.raises(redis.ResponseError, match="ermission|not allowed|can't"):
        client.execute_command(*command)
    return True


def from_script(command):
    words = ", ".join(f"ARGV[{number + 1}]" for number in range(len(command)))
    return ["EVAL", f"return redis.call({words})", "0", *command]


@pytest.mark.parametrize("user", ["submitter", "worker", "gateway", "studio"])
@pytest.mark.parametrize("name", FORBIDDEN)
def test_nobody_but_the_admin_rules_redis(connected, attack, user, name):
    client, command = connected(user), FORBIDDEN[name]
    outside = attack(f"{name}, by any user of Redis but its admin", lambda: refused(client, command))
    inside = attack(f"{name}, by any user of Redis but its admin", lambda: refused(client, from_script(command)))
    assert (outside, inside) == (True, True)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_workers_identity_touches_its_own_queues_only(mac, connected, attack, name):
    client, command = connected("studio"), FOREIGN[name]
    assert attack(f"{name}, as a worker for gis", lambda: refused(client, command)) is True
    assert attack(f"{name}, as a worker for gis", lambda: refused(client, from_script(command))) is True
    assert mac.redis.lrange("training", 0, -1) == ["a message"]


@pytest.mark.parametrize("channel", ["hive:job:*", "/0.celeryev/*", "*"])
def test_a_workers_identity_hears_nothing_of_the_jobs_of_others(connected, attack, channel):
    client = connected("studio")
    assert (
        attack("listen to the jobs of others, as a worker for gis", lambda: refused(client, ["PSUBSCRIBE", channel]))
        is True
    )


@pytest.mark.parametrize("user", ["submitter", "gateway"])
def test_who_submits_takes_nothing_out_of_a_queue(mac, connected, attack, user):
    for command in (["BRPOP", "training", "1"], ["DEL", "training"], ["LRANGE", "training", "0", "-1"]):
        client = connected(user)
        assert attack(f"take messages out of a queue, as {user}", lambda c=client, w=command: refused(c, w)) is True
    assert mac.redis.lrange("training", 0, -1) == ["a message"]


@pytest.mark.parametrize("user", ["default", "admin", "studio"])
def test_a_wrong_password_opens_nothing(mac, attack, user):
    def tried():
        client = redis.Redis(port=mac.port, username=user, password="wrong")
        with pytest.raises(redis.AuthenticationError):
            client.ping()
        client.close()
        return True

    assert attack("a wrong password at Redis", tried) is True


def test_without_a_password_nothing_is_answered(mac, attack):
    def tried():
        client = redis.Redis(port=mac.port)
        with pytest.raises(redis.AuthenticationError):
            client.ping()
        client.close()
        return True

    assert attack("no password at Redis", tried) is True
