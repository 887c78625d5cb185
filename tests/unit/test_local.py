"""`hive.testing.local()`: the client of users' tests and notebooks, with no Redis, no worker and no network."""

import logging
import re
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from hive_workers.test.probe import Probe, probe

import hive
from hive.errors import BadFileError, BadParameterError, JobFailedError, JobStateError, NotFoundError
from hive.task import AnyInput, AnyOutput, Capability, checkpoint, in_parts, part, progress
from tests.support import wait_until

lab = Capability("lab", "For these tests.")
logger = logging.getLogger(__name__)
RUNS: list[str] = []
GATE = threading.Event()


@dataclass(frozen=True)
class Words:
    """What was counted."""

    words: int


@lab.task
def count(text: AnyInput, upper: AnyOutput, *, fail: bool = False) -> Words:
    """Count words, and write them in capitals."""
    RUNS.append(text.name)
    if fail:
        raise ValueError("no words today")
    upper.write_text(text.read_text().upper())
    return Words(len(text.read_text().split()))


@lab.task
def wait() -> None:
    """Report progress until somebody opens the gate."""
    logger.info("waiting")
    print("printed")  # noqa: T201  what the test is about
    while not GATE.wait(0.01):
        progress(1, 2, "gates")


@lab.task
def resume() -> Words:
    """Fail at first; what was saved is there at the second start."""
    state = checkpoint() / "state"
    if state.exists():
        return Words(int(state.read_text()))
    state.write_text("7")
    raise ValueError("not yet")


@lab.task
def forget(*, nothing: bool = False, output: AnyOutput | None = None) -> None:
    """Write nothing."""


@lab.task
def total(texts: list[AnyInput]) -> Words:
    """Count the words of several files, each in a part of its own."""
    counted = in_parts([part(count, text, text.with_suffix(".upper")) for text in texts])
    return Words(sum(words.words for words in counted))


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network is used"))
    RUNS.clear()
    GATE.clear()
    with hive.testing.local() as client:
        yield client


@pytest.fixture
def texts(tmp_path):
    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for number, file in enumerate(files):
        file.write_text("word " * (number + 1))
    return files


def test_a_task_runs_here_and_its_files_come_back(here, texts, tmp_path):
    job = here.submit(count, texts[1], tmp_path / "upper.txt")
    assert isinstance(here, hive.Client)
    assert job.result(timeout_s=30) == Words(2)
    assert (tmp_path / "upper.txt").read_text() == "WORD WORD "
    assert job.outputs == {"upper": tmp_path / "upper.txt"}
    assert (job.state, job.record.worker, job.measures) == ("succeeded", "local", {"words": 2})
    assert [event["event"] for event in job.record.story] == ["submitted", "started", "succeeded"]


def test_a_call_is_checked_before_it_is_a_job(here, tmp_path):
    with pytest.raises(BadFileError, match="does not exist"):
        here.submit(count, tmp_path / "missing.txt", tmp_path / "upper.txt")
    with pytest.raises(BadFileError, match="uses no network"):
        here.submit(count, "https://example.com/a.txt", tmp_path / "upper.txt")
    with pytest.raises(BadParameterError, match="The priority must be"):
        here.with_options(priority="urgent")
    assert len(here.jobs()) == 0


def test_a_map_skips_what_is_done_and_tries_again_what_had_failed(here, texts, tmp_path):
    assert [done.words for done in here.map(count, texts, out=tmp_path / "out").results(30)] == [1, 2, 3]
    assert [done.words for done in here.map(count, texts, out=tmp_path / "out").results(30)] == [1, 2, 3]
    assert len(RUNS) == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0_count", "1_count", "2_count"]
    failed = here.map(count, texts[:1], out=tmp_path / "bad", fail=True).wait(30)
    assert list(failed.failures) == [str(texts[0])]
    assert here.map(count, texts[:1], out=tmp_path / "bad", fail=True).wait(30)[0].record.attempts == 2
    here.map(count, texts, out=tmp_path / "out", again=True).wait(30)
    assert len(RUNS) == 8


def test_a_job_that_fails_says_why_and_can_be_tried_again(here, texts, tmp_path):
    job = here.submit(count, texts[0], tmp_path / "upper.txt", fail=True)
    with pytest.raises(JobFailedError, match="ValueError: no words today"):
        job.result(timeout_s=30)
    assert [found.id for found in here.jobs(state="failed", capability="lab", task="lab.count")] == [job.id]
    job.retry()
    assert job.wait(30).attempts == 2
    assert not (tmp_path / "upper.txt").exists()


def test_a_checkpoint_is_there_at_the_second_start(here):
    job = here.submit(resume)
    job.wait(30)
    job.retry()
    assert job.result(30) == Words(7)


def test_a_file_that_a_task_does_not_write_fails_its_job(here, tmp_path):
    job = here.submit(forget, output=tmp_path / "a")
    assert "did not write its output" in (job.wait(30).error or {})["message"]


def test_progress_logs_and_cancel_are_those_of_a_running_job(here):
    job, waiting = here.submit(wait), here.submit(wait)
    wait_until(lambda: job.progress is not None, "it reports progress")
    assert (job.state, job.progress.words, waiting.state) == ("running", "1 of 2 gates", "queued")
    lines = job.logs(follow=True)
    assert [(next(lines).level, next(lines).text)] == [("INFO", "printed")]
    with pytest.raises(TimeoutError):
        job.result(timeout_s=0)
    waiting.cancel()
    job.cancel()
    assert list(lines) == []
    assert [job.state, waiting.state] == ["cancelled", "cancelled"]
    with pytest.raises(JobStateError, match="cancelled already"):
        job.cancel()
    GATE.set()
    job.retry()
    assert job.result(30) is None


def test_what_others_print_is_not_in_a_jobs_log(here, capsys):
    job = here.submit(wait)
    wait_until(lambda: job.progress is not None, "it runs")
    print("mine")  # noqa: T201  what the test is about
    GATE.set()
    job.result(30)
    print("mine too")  # noqa: T201  what the test is about
    assert capsys.readouterr().out == "mine\nmine too\n"
    assert [line.text for line in job.logs()] == ["waiting", "printed"]


def test_parts_run_here_too(here, texts):
    assert here.submit(total, texts).result(30) == Words(6)


def test_a_job_is_found_by_its_id_with_the_result_of_its_task(here):
    job = here.submit(probe, message="hello")
    result = here.job(job.id[:10]).result(30)
    assert isinstance(result, Probe)
    assert (result.message, result.worker) == ("hello", "local")
    with pytest.raises(NotFoundError):
        here.job("zzz")


def test_two_clients_know_only_their_own_jobs(here):
    with hive.testing.local() as there:
        job = there.submit(probe)
        assert (len(here.jobs()), len(there.jobs())) == (0, 1)
        assert job.result(30).attempt == 1


def test_files_are_removed_when_the_client_is_closed(texts, tmp_path):
    with hive.testing.local() as here:
        home = Path(here.settings.home)
        here.submit(count, texts[0], tmp_path / "a").result(30)
        assert home.parent.exists()
    assert not home.parent.exists()


def test_the_blocks_of_the_how_to_print_what_it_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).parents[2] / "docs" / "how-to" / "use-from-python.md"
    shown = re.findall(r"^```python\n([^`]*)^```\n\n```text\n([^`]*)^```", page.read_text(), re.MULTILINE)
    blocks = [(code, output) for code, output in shown if "hive.testing.local()" in code]
    assert blocks
    for code, output in blocks:
        exec(code, {})  # noqa: S102  our own page
        assert capsys.readouterr().out == output
