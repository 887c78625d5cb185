"""What a worker says of itself: its GPUs, its clock, its settings."""

import base64
import json
import os
import time
from datetime import UTC, datetime, timedelta

import pytest

from hive.celery_adapter.worker import RunningWorker
from hive.store import Registry
from hive.wire.report import WorkerReport
from hive.worker import presence

pytestmark = pytest.mark.wire


def with_nvidia(folder, script):
    """The PATH of a machine on which `nvidia-smi` is this shell script."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_a_worker_reports_the_gpus_that_nvidia_smi_names(hive_up, tmp_path):
    asked = "--query-gpu=name,memory.total --format=csv,noheader,nounits"
    path = with_nvidia(
        tmp_path, f'[ "$*" = "{asked}" ] && printf "NVIDIA A10G, 23028\\nNVIDIA RTX 6000 Ada Generation, 49140\\n"'
    )
    with hive_up.worker("test", slots=1, PATH=path):
        [worker] = hive_up.json("workers")
        assert worker["gpus"] == ["NVIDIA A10G, 22.5 GiB", "NVIDIA RTX 6000 Ada Generation, 48.0 GiB"]
        assert "NVIDIA A10G, 22.5 GiB; NVIDIA RTX 6000" in hive_up.run("workers").stdout


def test_a_worker_reports_only_the_gpus_that_it_may_use(monkeypatch, tmp_path):
    from hive.worker.presence import gpu_names

    monkeypatch.setenv("PATH", with_nvidia(tmp_path, 'echo "GPU $3, 1024"'))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpu_names() == ("GPU --id=1, 1.0 GiB",)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu_names() == ()


def test_a_driver_that_does_not_answer_means_no_gpu(monkeypatch, tmp_path):
    from hive.worker.presence import gpu_names

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", with_nvidia(tmp_path, "echo 'NVIDIA-SMI has failed'; exit 9"))
    assert gpu_names() == ()


def test_a_worker_tells_the_terms_that_it_works_by(hive_up):
    with hive_up.worker("gis", slots=1, HIVE_LEASE_S="20", HIVE_STORE="s3://key:hidden@tiles"):
        [worker] = hive_up.json("workers")
    told = worker["terms"]
    assert (told["lease_s"], told["visibility_timeout_s"]) == (20, 20)
    assert told["store"] == "s3://tiles"
    assert set(told["code"]) == {"gis", "test"}
    assert told["versions"]["celery"].startswith("5.")
    assert "hidden" not in str(worker)


def test_a_report_is_timed_by_redis_and_shows_how_wrong_the_clock_of_its_worker_is(hive_up):
    registry = Registry(hive_up.redis)
    registry.report(report(clock_s=time.time() + 90))
    [worker] = registry.workers()
    assert worker["clock_skew_s"] == pytest.approx(90, abs=1)
    assert abs(datetime.fromisoformat(worker["last_seen"]) - datetime.now(UTC)) < timedelta(seconds=5)
    assert "clock_s" not in worker


def report(**values):
    """A report of a worker that is not there."""
    own = {
        "name": "gis@studio", "host": "studio", "capabilities": ("gis", "test"), "slots": 2, "busy": 0,
        "cpu_percent": 0.0, "memory_bytes": 1, "gpus": (), "price_usd_per_h": None, "pid": 1, "version": "1",
        "clock_s": time.time(), "terms": {},
    }  # fmt: skip
    return WorkerReport(**own | values)


def test_the_next_report_comes_at_once_when_the_load_changes_and_otherwise_in_its_time(monkeypatch):
    monkeypatch.setattr(presence, "_LOOK_EVERY_S", 0.01)
    reporter = presence.Presence(RunningWorker(None))
    reporter._wait(running=1, pause_s=600)  # none runs in this process: less than reported, so this is no ten minutes
    began = time.monotonic()
    reporter._wait(running=0, pause_s=0.2)
    assert time.monotonic() - began >= 0.2


def test_dozens_of_workers_report_so_seldom_that_the_laptop_does_not_notice(hive_up):
    registry = Registry(hive_up.redis)
    pauses = [registry.report(report(name=f"gis@{number}")) for number in range(50)]
    assert (pauses[0], pauses[19], pauses[-1]) == (10, 10, 25)
    registry.report(report(name="gis@0"), every_s=pauses[-1])
    assert 60 < hive_up.redis.pttl("hive:worker:gis@0") / 1000 <= 62.5  # one report may be lost
    assert registry.report(report(name="gis@0")) == 25


def test_a_worker_that_died_more_than_a_day_ago_is_forgotten_by_whoever_looks(hive_up):
    hive_up.redis.zadd("hive:workers", {"long@gone": time.time() - 2 * 86_400})
    assert hive_up.json("workers") == []
    assert not hive_up.redis.exists("hive:workers")


def test_flower_is_told_of_many_jobs_at_once_and_of_the_last_one_before_a_worker_ends(hive_up):
    told = hive_up.redis.pubsub()
    told.psubscribe("/0.celeryev/task.multi")
    with hive_up.worker("test", slots=2):
        hive_up.run("map", "test", "probe", "--count", "50")
    messages = [
        json.loads(one["data"]) for one in iter(lambda: told.get_message(timeout=0.5), None) if one["data"] != 1
    ]
    batches = [json.loads(base64.b64decode(one["body"])) for one in messages]
    ended = [event["uuid"] for batch in batches for event in batch if event["type"] == "task-succeeded"]
    assert len(set(ended)) == 50
    assert len(batches) < 50  # Celery alone sends three for each job
