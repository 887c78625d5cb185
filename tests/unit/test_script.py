"""Scripts of the user's own: what they say they need, what they see and measure, how they run and end."""

import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
from hive_workers.run.environment import script_variables, uv_variables
from hive_workers.run.needs import Needs, check_metadata, read_metadata, read_needs
from hive_workers.run.process import run_program
from hive_workers.run.script import read_measures

from hive.errors import BadFileError, ScriptError
from tests.support import is_gone, wait_until

HEAD = '# /// script\n# dependencies = ["six"]\n# ///\n'


def written(folder: Path, **files: str) -> Path:
    """Write files; `a__b_py` is a/b.py."""
    for name, text in files.items():
        stem, _, suffix = name.rpartition("_")
        file = folder / (stem.replace("__", "/") + "." + suffix)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def run_code(code: str, folder: Path, *words: str):
    return run_program([sys.executable, "-c", code, *words], os.environ, folder)


@pytest.mark.parametrize(
    ("text", "metadata"),
    [
        ("import os\n", ""),
        ("", ""),
        (HEAD + "import six\n", 'dependencies = ["six"]\n'),
        ("#!/usr/bin/env python\n\n" + HEAD, 'dependencies = ["six"]\n'),
        ("# /// script\n# a = 1\n#\n# b = 2\n# ///\n# ///\n# c\n", "a = 1\n\nb = 2\n# ///\n".replace("# ///", "///")),
        ("# /// other\n# a = 1\n# ///\n", ""),
    ],
)
def test_the_block_of_a_script_is_read_as_the_standard_says(tmp_path, text, metadata):
    written(tmp_path, a_py=text)
    assert read_metadata(tmp_path / "a.py") == metadata


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# /// script\n# a = 1\nimport os\n", "has no end; write a line `# ///` behind it."),
        ("# /// script\n# a = [\n# ///\n", "is no TOML: "),
    ],
)
def test_a_block_that_cannot_be_read_is_refused(tmp_path, text, says):
    written(tmp_path, a_py=text)
    with pytest.raises(BadFileError, match=says):
        check_metadata(tmp_path / "a.py")


def test_a_script_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "a.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadFileError, match="is not UTF-8 text"):
        check_metadata(tmp_path / "a.py")


def test_what_a_script_says_itself_goes_before_the_files_of_its_project(tmp_path):
    project = written(tmp_path, pyproject_toml="[project]\nname='a'\n", requirements_txt="six\n", a_py=HEAD, b_py="")
    assert read_needs(project / "a.py", project).install[:2] == ("sync", "--script")
    assert read_needs(project / "b.py", project).install[:2] == ("sync", "--project")
    written(tmp_path, pyproject_toml="[tool.ruff]\n")
    assert read_needs(project / "b.py", project).install[:2] == ("pip", "install")
    assert read_needs(project / "b.py", None) == Needs()


def test_equal_needs_share_an_environment_and_other_ones_do_not(tmp_path):
    def needs(folder, **files):
        project = written(tmp_path / folder, a_py="", **files)
        return read_needs(project / "a.py", project).decisive

    assert needs("a", requirements_txt="six\n") == needs("b", requirements_txt="six\n")
    assert needs("c", requirements_txt="-r more/x.txt\n", more__x_txt="six\n") != needs(
        "d", requirements_txt="-r more/x.txt\n", more__x_txt="attrs\n"
    )
    locked = {"pyproject_toml": "[project]\nname='a'\n"}
    assert needs("e", uv_lock="1", **locked) == needs("f", uv_lock="1", **locked) != needs("g", uv_lock="2", **locked)
    written(tmp_path / "loop", requirements_txt="-r requirements.txt\nsix\n")
    assert needs("loop")[1].count("six") == 2


def test_what_is_installed_from_the_folder_itself_is_not_shared_with_another_folder(tmp_path):
    one, two = (written(tmp_path / name, a_py="", requirements_txt="-e .\n") for name in ("one", "two"))
    assert read_needs(one / "a.py", one).decisive != read_needs(two / "a.py", two).decisive


def test_no_secret_of_the_worker_is_passed_on(tmp_path, monkeypatch):
    for name in ("HIVE_BROKER_URL", "HIVE_TOKEN", "AWS_SECRET_ACCESS_KEY", "UV_INDEX_URL", "HTTPS_PROXY", "PYTHONPATH"):
        monkeypatch.setenv(name, f"hush, {name}")
    seen = script_variables(tmp_path / "venv", tmp_path)
    assert not [name for name, value in seen.items() if "hush" in value]
    for_uv = {name for name, value in uv_variables(tmp_path / "venv", tmp_path).items() if "hush" in value}
    assert for_uv == {"UV_INDEX_URL", "HTTPS_PROXY"}


def test_output_goes_on_line_by_line_and_the_last_errors_are_kept(tmp_path, capfd):
    ended = run_code("import sys; print('a\\nb'); sys.stderr.write('c\\n\\n' + 'd' * 200_000 + '\\nlast')", tmp_path)
    assert (ended.code, ended.signal, ended.errors[-1]) == (0, "", "last")
    out, errors = capfd.readouterr()
    assert out == "a\nb\n"
    assert errors.replace("\n", "") == "c" + "d" * 200_000 + "last"


def test_a_program_gets_no_input_and_its_words_unchanged(tmp_path, capfd):
    words = ["a b", "$(touch x)", "`y`", "'", '"', "*", "--", "-h", ";", "é\n"]
    run_code("import sys, json; print(json.dumps(sys.argv[1:]), repr(sys.stdin.read()))", tmp_path, *words)
    assert capfd.readouterr().out == f"{json.dumps(words)} ''\n"
    assert list(tmp_path.iterdir()) == []


def test_a_signal_is_named(tmp_path):
    assert run_code("import os; os.kill(os.getpid(), 11)", tmp_path).signal == "SIGSEGV"


def test_what_a_program_leaves_running_is_ended(tmp_path):
    code = "import subprocess as s, pathlib; pathlib.Path('pid').write_text(str(s.Popen(['sleep', '600']).pid))"
    assert run_code(code, tmp_path).code == 0
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: is_gone(pid), "it is ended")


def test_the_watchdog_ends_a_program_whose_starter_was_killed(tmp_path):
    inner = (
        "import os, pathlib, subprocess, time; apart = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "pathlib.Path('part').write_text(f'{os.getpid()} {apart.pid}'); os.rename('part', 'pids'); time.sleep(600)"
    )
    outer = (
        "import os, sys, pathlib; from hive_workers.run.process import run_program\n"
        f"run_program([sys.executable, '-c', {inner!r}], os.environ, pathlib.Path())"
    )
    root = Path(__file__).parents[2]
    starter = psutil.Popen([sys.executable, "-c", outer], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)})
    wait_until((tmp_path / "pids").exists, "the program runs")
    family = starter.children(recursive=True)
    assert {int(pid) for pid in (tmp_path / "pids").read_text().split()} < {one.pid for one in family}
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert (len(gone), alive) == (3, [])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[1]", "is no flat JSON object"),
        ('{"a": [1]}', "is no flat JSON object"),
        ('{"a": NaN}', "is no flat JSON object"),
        ('{"": 1}', "is no flat JSON object"),
        ('{"\\u001b": 1}', "is no flat JSON object"),
        (json.dumps(dict.fromkeys(map(str, range(101)), 1)), "at most 100 names"),
        (json.dumps({"a": "x" * 1001}), "at most 1000 characters"),
    ],
)
def test_measures_that_no_record_can_hold_are_refused(tmp_path, text, says):
    (tmp_path / "measures.json").write_text(text)
    with pytest.raises(ScriptError, match=says):
        read_measures(tmp_path)


def test_measures_are_numbers_text_and_switches(tmp_path):
    assert read_measures(tmp_path) == {}
    (tmp_path / "measures.json").write_text('{"cells": 3, "mean": 0.5, "name": "x", "is_flat": true}')
    assert read_measures(tmp_path) == {"cells": 3, "mean": 0.5, "name": "x", "is_flat": True}
