"""`hive jobs` with its filters, and what is done to many jobs at once."""

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import pexpect
import pytest

from tests.support import BIN, Hive, Web, wait_until

pytestmark = pytest.mark.wire


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Two jobs that wait, one of which another queue has, and one that was cancelled; nobody runs them."""
    hive = Hive(tmp_path_factory.mktemp("history"))
    with hive.up(gateway=True):
        ids = {
            "cancelled": hive.submit("test", "--message", "a"),
            "elsewhere": hive.submit("test", "--message", "b", "--queue", "gis"),
            "queued": hive.submit("test", "--message", "c"),
        }
        hive.run("cancel", ids["cancelled"])
        yield hive, ids


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["queued", "elsewhere", "cancelled"]),
        (["--state", "queued"], ["queued", "elsewhere"]),
        (["--state", "queued", "--state", "cancelled"], ["queued", "elsewhere", "cancelled"]),
        (["--state", "failed"], []),
        (["--task", "test.probe"], ["queued", "elsewhere", "cancelled"]),
        (["--task", "gis.dtm"], []),
        (["--capability", "gis"], []),
        (["--since", "1h"], ["queued", "elsewhere", "cancelled"]),
        (["--since", "2999-01-01"], []),
        (["-n", "1"], ["queued"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_jobs_are_filtered(history, options, names):
    hive, ids = history
    assert [job["id"] for job in hive.json("jobs", *options)] == [ids[name] for name in names]


def test_a_text_is_looked_for_in_the_id(history):
    hive, ids = history
    assert [job["id"] for job in hive.json("jobs", "--text", ids["queued"][:12])] == [ids["queued"]]


@pytest.mark.parametrize(("option", "value"), [("--state", "faild"), ("--since", "yesterday")])
def test_a_filter_that_cannot_be_read_is_refused(history, option, value):
    said = history[0].run("jobs", option, value, code=2).stderr
    assert f"not '{value}'" in said


def test_the_http_api_filters_by_task_and_time_too(history):
    hive, ids = history
    web = Web(hive)

    def listed(query):
        return [job["id"] for job in web.ask("GET", f"/task?{query}").json()["jobs"]]

    assert listed("task=test.probe") == [ids["queued"], ids["elsewhere"], ids["cancelled"]]
    assert listed("task=gis.dtm") == []
    assert len(listed(f"since={(datetime.now(UTC) - timedelta(hours=1)).strftime('%Y-%m-%dT%H:%M:%SZ')}")) == 3
    assert listed("since=2999-01-01T00:00:00Z") == []
    assert web.ask("GET", "/task?since=2026-11-26").status == 400


def test_tables_say_how_long_ago_and_json_says_when(history):
    hive, ids = history
    [line] = [line for line in hive.run("jobs").stdout.splitlines() if line.startswith(ids["queued"][:8])]
    assert " ago" in line
    [job] = [job for job in hive.json("jobs") if job["id"] == ids["queued"]]
    assert datetime.fromisoformat(job["submitted_at"]).tzinfo == UTC


def test_a_watched_list_goes_on_where_something_changes_and_ends_at_ctrl_c(hive_up):
    first = hive_up.submit("test")
    command, environment = hive_up.command("jobs", "--watch", "--json"), hive_up.environment
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert [job["id"] for job in json.loads(process.stdout.readline())] == [first]
            second = hive_up.submit("test")
            assert [job["id"] for job in json.loads(process.stdout.readline())] == [second, first]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()


def test_a_list_is_watched_on_a_terminal(hive_up):
    first = hive_up.submit("test")
    shown = pexpect.spawn(str(BIN / "hive"), ["jobs", "--watch"], env=hive_up.environment, encoding="utf-8", timeout=30)
    shown.expect(first[:8])
    second = hive_up.submit("test")
    shown.expect(second[:8])
    shown.sendintr()
    shown.expect(pexpect.EOF)
    assert "Traceback" not in shown.before
    shown.close()
    assert shown.exitstatus == 130


def states(hive):
    return sorted(job["state"] for job in hive.json("jobs"))


def test_many_jobs_are_cancelled_and_retried_at_once(hive_up):
    for _ in range(2):
        hive_up.submit("test")
    hive_up.submit("test", "--queue", "gis")
    said = hive_up.run("cancel", "--all", code=2).stderr
    assert "Not a terminal: pass --yes to cancel 3 jobs." in said
    assert states(hive_up) == ["queued"] * 3
    assert "3 of 3 done" in hive_up.run("cancel", "--all", "--state", "queued", "--yes").stderr
    assert states(hive_up) == ["cancelled"] * 3
    assert "There are no such jobs." in hive_up.run("retry", "--all", "--yes").stderr  # only failed ones, unless asked
    assert "3 of 3 done" in hive_up.run("retry", "--all", "--state", "cancelled", "--yes").stderr
    assert states(hive_up) == ["queued"] * 3


def test_a_person_is_asked_before_many_jobs_are_cancelled(hive_up):
    hive_up.submit("test")
    for answer, state, code in (("n", "queued", 1), ("y", "cancelled", 0)):
        asked = pexpect.spawn(
            str(BIN / "hive"), ["cancel", "--all"], env=hive_up.environment, encoding="utf-8", timeout=30
        )
        asked.expect(r"Cancel 1 job \(1 queued\)\? \[y/N\]")
        asked.sendline(answer)
        asked.expect(pexpect.EOF)
        asked.close()
        assert (asked.exitstatus, states(hive_up)) == (code, [state])


def test_jobs_with_which_it_failed_are_listed(hive_up):
    ended, waiting = hive_up.submit("test"), hive_up.submit("test")
    hive_up.run("cancel", ended)
    wait_until(lambda: hive_up.record(ended)["state"] == "cancelled", "it is cancelled")
    answer = hive_up.run("cancel", "--all", "--state", "queued", "--state", "cancelled", "--yes", code=1)
    assert f"{ended[:8]}  test.probe  The job {ended[:8]} is cancelled already" in answer.stdout
    assert waiting[:8] not in answer.stdout
    assert "1 of 2 done" in answer.stderr
    assert hive_up.record(waiting)["state"] == "cancelled"


@pytest.mark.parametrize("words", [["cancel"], ["cancel", "abc", "--all"], ["retry", "abc", "--state", "failed"]])
def test_a_command_that_does_not_say_which_jobs_is_refused(hive, words):
    assert "Name a job, or pass --all" in hive.run(*words, code=2).stderr
