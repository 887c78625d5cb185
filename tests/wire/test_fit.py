"""training.fit on real workers: sent, killed in the middle, gone on with elsewhere."""

import json
import os
import random

import pytest

from tests.faults.harness import kill_tree
from tests.support import DATA, Hive, missing, wait_until

pytestmark = pytest.mark.wire
DIGITS = DATA / "training" / "digits.csv.gz"


@pytest.fixture
def lab(tmp_path):
    """A Hive with a short lease and no worker."""
    try:
        import lightning
    except ImportError:
        missing("the extra training")
    assert lightning
    hive = Hive(tmp_path / "home", HIVE_LEASE_S="3", HIVE_GRACE_S="20", HIVE_PRELOAD="1")
    with hive.up():
        yield hive


def weights(folder):
    import torch

    return torch.load(folder / "weights.pt", weights_only=True)


def by_hand(folder, **call):
    """The same training as a plain function: no queue, no interruption."""
    from hive_workers.training.fit import fit

    fit([DIGITS], out=folder, **call)
    return weights(folder)


def are_equal(one, other):
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def batches_done(hive, job_id):
    return (hive.record(job_id)["progress"] or {"done": 0})["done"]


def has_checkpoint(hive, job_id):
    return bool(hive.redis.hgetall(f"hive:job:{job_id}").get("checkpoint"))


def test_a_worker_killed_at_a_random_batch_changes_no_bit_of_the_weights(lab, tmp_path):
    epochs = 30
    wanted = by_hand(tmp_path / "whole", epochs=epochs)
    with lab.worker("training", slots=1, name="w1") as first:
        os.setpriority(os.PRIO_PROCESS, first.pid, 19)  # the test sees each batch before the next ones are done
        for child in first.children():
            os.setpriority(os.PRIO_PROCESS, child.pid, 19)
        job_id = lab.submit(
            "training", "fit", DIGITS, "-o", tmp_path / "digits", "--epochs", str(epochs), "--checkpoint-every", "0.5s"
        )
        wait_until(lambda: has_checkpoint(lab, job_id), "a checkpoint is in the store", 120)
        batch = random.randrange(1, epochs * 45 // 2)  # noqa: S311  any must do that leaves some to another worker
        wait_until(lambda: batches_done(lab, job_id) >= batch, "a random batch is done", 60)
        done = batches_done(lab, job_id)
        kill_tree(first)
    with lab.worker("training", slots=1, name="w2"):
        wait_until(lambda: lab.record(job_id)["state"] == "succeeded", "it goes on elsewhere", 180)
    job = lab.json("show", job_id)
    lab.run("fetch", job_id)
    assert 0 < done < epochs * 45, done
    assert (job["worker"], job["attempts"], job["measures"]["steps"]) == ("w2@test", 2, epochs * 45)
    assert "going on from step" in (lab.home / "w2.log").read_text()
    assert are_equal(weights(tmp_path / "digits"), wanted), f"killed at batch {done}"


@pytest.mark.full
def test_a_worker_that_is_told_to_stop_saves_first(lab, tmp_path):
    epochs = 40
    wanted = by_hand(tmp_path / "whole", epochs=epochs)
    with lab.worker("training", slots=1, name="w1") as first:
        call = ("training", "fit", DIGITS, "-o", tmp_path / "digits", "--epochs", str(epochs))
        job_id = lab.submit(*call, "--checkpoint-every", "1h")
        wait_until(lambda: batches_done(lab, job_id) > 100, "it learns", 120)
        first.terminate()
        first.wait(60)
    with lab.worker("training", slots=1, name="w2"):
        wait_until(lambda: lab.record(job_id)["state"] == "succeeded", "it goes on elsewhere", 180)
    lab.run("fetch", job_id)
    assert "going on from step" in (lab.home / "w2.log").read_text()
    assert are_equal(weights(tmp_path / "digits"), wanted)


def test_a_folder_comes_back_with_all_that_was_learned(lab, tmp_path):
    values = json.dumps({"files": [str(DIGITS)], "out": str(tmp_path / "digits"), "epochs": 1})
    with lab.worker("training", slots=1):
        said = lab.run("submit", "--type", "training", "--params", values, "--json", timeout_s=120)
    names = {"README.md", "best.pt", "confusion.png", "loss.png", "metrics.csv", "model.json", "weights.pt"}
    assert {path.name for path in (tmp_path / "digits").iterdir()} == names
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    job = json.loads(said.stdout)
    assert job["measures"]["steps"] == 45
    assert "epoch 1 of 1: loss 2.163964, accuracy 0.6667" in lab.run("logs", job["id"]).stdout


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model": "gis-lidar", "epochs": 100}, "gis-lidar needs classified LiDAR tiles (.las or .laz)"),
        ({"model": "lidar"}, "model must be one of digits, gis-lidar, not 'lidar'"),
        ({"files": [str(DIGITS)], "epochs": 0}, "epochs must be at least 1, not 0"),
        ({"files": [str(DIGITS)], "learning_rate": 0}, "learning_rate must be more than 0, not 0"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_sent(hive, values, words):
    """There is no Redis here at all."""
    said = hive.run("submit", "--type", "training", "--params", json.dumps(values), code=2)
    assert words in said.stderr
    assert len(said.stderr.splitlines()) == 1


def test_a_tile_without_classes_fails_with_one_sentence(lab, tmp_path):
    tile = DATA / "gis" / "lone-star.copc.laz"
    with lab.worker("training", slots=1):
        job_id = lab.submit("training", "fit", "--model", "gis-lidar", tile, "-o", tmp_path / "out")
        job = lab.wait(job_id, code=1)
    assert job["error"]["kind"] == "bad-input"
    assert job["error"]["message"].startswith("The 518,862 points of lone-star.copc.laz have no classes")
