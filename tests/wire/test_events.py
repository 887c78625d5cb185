"""The stream of changes: what it says, and what it costs."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

import msgspec
import pytest

from hive.store import JobStore, new_id
from hive.wire.job import State
from tests.support import Hive, Web, wait_until

pytestmark = pytest.mark.wire
ASKED = ("smembers", "zrange", "zrevrangebyscore", "zcard", "zcount", "hget", "hmget", "hgetall", "mget", "time")


class Stream:
    """An open stream, read event by event."""

    def __init__(self, hive: Hive) -> None:
        web = Web(hive)
        self.connection = HTTPConnection("127.0.0.1", web.port, timeout=20)
        self.connection.request("GET", "/events", headers={"Authorization": f"Bearer {web.token}"})
        self.answer = self.connection.getresponse()

    def events(self) -> Iterator[tuple[str, Any]]:
        name = ""
        for line in self.answer:
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                yield name, json.loads(line[6:])

    def until(self, wanted: str) -> dict[str, Any]:
        """What has come of each kind, up to and with the one that is wanted."""
        come = {}
        for name, value in self.events():
            come[name] = value
            if name == wanted:
                break
        return come


@contextmanager
def listening(hive: Hive, count: int = 1) -> Iterator[list[Stream]]:
    streams = [Stream(hive) for _ in range(count)]
    try:
        yield streams
    finally:
        for one in streams:
            one.connection.close()
            one.answer.close()


def looks(hive: Hive) -> int:
    """How often the names of all queues were asked for: once in each look, and by nothing else that runs here."""
    return int(hive.redis.info("commandstats").get("cmdstat_smembers", {"calls": 0})["calls"])


def work(hive: Hive) -> int:
    """How often Redis was asked for anything that a look asks for."""
    stats = hive.redis.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ASKED)


def test_a_stream_begins_with_the_whole(mac):
    with listening(mac) as [stream]:
        assert stream.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        come = stream.until("hello")
    assert set(come) == {"workers", "queues", "spending", "hour", "hello"}
    assert len(come["hour"]) == 60


def test_a_job_that_is_sent_and_cancelled_is_told_to_all(mac):
    with listening(mac, 3) as streams:
        for one in streams:
            one.until("hello")
        job_id = mac.submit("test")
        assert {one.until("jobs")["jobs"][0]["id"] for one in streams} == {job_id}
        mac.run("cancel", job_id)
        told = [one.until("jobs")["jobs"][0] for one in streams]
    assert [(one["id"], one["state"]) for one in told] == [(job_id, "cancelled")] * 3


def test_a_job_that_is_retried_is_told(mac):
    job_id = mac.submit("test")
    mac.run("cancel", job_id)
    with listening(mac) as [stream]:
        stream.until("hello")
        Web(mac).ask("POST", f"/task/{job_id}/retry")
        job = stream.until("jobs")["jobs"][0]
    assert (job["id"], job["state"]) == (job_id, "queued")
    mac.run("cancel", job_id)


def test_a_job_that_waits_for_its_parts_is_told_when_one_of_them_ends(mac):
    jobs = JobStore(mac.redis)
    asked = jobs.get(mac.submit("test")).specification
    whole, parts = new_id(), [new_id(), new_id()]
    jobs.create(whole, asked)
    jobs.create_many([(part, msgspec.structs.replace(asked, parent=whole)) for part in parts])
    attempt = jobs.start(whole, "w", "h", 60)
    jobs.divide(whole, attempt, [parts])
    with listening(mac) as [stream]:
        stream.until("hello")
        jobs.finish(parts[0], jobs.start(parts[0], "w", "h", 60), State.SUCCEEDED)
        told = {job["id"]: job for job in stream.until("jobs")["jobs"]}
    assert (told[parts[0]]["state"], told[parts[0]]["parent"]) == ("succeeded", whole)
    assert told[whole]["progress"] == {"done": 1, "total": 2, "unit": "parts", "message": ""}
    jobs.cancel(whole)


def test_many_open_pages_cost_one_look_a_second(mac):
    with listening(mac, 12) as streams:
        for one in streams:
            one.until("hello")
        before, start = looks(mac), time.monotonic()
        wait_until(lambda: looks(mac) - before >= 4, "four looks")
        passed = time.monotonic() - start
        assert looks(mac) - before <= passed + 1


def test_nothing_is_asked_where_no_page_is_open(mac):
    with listening(mac) as [stream]:
        stream.until("hello")
        before = looks(mac)
        wait_until(lambda: looks(mac) > before, "it looks")
    wait_until(lambda: is_still(mac), "it stops")


def is_still(hive: Hive) -> bool:
    """Whether nothing is asked for as long as three looks would take."""
    before = work(hive)
    hive.redis.blpop(["nothing ever comes here"], timeout=3)
    return work(hive) == before


def test_thousands_of_jobs_at_once_are_not_told_one_by_one(mac):
    jobs = JobStore(mac.redis)
    asked = jobs.get(mac.submit("test")).specification
    with listening(mac) as [stream]:
        stream.until("hello")
        jobs.create_many([(f"{number:016x}", asked) for number in range(3000)])
        come = stream.until("many")
        assert len(come["jobs"]) <= 200
    page = Web(mac).ask("GET", "/task?limit=100").json()
    assert len(page["jobs"]) == 100


def test_what_jobs_have_cost_is_summed_and_what_nobody_knows_is_counted(mac):
    jobs = JobStore(mac.redis)
    for cost in ("1.25", "0.5", ""):
        job_id = mac.submit("test")
        if cost:
            mac.redis.hset(f"hive:job:{job_id}", "cost_usd", cost)
        jobs.cancel(job_id)
    wait_until(lambda: is_still(mac), "nobody looks any more, or the first answer may be of an earlier look")
    with listening(mac) as [stream]:
        spending = stream.until("spending")["spending"]
    assert spending["usd"] == 1.75
    assert spending["unknown"] == sum(mac.redis.zcard(key) for key in mac.redis.keys("hive:finished:*")) - 2
    assert spending["is_counted"]


def test_the_last_hour_is_read_from_what_redis_has(mac):
    now = int(mac.redis.time()[0]) * 1000
    for number in range(20):
        key = f"hive:job:old{number}"
        times = {"submitted_ms": now - 1_800_000, "started_ms": now - 900_000, "finished_ms": now - 600_000}
        mac.redis.hset(key, mapping=times)
        mac.redis.zadd("hive:finished:test", {f"old{number}": now - 600_000})
    wait_until(lambda: is_still(mac), "nobody looks any more")
    with listening(mac) as [stream]:
        hour = stream.until("hello")["hour"]
    waiting = [one["waiting"] for one in hour]
    assert waiting[-20] - waiting[-35] == 20
    assert waiting[-20] - waiting[-12] == 20
    assert sum(one["finished"] for one in hour) >= 20
