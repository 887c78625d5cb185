"""Job-wide options are declared once: what is added to `JobOptions` is known to all that read it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hive.errors import BadParameterError, UnknownNameError
from hive.options import JobOptions, Priority, job_options, reserved_names

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({"priority": "urgent"}, BadParameterError, "The priority must be low, normal or high, not 'urgent'."),
        ({"priority": None}, BadParameterError, "The priority must be low, normal or high, not None."),
        ({"queue": ""}, BadParameterError, "The queue must be the name of a queue, not ''."),
        ({"queue": 5}, BadParameterError, "The queue must be the name of a queue, not 5."),
        ({"budget_usd": "nan"}, BadParameterError, "The budget must be an amount of 0 US$ or more, not 'nan'."),
        ({"budget_usd": float("inf")}, BadParameterError, "The budget must be an amount of 0 US$ or more, not inf."),
        ({"budget_usd": 10**400}, BadParameterError, "The budget must be an amount of 0 US$ or more"),
        ({"budget_usd": [1]}, BadParameterError, "The budget must be an amount of 0 US$ or more, not [1]."),
        ({"prioritty": "high"}, UnknownNameError, "There is no job option 'prioritty'.*Did you mean 'priority'?"),
    ],
)
def test_a_value_that_no_job_can_have_is_refused_in_one_sentence(values, error, words):
    with pytest.raises(error) as caught:
        JobOptions.read(values)
    first, _, last = words.partition(".*")
    assert str(caught.value).startswith(first)
    assert str(caught.value).endswith(last)


def test_values_are_what_a_command_line_or_a_json_document_says():
    assert JobOptions.read({}) == JobOptions(queue=None, priority=Priority.NORMAL, budget_usd=None)
    assert JobOptions.read({"priority": "low", "budget_usd": "2.5"}) == JobOptions(priority="low", budget_usd=2.5)
    assert JobOptions(budget_usd=0).budget_usd == 0.0


def test_names_and_flags_of_options_are_no_names_of_parameters():
    assert {"queue", "priority", "budget", "budget_usd"} == reserved_names()
    assert [option.flag for option in job_options()] == ["--queue", "--priority", "--budget"]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A copy of Hive whose `JobOptions` has one field more, and nothing else has been touched."""
    tree = tmp_path_factory.mktemp("planted")
    shutil.copytree(ROOT / "hive", tree / "hive", ignore=shutil.ignore_patterns("__pycache__"))
    file = tree / "hive" / "options.py"
    mark = "    def __post_init__"
    field = '    rock_type: str = option(str, "Rock.", default="basalt", metavar="ROCK", schema={"type": "string"})\n\n'
    assert mark in file.read_text()
    file.write_text(file.read_text().replace(mark, field + mark, 1))
    return tree


def run(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(tree), "COLUMNS": "110"}
    return subprocess.run(
        [sys.executable, *words], env=environment, cwd=tree, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    "words", [["submit", "--help"], ["submit", "test", "probe", "--help"], ["map", "test", "probe", "--help"]]
)
def test_an_option_that_is_added_is_one_of_the_command_line(planted, words):
    shown = run(planted, "-m", "hive", *words).stdout
    assert "--rock-type ROCK" in shown
    assert "[default: basalt]" in shown


def test_an_option_that_is_added_is_one_of_the_http_api(planted):
    script = """if True:
        from hive.gateway.openapi import document
        from hive.gateway.server import ROUTES
        from hive.gateway.tasks import _request
        post = document(ROUTES)["paths"]["/task"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        print(post["properties"]["rock_type"])
        print(_request({"type": "test.probe", "rock_type": "gneiss"}).options.rock_type)
    """
    ended = run(planted, "-c", script)
    assert ended.stdout == "{'type': 'string', 'description': 'Rock.'}\ngneiss\n", ended.stderr


def test_an_option_that_is_added_is_no_name_of_a_parameter(planted):
    script = """if True:
        from hive.errors import TaskDeclarationError
        from hive.task import Capability
        def crush(*, rock_type: str = "") -> None: ...
        try:
            Capability("lab", "").task(crush)
        except TaskDeclarationError as error:
            print(error)
    """
    ended = run(planted, "-c", script)
    assert "'rock_type' of task 'crush' has a name that `hive submit` uses itself" in ended.stdout, ended.stderr


def test_an_option_that_is_added_is_one_of_python(planted):
    script = "import hive; print(hive.Client().with_options(rock_type='tuff')._options.rock_type)"
    ended = run(planted, "-c", script)
    assert ended.stdout == "tuff\n", ended.stderr
