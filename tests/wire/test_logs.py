"""Logs: what a job logs and prints reaches `hive logs`, whole and in order, whatever dies meanwhile."""

import json
import re
import signal
import subprocess
import textwrap
from contextlib import contextmanager

import pexpect
import pytest

from hive.store import JobStore, LogStore
from hive.store.connection import connect
from hive.store.logs import LogLine
from hive.task import Progress
from hive.wire.job import Specification
from tests.support import Hive, is_gone, wait_until

pytestmark = pytest.mark.wire
ASKED = Specification("test", "test.probe", "test", {}, {}, {})
BEGIN = "0 0 0"
VOICES = '''
    """Speaking in every way that there is."""

    import ctypes
    import logging
    import os
    import subprocess
    import sys
    import time
    from pathlib import Path

    from hive.task import AnyInput, progress
    from hive_voices import voices

    logger = logging.getLogger(__name__)
    c = ctypes.CDLL(None)


    @voices.task
    def speak(file: AnyInput) -> None:
        """Speak with every voice."""
        print("print")
        logger.info("logging, number %d", 1)
        sys.stderr.write("sys.stderr\\n")
        logging.getLogger("of.a.library").warning("library")
        os.write(1, b"descriptor 1\\n")
        os.write(2, b"descriptor 2\\n")
        subprocess.run(["sh", "-c", "echo child; echo child error >&2"], check=True)
        c.puts(b"C")
        c.printf(b"C without end of line")


    @voices.task
    def order(file: AnyInput, *, name: str = "") -> None:
        """Print and log in turn."""
        for number in range(300):
            print(name, number, "printed")
            logger.info("%s %d logged", name, number)


    @voices.task
    def held(file: AnyInput, *, gate: str) -> None:
        """Say a number, ten times a second, until a file is there."""
        number = 0
        while not Path(gate).exists():
            number += 1
            logger.info("number %d", number)
            print("printed", number)
            progress(number, 1000, "numbers", "counting")
            time.sleep(0.1)
        progress(1000, 1000, "numbers", "counted")
        logger.info("the end")


    @voices.task
    def unfinished(file: AnyInput, *, gate: str) -> None:
        """Print without an end of line, and wait until a file is there."""
        print("working ... ", end="", flush=True)
        while not Path(gate).exists():
            time.sleep(0.1)
        print("done")


    @voices.task
    def flood(file: AnyInput, *, lines: int) -> None:
        """Print very many lines."""
        for number in range(lines):
            print("line", number)


    @voices.task
    def crash(file: AnyInput) -> None:
        """Crash in C."""
        print("before")
        c.strlen(None)


    @voices.task
    def locked(file: AnyInput, *, size: int) -> None:
        """Print much from C code that holds Python's lock."""
        line = b"x" * 99 + b"\\n"
        ctypes.PyDLL(None).write(1, line * (size // len(line)), size // len(line) * len(line))


    @voices.task
    def strange(file: AnyInput) -> None:
        """Print what is no text."""
        os.write(1, b"\\xff\\x1b[2Jcleared\\a\\n")
        logger.warning("back\\x08space, and half a \\udce4 character")
        for percent in range(101):
            sys.stderr.write(f"\\r{percent} % |")
        print("x" * 10_000)


    @voices.task
    def forked(file: AnyInput) -> None:
        """Log from a process that was forked from this one."""
        if (child := os.fork()) == 0:
            logger.info("from the fork")
            os._exit(0)
        os.waitpid(child, 0)


    @voices.task
    def fails(file: AnyInput) -> None:
        """Fail after a last step."""
        progress(1, 4, "steps", "starting")
        progress(3, 4, "steps", "almost")
        raise ZeroDivisionError("nothing to divide")
'''


@contextmanager
def speaking(home):
    """A Hive with a capability whose tasks speak in many ways."""
    folder = home.parent / "packages"
    information = folder / "hive_voices-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: hive-voices\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[hive.capabilities]\nvoices = hive_voices:voices\n")
    (folder / "hive_voices").mkdir()
    (folder / "hive_voices" / "__init__.py").write_text(
        '"""Voices."""\nfrom hive.task import Capability\nvoices = Capability("voices", "Speak.")\n'
    )
    (folder / "hive_voices" / "speaking.py").write_text(textwrap.dedent(VOICES))
    hive = Hive(home, PYTHONPATH=str(folder))
    (home.parent / "in.txt").write_text("x")
    with hive.up():
        yield hive


@pytest.fixture
def voices(tmp_path):
    """A Hive with these tasks and no worker."""
    with speaking(tmp_path / "home") as hive:
        yield hive


@pytest.fixture(scope="module")
def choir(tmp_path_factory):
    """The same with a worker, shared: leave it as it was."""
    with speaking(tmp_path_factory.mktemp("choir") / "home") as hive, hive.worker("voices", slots=2):
        yield hive


def speak(hive, task, *options):
    return hive.submit("voices", task, hive.home.parent / "in.txt", *options)


def lines(hive, job_id, attempt=None):
    """Level and text of every line."""
    client = connect(hive.settings)
    found = [(entry.level, entry.text) for entry in LogStore(client).read(job_id, attempt=attempt)]
    client.close()
    return found


def texts(hive, job_id, attempt=None):
    return [text for _, text in lines(hive, job_id, attempt)]


def count_up(hive, gate):
    """Start a job that says numbers until the gate is there; returns its id when it has begun."""
    job_id = speak(hive, "held", "--gate", gate)
    wait_until(lambda: "number 1" in texts(hive, job_id), "it has said something")
    return job_id


@contextmanager
def following(hive, *arguments):
    """`hive logs -f` in the background."""
    with subprocess.Popen(
        hive.command("logs", "-f", *arguments),
        env=hive.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def test_everything_that_a_task_says_is_in_its_log_and_in_that_of_the_worker_once(choir):
    job_id = speak(choir, "speak")
    choir.wait(job_id, code=0)
    said = lines(choir, job_id)
    assert sorted(said) == [
        ("INFO", "logging, number 1"),
        ("STDERR", "child error"),
        ("STDERR", "descriptor 2"),
        ("STDERR", "sys.stderr"),
        ("STDOUT", "C"),
        ("STDOUT", "C without end of line"),
        ("STDOUT", "child"),
        ("STDOUT", "descriptor 1"),
        ("STDOUT", "print"),
        ("WARNING", "library"),
    ]
    worker_log = (choir.home / "w1.log").read_text().splitlines()
    for level, text in said:
        marked = f"[job {job_id[:8]}] {text}" if level.startswith("STD") else f"] {text}"
        assert sum(line.endswith(marked) for line in worker_log) == 1, marked


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_two_jobs_say_at_once_never_mixes_and_keeps_its_order(voices, pool):
    with voices.worker("voices", slots=2, pool=pool):
        jobs = {name: speak(voices, "order", "--name", name) for name in ("adam", "eve")}
        for job_id in jobs.values():
            voices.wait(job_id, code=0)
    for name, job_id in jobs.items():
        expected = [f"{name} {number} {what}" for number in range(300) for what in ("printed", "logged")]
        assert texts(voices, job_id) == expected
        assert {level for level, _ in lines(voices, job_id)} == {"STDOUT", "INFO"}


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_in_a_shared_process_print_and_logging_are_caught_and_descriptors_are_left_to_the_worker(voices, pool):
    with voices.worker("voices", slots=1, pool=pool):
        job_id = speak(voices, "speak")
        voices.wait(job_id, code=0)
    assert texts(voices, job_id) == ["print", "logging, number 1", "sys.stderr", "library"]
    worker_log = (voices.home / "w1.log").read_text()
    assert all(f"\n{text}\n" in worker_log for text in ("descriptor 1", "descriptor 2", "child", "child error"))


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_information_comes_through_though_the_worker_keeps_to_warnings(voices, pool):
    with voices.worker("voices", slots=1, pool=pool, level="WARNING"):
        job_id = speak(voices, "order", "--name", "abel")
        voices.wait(job_id, code=0)
    assert ("INFO", "abel 299 logged") in lines(voices, job_id)
    assert "logged" not in (voices.home / "w1.log").read_text()


def test_a_follower_gets_lines_while_the_job_runs_and_ends_with_it(choir, tmp_path):
    job_id = count_up(choir, tmp_path / "gate")
    with following(choir, "--json", job_id) as follower:
        first = json.loads(follower.stdout.readline())
        assert (first["level"], first["attempt"], first["text"]) == ("INFO", 1, "number 1")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
        assert choir.json("show", job_id)["state"] == "running"
        (tmp_path / "gate").touch()
        got = [first["text"], *(json.loads(line)["text"] for line in follower.stdout)]
        assert f"job {job_id[:8]} succeeded" in follower.stderr.read()
    assert follower.returncode == 0
    assert got[-1] == "the end"
    assert got == texts(choir, job_id)


def test_a_log_is_whole_as_soon_as_its_job_is_reported_as_done(choir):
    for _ in range(3):
        job_id = speak(choir, "order", "--name", "x")
        choir.wait(job_id, code=0)
        assert len(texts(choir, job_id)) == 600


def test_what_an_attempt_said_survives_its_process_and_is_told_apart_from_the_next(choir):
    job_id = choir.submit("test", "--log-lines", "2", "--crash", "child")
    assert choir.wait(job_id, code=1)["attempts"] == 3
    shown = choir.run("logs", job_id).stdout
    said = [line[26:].strip() if line.startswith("20") else line for line in shown.splitlines()]
    assert said == [
        *("INFO      line 1 of 2", "INFO      line 2 of 2", "--- attempt 2 ---"),
        *("INFO      line 1 of 2", "INFO      line 2 of 2", "--- attempt 3 ---"),
        *("INFO      line 1 of 2", "INFO      line 2 of 2"),
    ]
    assert {entry["attempt"] for entry in choir.json("logs", job_id, "--attempt", "2")} == {2}


def test_what_an_attempt_said_survives_the_whole_worker(hive_up):
    with hive_up.worker("gis", slots=1) as worker:
        job_id = hive_up.submit("test", "--log-lines", "3", "--crash", "worker")
        wait_until(lambda: is_gone(worker.pid), "the worker is gone")
    hive_up.run("cancel", job_id)
    with hive_up.worker("gis", slots=1):
        wait_until(lambda: texts(hive_up, job_id) == [f"line {n} of 3" for n in (1, 2, 3)], "its last words are there")


def test_a_crash_in_c_leaves_its_last_words(choir):
    job_id = speak(choir, "crash")
    job = choir.wait(job_id, code=1)
    assert job["error"]["kind"] == "worker-lost"
    first = texts(choir, job_id, attempt=1)
    assert first[0] == "before"
    assert "Fatal Python error: Segmentation fault" in first
    assert any("in crash" in text for text in first)
    assert "hive logs" in choir.run("why", job_id).stdout


def test_c_code_that_holds_the_lock_of_python_may_print_megabytes(choir):
    job_id = speak(choir, "locked", "--size", "4000000")
    choir.wait(job_id, code=0)
    assert "x" * 99 in texts(choir, job_id)


def test_a_flood_is_thinned_out_and_says_how_much_is_missing(voices):
    with voices.worker("voices", slots=1, HIVE_LOG_LINES="1000"):
        job_id = speak(voices, "flood", "--lines", "100000")
        voices.wait(job_id, code=0)
    said = lines(voices, job_id)
    remarks = [text for level, text in said if level == "HIVE"]
    printed = [text for level, text in said if level == "STDOUT"]
    missing = sum(int(re.search(r"([\d,]+) lines?\b", text)[1].replace(",", "")) for text in remarks)
    assert len(said) == 1001
    assert printed[-1] == "line 99999"
    assert missing + len(printed) == 100_000
    assert voices.redis.memory_usage(f"hive:job:{job_id}:log") < 200_000


def test_control_characters_are_shown_and_not_carried_out(choir):
    job_id = speak(choir, "strange")
    choir.wait(job_id, code=0)
    assert lines(choir, job_id)[:2] == [
        ("STDOUT", "\ufffd\x1b[2Jcleared\a"),
        ("WARNING", "back\x08space, and half a ? character"),
    ]
    shown = choir.run("logs", job_id).stdout
    assert "\ufffd\\x1b[2Jcleared\\x07" in shown
    assert "back\\x08space" in shown
    assert not set(shown) & {"\x1b", "\a", "\x08", "\r"}
    assert "x" * 2048 + " [5,904 characters left out] " + "x" * 2048 in shown
    assert [text for level, text in lines(choir, job_id) if level == "STDERR"] == ["100 % |"]


def test_text_without_an_end_of_line_does_not_wait_for_it(choir, tmp_path):
    job_id = speak(choir, "unfinished", "--gate", tmp_path / "gate")
    wait_until(lambda: lines(choir, job_id) == [("STDOUT", "working ... ")], "it can be seen")
    (tmp_path / "gate").touch()
    choir.wait(job_id, code=0)
    assert texts(choir, job_id) == ["working ... ", "done"]


def test_a_forked_process_may_log(choir):
    job_id = speak(choir, "forked")
    choir.wait(job_id, code=0)
    assert lines(choir, job_id) == [("INFO", "from the fork")]


def restart_redis(hive):
    hive.run("down")
    hive.run("up")


def test_a_log_outlasts_a_redis_that_restarts_and_so_does_who_follows_it(voices, tmp_path):
    with voices.worker("voices", slots=1):
        job_id = count_up(voices, tmp_path / "gate")
        with following(voices, "--json", job_id) as follower:
            got = [json.loads(follower.stdout.readline())["text"]]
            said = len(texts(voices, job_id))
            restart_redis(voices)
            wait_until(lambda: len(texts(voices, job_id)) > said, "the log goes on")
            (tmp_path / "gate").touch()
            got += [json.loads(line)["text"] for line in follower.stdout]
        assert voices.wait(job_id, code=0)["attempts"] == 1
    kept = texts(voices, job_id)
    logged = [text for text in kept if text.startswith("number")]
    assert logged == [f"number {number + 1}" for number in range(len(logged))]
    assert kept[-1] == "the end"
    assert got == kept


def test_a_job_that_ends_while_redis_is_away_has_its_log_before_its_end(voices, tmp_path):
    with voices.worker("voices", slots=1):
        job_id = count_up(voices, tmp_path / "gate")
        voices.run("down")
        (tmp_path / "gate").touch()
        outbox = voices.settings.cache / "outbox"
        wait_until(lambda: list(outbox.glob("*.json")), "its outcome waits on the disk")
        voices.run("up")
        voices.wait(job_id, code=0)
        assert texts(voices, job_id)[-1] == "the end"
        assert voices.json("show", job_id)["progress"]["done"] == 1000


def test_ctrl_c_leaves_the_job_and_says_how_to_come_back(choir, tmp_path):
    job_id = count_up(choir, tmp_path / "gate")
    with following(choir, job_id) as follower:
        follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        said = follower.stderr.read().strip()
    assert follower.returncode == 130
    assert said == f"The job {job_id[:8]} stays running. Come back to it: hive logs -f {job_id[:8]}"
    (tmp_path / "gate").touch()
    choir.wait(job_id, code=0)


def test_a_running_job_shows_its_progress_and_a_failed_one_the_last_it_made(choir, tmp_path):
    job_id = count_up(choir, tmp_path / "gate")
    shown = wait_until(lambda: re.search(r"progress +(.*)", choir.run("show", job_id).stdout), "it has progress")
    assert re.fullmatch(r"\d+ of 1000 numbers  counting", shown[1])
    (tmp_path / "gate").touch()
    job = choir.wait(speak(choir, "fails"), code=1)
    assert job["progress"] == {"done": 3, "total": 4, "unit": "steps", "message": "almost"}
    assert "progress   3 of 4 steps  almost" in choir.run("show", job["id"]).stdout
    level, text = lines(choir, job["id"])[-1]
    assert level == "WARNING"
    assert "Traceback" in text
    assert text.endswith("ZeroDivisionError: nothing to divide\n")


def test_a_failed_submission_points_at_the_log(choir):
    said = choir.run("submit", "test", "--fail", code=1).stderr.splitlines()
    assert re.fullmatch(r"What it wrote: hive logs [0-9a-f]{8}", said[-1])


def test_an_unknown_job_is_exit_code_3_and_a_silent_one_says_so(choir):
    assert "There is no job 'zzz'" in choir.run("logs", "zzz", code=3).stderr
    job_id = choir.json("submit", "test")["id"]
    silent = choir.run("logs", job_id)
    assert (silent.stdout, silent.stderr) == ("", f"The job {job_id[:8]} has written nothing.\n")
    assert choir.json("logs", job_id) == []


def test_levels_have_colours_on_a_terminal_but_not_with_no_color(choir):
    job_id = choir.json("submit", "test", "--fail", code=1)["id"]

    def shown(**more):
        return pexpect.spawn(*on_terminal(choir, job_id), env=choir.environment | more, encoding="utf-8").read()

    assert "\x1b[33mWARNING" in shown()
    assert "\x1b" not in shown(NO_COLOR="1")


def on_terminal(hive, job_id):
    program, *rest = hive.command("logs", job_id)
    return program, rest


@pytest.fixture
def kept(hive_up):
    """A job with one running attempt, and its log, of which 10 lines are kept."""
    client = connect(hive_up.settings_of("worker"))
    store = JobStore(client)
    store.create("one", ASKED)
    assert store.start("one", "w1", "h", 15.0) == 1
    return store, LogStore(client, most_lines=10)


def said(*texts):
    return [LogLine(1_000, "INFO", text) for text in texts]


def test_a_part_of_a_log_that_comes_twice_is_kept_once(kept):
    _, logs = kept
    assert logs.append("one", 1, BEGIN, "0 0 5", said("a")) is None
    assert logs.append("one", 1, BEGIN, "0 0 5", said("a")) == "0 0 5"
    assert logs.append("one", 1, BEGIN, "0 0 9", said("a", "b")) == "0 0 5"
    assert logs.append("one", 1, "0 0 5", "0 0 9", said("b")) is None
    assert [entry.text for entry in logs.read("one")] == ["a", "b"]


def test_the_oldest_lines_go_when_a_log_is_full_and_their_number_is_told(kept):
    _, logs = kept
    logs.append("one", 1, BEGIN, "1 0 0", said(*(f"{number}" for number in range(8))))
    logs.append("one", 1, "1 0 0", "2 0 0", said(*(f"{number}" for number in range(8, 15))))
    first, *rest = logs.read("one")
    assert (first.level, first.text) == ("HIVE", "not kept: 5 lines before this")
    assert [entry.text for entry in rest] == [f"{number}" for number in range(5, 15)]
    assert [entry.text for entry in logs.read("one", after=rest[-2].id)] == ["14"]


def test_long_lines_make_a_log_full_sooner(kept, hive_up):
    _, logs = kept
    logs.append("one", 1, BEGIN, "1 0 0", said(*(f"{number}" * 4096 for number in range(10))))
    assert [entry.text[0] for entry in logs.read("one")][1:] == ["8", "9"]
    assert hive_up.redis.memory_usage("hive:job:one:log") < 20_000


def test_only_the_newest_attempt_may_report_progress_but_an_older_one_may_still_log(kept):
    store, logs = kept
    store.lose("one", 1, "its worker vanished")
    store.start("one", "w2", "h", 15.0)
    logs.append("one", 1, BEGIN, "1 0 0", said("late"), Progress(1, 2, "", "late"))
    logs.append("one", 2, BEGIN, "1 0 0", said("new"))
    assert store.get("one").progress is None
    assert [(entry.attempt, entry.text) for entry in logs.read("one")] == [(1, "late"), (2, "new")]
    assert [entry.text for entry in logs.read("one", attempt=2)] == ["new"]


def test_a_log_goes_with_its_job_and_stays_with_a_retry(kept, hive_up):
    store, logs = kept
    logs.append("one", 1, BEGIN, "1 0 0", said("a"))
    store.cancel("one")
    store.retry("one")
    assert [entry.text for entry in logs.follow("one", is_enough=lambda: True)] == ["a"]
    store.forget("one")
    logs.append("one", 1, "1 0 0", "2 0 0", said("b"))
    assert not hive_up.redis.keys("hive:job:*")
