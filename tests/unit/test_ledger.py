"""The list of what was submitted from here: kept, extended, and in words where it cannot be used."""

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hive.client import ledger as ledger_module
from hive.client.ledger import Entry, Ledger
from hive.errors import LedgerError
from hive.wire.job import Specification

ASKED = Specification("test", "test.probe", "test", {"seconds": 1.0}, {}, {})
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path)


def note(ledger, *job_ids, broker="home"):
    for job_id in job_ids:
        ledger.note(job_id, ASKED, {"output": Path("out.bin")}, broker)


def test_what_is_unfinished_is_listed_oldest_first(ledger):
    note(ledger, "b", "a", "c")
    ledger.finish("a")
    assert ledger.unfinished("home", LONG_AGO) == {"b": ASKED, "c": ASKED}
    assert list(ledger.unfinished("home", LONG_AGO)) == ["b", "c"]


def test_a_job_that_is_tried_again_is_unfinished_again(ledger):
    note(ledger, "a")
    ledger.finish("a")
    ledger.reopen("a")
    assert list(ledger.unfinished("home", LONG_AGO)) == ["a"]


def test_many_jobs_are_noted_in_one_step_and_found_by_what_they_were_asked(ledger):
    ledger.note_many([Entry(f"job{number}", ASKED, {}, f"digest{number}") for number in range(1200)], "home")
    wanted = [f"digest{number}" for number in range(0, 1300, 100)]
    assert ledger.requested(wanted, "home") == {f"digest{number}": f"job{number}" for number in range(0, 1200, 100)}
    assert ledger.requested(wanted, "studio:6379/0") == {}
    assert len(ledger.unfinished("home", LONG_AGO)) == 1200


def test_of_several_jobs_with_the_same_request_the_newest_is_found(ledger):
    for job_id in ("first", "second"):
        ledger.note_many([Entry(job_id, ASKED, {}, "digest")], "home")
    assert ledger.requested(["digest"], "home") == {"digest": "second"}


def test_a_job_that_is_noted_again_is_unfinished_again(ledger):
    note(ledger, "a", "b")
    ledger.finish_many(["a", "b"])
    note(ledger, "a")
    assert list(ledger.unfinished("home", LONG_AGO)) == ["a"]


def test_jobs_of_another_broker_and_old_ones_are_left_out(ledger):
    note(ledger, "here")
    note(ledger, "there", broker="studio:6379/0")
    assert list(ledger.unfinished("home", LONG_AGO)) == ["here"]
    assert ledger.unfinished("home", datetime.now(UTC) + timedelta(days=1)) == {}


def test_looking_makes_no_file(ledger, tmp_path):
    assert ledger.unfinished("home", LONG_AGO) == {}
    assert ledger.destinations("a") == {}
    assert ledger.requested(["digest"], "home") == {}
    ledger.finish("a")
    ledger.reopen("a")
    assert list(tmp_path.iterdir()) == []


def test_an_older_ledger_is_extended_and_keeps_what_it_has(ledger, tmp_path):
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as old:
        old.execute("CREATE TABLE job (id TEXT PRIMARY KEY, submitted_at TEXT, specification TEXT, destinations TEXT)")
        old.execute(
            "INSERT INTO job VALUES ('old', '2026-11-01T00:00:00.000Z', ?, ?)", (ASKED.to_json(), '{"output": "/a"}')
        )
    old.close()
    assert ledger.destinations("old") == {"output": Path("/a")}
    assert list(ledger.unfinished("home", LONG_AGO)) == ["old"]
    ledger.finish("old")
    assert ledger.unfinished("home", LONG_AGO) == {}
    ledger.note_many([Entry("new", ASKED, {}, "digest")], "home")
    assert ledger.requested(["digest"], "home") == {"digest": "new"}


def test_first_commands_at_the_same_time_do_not_hinder_each_other(tmp_path):
    failed = []

    def submit(number):
        try:
            for job in range(5):
                note(Ledger(tmp_path), f"{number}.{job}")
        except LedgerError as error:
            failed.append(error)

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(Ledger(tmp_path).unfinished("home", LONG_AGO)) == 40


def test_one_that_another_program_holds_is_said_in_a_sentence(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "_PATIENCE_S", 0.1)
    note(ledger, "a")
    holder = sqlite3.connect(tmp_path / "ledger.sqlite3")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerError, match="another program holds it. End that program, or try again"):
        note(ledger, "b")
    holder.close()
    note(ledger, "b")


def test_a_damaged_one_is_said_with_a_way_out(ledger, tmp_path):
    (tmp_path / "ledger.sqlite3").write_bytes(b"not a database " * 1000)
    with pytest.raises(LedgerError, match="it is damaged. Put it aside: mv ") as raised:
        ledger.destinations("a")
    _, source, aside = str(raised.value).partition("mv ")[2].partition(";")[0].partition(str(tmp_path))
    assert (source, aside) == (str(tmp_path), f"/ledger.sqlite3 {tmp_path}/ledger.sqlite3.damaged")


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="Not a directory|File exists"):
        Ledger(tmp_path / "file").check()
