"""`run.script` as a plain function, and the environments that uv makes for it; nothing here needs a package index."""

import contextlib
import os
import textwrap
import threading
from pathlib import Path

import pytest
from hive_workers.run import environment as environments
from hive_workers.run.environment import environment
from hive_workers.run.needs import Needs
from hive_workers.run.process import run_program
from hive_workers.run.script import script

from hive.errors import EngineError, ScriptError
from tests.support import require_program

pytestmark = pytest.mark.science


@pytest.fixture
def made(tmp_path):
    """Where environments are made."""
    require_program("uv")
    return tmp_path / "environments"


def test_an_environment_is_made_once_and_has_nothing_of_the_workers(made, tmp_path):
    with environment(made, Needs()) as first:
        stamp = (first / "pyvenv.cfg").stat().st_mtime_ns
        code = "import sys, importlib.util as i; sys.exit(int(i.find_spec('celery') is not None))"
        assert run_program([str(first / "bin" / "python"), "-c", code], {}, tmp_path).code == 0
    with environment(made, Needs()) as second:
        assert (second, (second / "pyvenv.cfg").stat().st_mtime_ns) == (first, stamp)
    with environment(made, Needs(decisive=("other",))) as third:
        assert third != first


def test_many_who_want_the_same_environment_make_it_once(made):
    got = []

    def want():
        with environment(made, Needs()) as place:
            got.append((place, (place / "pyvenv.cfg").stat().st_ino))

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    assert len(set(got)) == 1


def test_what_a_killed_attempt_left_half_made_is_made_anew(made):
    with environment(made, Needs()) as place:
        pass
    (place.parent / "ready").unlink()
    (place / "bin" / "python").unlink()
    with environment(made, Needs()) as again:
        assert (again / "bin" / "python").exists()


def test_an_environment_that_cannot_be_made_leaves_nothing_and_says_why(made):
    with (
        pytest.raises(EngineError, match="uv could not make the environment: .*no-such-file.txt"),
        environment(made, Needs(("pip", "install", "-r", "no-such-file.txt"))),
    ):
        pass
    assert list((made / "made").iterdir()) == []


def test_the_environments_that_were_used_last_are_kept_and_those_in_use(made, monkeypatch):
    monkeypatch.setattr(environments, "_MOST", 1)
    with environment(made, Needs(decisive=("in use",))) as used:
        for name in ("old", "new"):
            with environment(made, Needs(decisive=(name,))) as last:
                os.utime(last.parent / "ready", (0, 0)) if name == "old" else None
        assert used.exists()
    assert sorted((made / "made").iterdir()) == sorted([used.parent, last.parent])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    require_program("uv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_script_is_a_plain_function_of_files_too(folder):
    (folder / "one").mkdir()
    for file in ("tile.txt", "one/tile.txt"):
        (folder / file).write_text(file)
    code = """
        import json, os, pathlib, sys

        texts = [pathlib.Path(word).read_text() for word in sys.argv[1:3]]
        there = sorted(os.listdir(os.environ["HIVE_INPUTS"]))
        pathlib.Path("got.txt").write_text(repr((texts, sys.argv[3:], there)))
        pathlib.Path("measures.json").write_text(json.dumps({"cells": 3, "mean": 0.5, "name": "x"}))
    """
    (folder / "a.py").write_text(textwrap.dedent(code))
    found = script(Path("a.py"), [Path("tile.txt"), Path("one/tile.txt")], out=Path("out"), args=["--x", "1"])
    assert found == {"cells": 3, "mean": 0.5, "name": "x"}
    assert (folder / "out" / "got.txt").read_text() == repr(
        (["tile.txt", "one/tile.txt"], ["--x", "1"], ["2", "tile.txt"])
    )
    assert sorted(path.name for path in folder.iterdir()) == ["a.py", "one", "out", "tile.txt"]


def test_an_input_cannot_be_changed_for_others(folder):
    (folder / "tile.txt").write_text("mine")
    (folder / "tile.txt").chmod(0o444)
    (folder / "a.py").write_text("import sys; open(sys.argv[1], 'a').write('!')")
    with contextlib.suppress(ScriptError):  # root changes its own copy, everybody else is refused
        script(Path("a.py"), [Path("tile.txt")], out=Path("out"))
    assert (folder / "tile.txt").read_text() == "mine"


def test_a_worker_that_is_not_root_links_its_inputs_and_copies_nothing(folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (folder / "tile.txt").write_text("mine")
    code = "import os, sys; open('got.txt', 'w').write(os.path.realpath(sys.argv[1]) + open(sys.argv[1]).read())"
    (folder / "a.py").write_text(code)
    script(Path("a.py"), [Path("tile.txt")], out=Path("out"))
    assert (folder / "out" / "got.txt").read_text() == f"{folder / 'tile.txt'}mine"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ValueError('too steep')", "a.py ended with exit code 1. Its last words: ValueError: too steep"),
        ("import sys; sys.exit(7)", "a.py ended with exit code 7. It wrote nothing to standard error."),
        ("import os; os.kill(os.getpid(), 9)", "a.py was ended by SIGKILL. The machine most likely ran out of memory."),
    ],
)
def test_what_goes_wrong_is_one_sentence(folder, code, says):
    (folder / "a.py").write_text(code)
    with pytest.raises(ScriptError) as failed:
        script(Path("a.py"), out=Path("out"))
    assert says in str(failed.value)
