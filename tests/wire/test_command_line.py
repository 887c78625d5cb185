"""`hive` as a whole: its help, names that are nearly right, and Ctrl-C at any moment."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import click
import pytest

from hive.cli.common import Section
from hive.cli.root import hive as root
from tests.support import BIN

pytestmark = pytest.mark.wire
GROUPS = ([], ["fleet"], ["fleet", "up"], ["cost"], ["deploy"], ["access"], ["submit", "gis"], ["submit"])


def help_of(hive, words, columns):
    return hive.run(*words, "--help", environment={"COLUMNS": str(columns)}).stdout


def test_help_has_the_commands_in_four_sections(hive):
    said = help_of(hive, [], 80)
    assert re.findall(r"^(\w[\w ]+):$", said, re.MULTILINE) == ["Options", "Jobs", "Workers", "Machines", "This Mac"]
    sections = dict(re.findall(r"^(Jobs|Workers|Machines|This Mac):\n((?:  .+\n)+)", said, re.MULTILINE))
    assert {"submit", "map", "jobs", "cancel"} <= set(re.findall(r"^  (\w+)", sections["Jobs"], re.MULTILINE))
    assert {"worker", "workers", "queues"} <= set(re.findall(r"^  (\w+)", sections["Workers"], re.MULTILINE))
    assert {"fleet", "deploy", "cost"} <= set(re.findall(r"^  (\w+)", sections["Machines"], re.MULTILINE))
    assert {"up", "down", "status", "config"} <= set(re.findall(r"^  (\w+)", sections["This Mac"], re.MULTILINE))


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_no_summary_is_cut_at_80_columns(hive, words):
    said = help_of(hive, words, 80)
    assert "..." not in re.sub(r"\[?\w+\]?\.\.\.", "", said.partition("\n\n")[2])
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("words", GROUPS[:-2], ids=" ".join)
def test_each_summary_of_hives_own_commands_takes_one_line_at_80_columns(hive, words):
    lists = help_of(hive, words, 80).partition("-h, --help")[2].splitlines()[1:]
    assert [line for line in lists if line.startswith("     ")] == []


def test_each_command_is_listed_once_and_found_by_its_name():
    context = click.Context(root)
    names = root.list_commands(context)
    assert len(names) == len(set(names))
    assert list(root.sections()) == list(Section)
    for name in names:
        assert root.get_command(context, name).name == name
    assert root.get_command(context, "common") is None


@pytest.mark.parametrize(
    ("words", "meant"), [("jbos", "jobs"), ("fleet lss", "ls"), ("sumbit", "submit"), ("cost reprot", "report")]
)
def test_an_unknown_command_is_answered_with_the_suggestion_first(hive, words, meant):
    said = hive.run(*words.split(), code=2).stderr
    assert said.startswith(f"hive: Did you mean '{meant}'? There is no command '{words.split()[-1]}'")


def test_a_reader_that_has_enough_is_no_error(hive):
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{BIN}/hive describe gis.dtm --json | head -1; {BIN}/hive config | true"],
        env=hive.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ("{\n", "")


# Runs `hive` and sends itself SIGINT at the import of this number, counted from the entry point.
INTERRUPTED = """
    import atexit, os, signal, sys
    from hive.cli import main

    class Imports:
        count = 0
        def find_spec(self, name, path=None, target=None):
            self.count += 1
            if self.count == number:
                os.kill(os.getpid(), signal.SIGINT)

    number = int(sys.argv.pop(1))
    imports = Imports()
    sys.meta_path.insert(0, imports)
    if number == 0:
        atexit.register(lambda: print(imports.count, file=sys.stderr))
    main()
"""


@pytest.mark.parametrize("command", ["--help", "jobs"])
def test_ctrl_c_at_any_import_says_nothing_and_is_exit_code_130(hive, command):
    script = [sys.executable, "-c", textwrap.dedent(INTERRUPTED)]
    whole = subprocess.run([*script, "0", command], env=hive.environment, capture_output=True, text=True)
    imports = int(whole.stderr.splitlines()[-1])
    for number in {1, 2, 3, 5, 8, *range(10, imports, max(imports // 12, 1))}:
        ended = subprocess.run([*script, str(number), command], env=hive.environment, capture_output=True, text=True)
        assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", ""), number


@pytest.mark.parametrize("command", ["--help", "jobs"])
def test_ctrl_c_within_the_first_moments_shows_no_traceback_of_hive(hive, command):
    for delay_ms in range(0, 400, 20):
        process = subprocess.Popen(
            hive.command(command), env=hive.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        time.sleep(delay_ms / 1000)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
        # Before the entry point there is only the interpreter, which complains of a Ctrl-C while it starts.
        own = [line for line in said.splitlines() if f"hive{os.sep}cli" in line or f"{os.sep}click{os.sep}" in line]
        assert own == [], (delay_ms, said)
