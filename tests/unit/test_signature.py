"""The signature is the schema: what Hive reads from a function."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import click
import jsonschema
import pytest

from hive.cli.submit import task_command
from hive.errors import BadParameterError, TaskDeclarationError, UnknownNameError
from hive.options import JobOptions
from hive.task import Capability, PointCloud, Preview, Raster
from hive.units import AtMost, Bytes, Help, Matching, Metres, MoreThan, OneOf, Rest

rocks = Capability("rocks", "For these tests.")


@dataclass(frozen=True)
class Found:
    count: int
    depth: Annotated[Metres, Help("Mean depth.")]
    names: list[str]


@rocks.task
def survey(
    cloud: PointCloud,
    more: list[PointCloud],
    raster: Raster,
    *,
    cell: Annotated[Metres, MoreThan(0), AtMost(100), Help("Edge of a cell.")] = 1.0,
    method: Literal["fast", "exact"] = "fast",
    bands: list[int] = [1, 2],  # noqa: B006  a task's default is never changed
    limit: Annotated[Metres, MoreThan(0)] | None = None,
    verbose: bool = False,
    memory: Bytes = 0,
    code: Annotated[str, Matching("[A-Z]{3}", "three capital letters")] = "ABC",
    preview: Preview | None = None,
) -> Found:
    """Survey some rocks.

    Slowly.
    """
    return Found(1, 2.0, [cloud.name, *(path.name for path in more), raster.name])


def _check_together(values):
    if values["low"] >= values["high"]:
        raise BadParameterError(f"low must be less than high, {values['high']:g}, not {values['low']:g}.")


@rocks.task(together=_check_together)
def sieve(*, low: float = 1.0, high: float = 2.0) -> None:
    """Sieve some rocks."""


FILES = {"cloud": "a.laz", "more": ["b.laz"], "raster": "c.tif"}


def test_the_wire_name_and_summary_come_from_the_function():
    assert (survey.wire_name, survey.summary) == ("rocks.survey", "Survey some rocks.")


def test_files_are_told_apart_by_the_way_they_travel():
    assert [parameter.name for parameter in survey.reads] == ["cloud", "more"]
    assert [parameter.name for parameter in survey.writes] == ["raster", "preview"]


def test_missing_values_are_filled_with_the_defaults_of_the_signature():
    checked = survey.check(FILES)
    assert checked["cell"] == 1.0
    assert checked["bands"] == [1, 2]
    assert checked["limit"] is None


def test_text_with_another_unit_becomes_si():
    assert survey.check({**FILES, "cell": "3ft", "memory": "2 MiB"}) | {} == {
        **survey.check(FILES),
        "cell": pytest.approx(0.9144, abs=1e-15),
        "memory": 2_097_152,
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cell": -2}, "cell must be more than 0 m, not -2 m."),
        ({"cell": 101.5}, "cell must be at most 100 m, not 101.5 m."),
        ({"cell": "abc"}, "cell must be a number in m: 'abc' is not a number."),
        ({"cell": "2 Hz"}, "cell must be a number in m: 'Hz' is not one of the units cm, ft, in, km, m, mm, us-ft."),
        ({"cell": float("nan")}, "cell must be a number in m, not nan."),
        ({"cell": "1e999"}, "cell must be a number in m: '1e999' is not a finite number."),
        ({"cell": True}, "cell must be a number in m, not True."),
        ({"cell": None}, "cell must be a number in m, not None."),
        ({"method": "slow"}, "method must be one of fast, exact, not 'slow'."),
        ({"bands": [1, 2.5]}, "bands must be a whole number, not 2.5."),
        ({"bands": 3}, "bands must be a list, not 3."),
        ({"verbose": "yes"}, "verbose must be true or false, not 'yes'."),
        ({"more": []}, "more must be a list of at least one."),
        ({"more": ["b.txt"]}, "more must be a point cloud whose name ends in .las or .laz, not 'b.txt'."),
        ({"code": "abc"}, "code must be three capital letters, not 'abc'."),
        ({"limit": 0}, "limit must be more than 0 m, not 0 m."),
    ],
)
def test_a_bad_value_is_refused_in_one_sentence_with_its_unit(values, message):
    with pytest.raises(BadParameterError) as refused:
        survey.check(FILES | values)
    assert str(refused.value) == message


def test_an_unknown_parameter_is_refused_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="no parameter 'cel'. It has: cloud, more, raster, cell"):
        survey.check({**FILES, "cel": 1})


def test_a_missing_parameter_is_named():
    with pytest.raises(BadParameterError, match="rocks.survey needs raster"):
        survey.check({"cloud": "a.laz", "more": ["b.laz"]})


def test_calling_a_task_checks_its_parameters_and_runs_it_here():
    assert survey(Path("a.laz"), [Path("b.laz")], Path("c.tif")).names == ["a.laz", "b.laz", "c.tif"]
    with pytest.raises(BadParameterError, match="cell must be more than 0 m"):
        survey(Path("a.laz"), [Path("b.laz")], Path("c.tif"), cell=0)


def test_a_task_that_is_called_gets_the_checked_values():
    got = []
    called = Capability("called", "")

    def job(cloud: PointCloud, more: list[PointCloud], *, cell: Metres = 1.0, bands: list[int] = [1]) -> None:  # noqa: B006  never changed
        got.extend([cloud, more, cell, bands])

    called.task(job)("a.laz", [Path("b.laz"), "c.laz"], cell="3ft")
    assert got == [Path("a.laz"), [Path("b.laz"), Path("c.laz")], pytest.approx(0.9144, abs=1e-15), [1]]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"cell": 2.5},
        {"cell": 0},
        {"cell": 100},
        {"cell": 101},
        {"cell": None},
        {"method": "exact"},
        {"method": "slow"},
        {"bands": []},
        {"bands": [1]},
        {"bands": ["a"]},
        {"limit": None},
        {"limit": -1},
        {"verbose": True},
        {"verbose": 1},
        {"code": "XYZ"},
        {"code": "xyz"},
        {"more": []},
        {"preview": None},
        {"unknown": 1},
    ],
)
def test_schema_and_checks_say_the_same(values):
    validator = jsonschema.Draft202012Validator(survey.schema())
    try:
        survey.check(FILES | values)
        is_accepted = True
    except (BadParameterError, UnknownNameError):
        is_accepted = False
    assert validator.is_valid(FILES | values) == is_accepted


def test_schema_carries_units_help_and_defaults():
    cell = survey.schema()["properties"]["cell"]
    assert cell == {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 100,
        "x-unit": "m",
        "description": "Edge of a cell.",
        "default": 1.0,
    }


def test_the_result_keeps_its_type_on_the_way_through_json():
    from hive.task.values import to_measures

    found = Found(1, 2.0, ["a"])
    measures = to_measures(found)
    jsonschema.validate(measures, survey.result_schema())
    assert survey.result_from(measures) == found
    assert survey.result_from({**measures, "from_a_newer_version": 1}) == found


@rocks.task
def crush(
    cloud: PointCloud,
    *,
    fast: bool = False,
    words: Annotated[list[str], Rest(), Help("For the crusher.")] = [],  # noqa: B006  as above
) -> dict[str, float | str]:
    """Crush some rocks, as the words say."""
    return {"words": " ".join(words)}


@pytest.mark.parametrize(
    ("line", "words", "is_fast"),
    [
        (["a.laz"], (), False),
        (["a.laz", "--"], (), False),
        (
            ["a.laz", "--fast", "--", "--no-fast", "b c", "--", "$(d)", "-o"],
            ("--no-fast", "b c", "--", "$(d)", "-o"),
            True,
        ),
        (["a.laz", "--", "--help"], ("--help",), False),
    ],
)
def test_every_word_behind_two_dashes_goes_to_the_parameter_that_takes_the_rest(line, words, is_fast):
    given = task_command(crush).make_context("crush", line).params
    assert (given["words"], given["cloud"], bool(given["fast"])) == (words, "a.laz", is_fast)


def test_words_that_are_not_behind_two_dashes_are_refused():
    with pytest.raises(click.UsageError, match="unexpected extra argument"):
        task_command(crush).make_context("crush", ["a.laz", "b"])


def test_the_help_says_what_the_rest_is_for():
    command = task_command(crush)
    shown = command.get_help(click.Context(command, info_name="crush"))
    assert "crush [OPTIONS] CLOUD [-- WORDS...]" in shown
    assert "-- WORDS...  For the crusher." in shown
    assert "--words" not in shown


def test_the_names_of_measures_may_be_known_to_the_run_alone():
    from hive.task.values import to_measures

    measures = to_measures(crush(Path("a.laz"), words=["b", "c"]))
    assert measures == {"words": "b c"}
    assert crush.measures == ()
    assert crush.result_from(measures) == measures
    jsonschema.validate(measures, crush.result_schema())


def _untyped(cloud, *, cell=1.0) -> None: ...
def _counted(cloud: PointCloud, *, count: int = 1) -> None: ...


def _reserved(*, queue: str = "") -> None: ...
def _option_in_front(cell: Metres) -> None: ...
def _unknown_type(*, when: complex = 1j) -> None: ...
def _bad_default(*, cell: Annotated[Metres, MoreThan(0)] = 0.0) -> None: ...
def _many_written(rasters: list[Raster]) -> None: ...
def _anything(*values: int) -> None: ...
def _bad_result() -> set: ...
def _rest_of_numbers(*, counts: Annotated[list[int], Rest()] = [1]) -> None: ...  # noqa: B006  never changed
def _rest_of_one(*, word: Annotated[str, Rest()] = "") -> None: ...
def _two_rests(*, some: Annotated[list[str], Rest()] = [], more: Annotated[list[str], Rest()] = []) -> None: ...  # noqa: B006


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_untyped, "'cloud' of task '_untyped' has no type"),
        (_reserved, "has a name that `hive submit` uses itself"),
        (_counted, "has a name that `hive map` uses itself"),
        (_option_in_front, "is no file; put it behind the `*`"),
        (_unknown_type, "Hive knows numbers with a unit"),
        (_bad_default, "has a default that it does not accept"),
        (_many_written, "a task writes a fixed number of files"),
        (_anything, "must be an ordinary or keyword-only parameter"),
        (_rest_of_numbers, "its type must be list\\[str\\]"),
        (_rest_of_one, "its type must be list\\[str\\]"),
        (_two_rests, "Two parameters of task '_two_rests' take what is behind `--`"),
        (_bad_result, "must return a frozen dataclass or None"),
    ],
)
def test_a_signature_that_cannot_be_read_is_refused_at_once(function, words):
    with pytest.raises(TaskDeclarationError, match=words):
        Capability("broken", "").task(function)


def test_words_that_are_only_known_at_run_time_are_a_choice():
    words = tuple(f"rock-{number}" for number in range(2))

    @Capability("most-rocks", "For this test.").task
    def name(*, kind: Annotated[str, OneOf(words)] = words[0]) -> None:
        """Name."""

    assert name.schema()["properties"]["kind"] == {"enum": ["rock-0", "rock-1"], "default": "rock-0"}
    with pytest.raises(BadParameterError, match="kind must be one of rock-0, rock-1, not 'rock-2'"):
        name.check({"kind": "rock-2"})


def test_two_tasks_of_one_name_are_refused():
    twice = Capability("twice", "")

    def job() -> None: ...

    twice.task(job)
    with pytest.raises(TaskDeclarationError, match="Two tasks are called 'twice.job'"):
        twice.task(job)


def test_values_that_do_not_fit_each_other_are_refused_also_where_one_is_a_default():
    assert sieve.check({"low": 1.5}) == {"low": 1.5, "high": 2.0}
    with pytest.raises(BadParameterError, match="low must be less than high, 2, not 3."):
        sieve.check({"low": 3})
    with pytest.raises(BadParameterError, match="low must be less than high, 0.5, not 1."):
        sieve(high=0.5)


@dataclass(frozen=True)
class Sieving:
    """Sieving of the gravel."""

    fine: Annotated[Metres, MoreThan(0), Help("Finest mesh.")] = 0.002
    coarse: Annotated[Metres, MoreThan(0), Help("Coarsest mesh.")] = 0.064
    shaken: bool = False

    def __post_init__(self):
        if self.fine >= self.coarse:
            raise BadParameterError(f"fine must be less than coarse, {self.coarse:g} m, not {self.fine:g} m.")


@rocks.task
def grade(cloud: PointCloud, *, depth: Metres = 1.0, sieving: Sieving = Sieving(coarse=0.032)) -> None:
    """Grade some gravel."""
    graded.append((cloud, depth, sieving))


graded: list[tuple[Path, float, Sieving]] = []


def run_grade(*args, **kwargs):
    grade(*args, **kwargs)
    return graded.pop()


def test_the_fields_of_a_group_are_parameters_and_the_task_gets_the_group():
    assert grade.check({"cloud": "a.laz"}) == {
        "cloud": "a.laz", "depth": 1.0, "fine": 0.002, "coarse": 0.032, "shaken": False,
    }  # fmt: skip
    assert run_grade("a.laz") == (Path("a.laz"), 1.0, Sieving(0.002, 0.032))
    assert run_grade("a.laz", fine="4 mm", shaken=True)[2] == Sieving(0.004, 0.032, True)
    assert run_grade("a.laz", sieving=Sieving(0.001, 0.01), depth=2)[1:] == (2.0, Sieving(0.001, 0.01))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fine": 0}, "fine must be more than 0 m, not 0 m."),
        ({"fine": 0.04}, "fine must be less than coarse, 0.032 m, not 0.04 m."),
        ({"sieving": Sieving(), "fine": 0.01}, "fine is given twice: in sieving and by its own name."),
        (
            {"sieving": 3},
            "sieving of rocks.grade is a group of parameters. Give them by their own names: fine, coarse, shaken; "
            "or in Python a Sieving.",
        ),
        ({"sieving": Sieving(fine=-1.0)}, "fine must be more than 0 m, not -1 m."),
    ],
)
def test_a_group_is_refused_as_any_parameter_is(values, message):
    with pytest.raises(BadParameterError) as refused:
        grade("a.laz", **values)
    assert str(refused.value) == message


def test_a_group_that_knows_nothing_of_hive_refuses_its_values_in_one_sentence():
    @dataclass(frozen=True)
    class Picky:
        """Settings of the picker."""

        phones: Annotated[int, Help("How many.")]

        def __post_init__(self):
            if self.phones % 2:
                raise ValueError("phones must be even")

    @Capability("picky", "").task
    def take(*, settings: Picky) -> None: ...

    with pytest.raises(BadParameterError, match="picky.take needs phones"):
        take()
    with pytest.raises(BadParameterError, match="Settings of the picker: phones must be even"):
        take(phones=3)
    assert take.schema()["required"] == ["phones"]


def test_a_request_holds_the_fields_of_a_group_and_nothing_else():
    from hive.client.plan import Plan, make_items
    from hive.client.request import make_request
    from tests.support import TILE

    on_gis = JobOptions(queue="gis")
    flat = {"depth": 1.0, "fine": 0.01, "coarse": 0.064, "shaken": False}
    assert make_request(grade, {"cloud": TILE, "sieving": Sieving(fine=0.01)}, on_gis).parameters == flat
    [item] = make_items(Plan(grade, [TILE], values={"sieving": Sieving(fine=0.01)}, options=JobOptions(queue="gis")))
    assert item.request.parameters == flat
    with pytest.raises(BadParameterError, match="fine must be less than coarse"):
        make_request(grade, {"cloud": TILE, "fine": 0.04}, JobOptions(queue="gis"))


def test_a_group_stands_under_its_heading():
    from click.testing import CliRunner

    shown = CliRunner().invoke(task_command(grade), ["--help"]).output
    options, _, sieving = shown.partition("Sieving of the gravel:")
    assert "--depth M" in options
    assert "--fine" not in options
    assert "--fine M                Finest mesh.  [default: 0.002 m]" in sieving
    assert "--shaken / --no-shaken" in sieving
    assert grade.schema()["properties"]["fine"]["x-group"] == "Sieving of the gravel"
    assert "x-group" not in grade.schema()["properties"]["depth"]


@dataclass
class Melting:
    heat: float = 1.0


@dataclass(frozen=True)
class Nested:
    sieving: Sieving = Sieving()


@dataclass(frozen=True)
class WithFile:
    cloud: PointCloud = Path("a.laz")


@dataclass(frozen=True)
class WithQueue:
    queue: str = ""


@dataclass(frozen=True)
class TooFine:
    fine: Annotated[Metres, MoreThan(0)] = 0.0


def _not_frozen(*, melting: Melting = Melting()) -> None: ...  # noqa: B008  for the test
def _nested(*, nested: Nested = Nested()) -> None: ...
def _file_in_group(*, more: WithFile = WithFile()) -> None: ...
def _reserved_field(*, more: WithQueue = WithQueue()) -> None: ...
def _reserved_group(*, detach: Sieving = Sieving()) -> None: ...
def _optional_group(*, sieving: Sieving | None = None) -> None: ...
def _group_in_front(sieving: Sieving = Sieving()) -> None: ...
def _bad_field(*, more: TooFine = TooFine()) -> None: ...
def _field_is_parameter(*, fine: float = 1.0, sieving: Sieving = Sieving()) -> None: ...
def _field_is_group(*, fine: TooFine = TooFine(1.0), sieving: Sieving = Sieving()) -> None: ...
def _same_group_twice(*, first: Sieving = Sieving(), second: Sieving = Sieving()) -> None: ...


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (_not_frozen, "write @dataclass\\(frozen=True\\) for Melting"),
        (_nested, "groups cannot be nested"),
        (_file_in_group, "make it a parameter of the task"),
        (_reserved_field, "'queue' of WithQueue has a name that `hive submit` uses itself"),
        (_reserved_group, "'detach' of task '_reserved_group' has a name that `hive submit` uses itself"),
        (_optional_group, "it can be no list and not None"),
        (_group_in_front, "put it behind the `\\*`"),
        (_bad_field, "'fine' of TooFine has a default that it does not accept"),
        (_field_is_parameter, "are called 'fine'; rename one"),
        (_field_is_group, "are called 'fine'; rename one"),
        (_same_group_twice, "are called 'fine'; rename one"),
    ],
)
def test_a_group_that_cannot_be_read_is_refused_at_once(function, words):
    with pytest.raises(TaskDeclarationError, match=words):
        Capability("broken", "").task(function)


def test_a_part_is_no_task_that_people_can_send():
    from hive.client.request import make_request
    from hive.task import in_parts, part

    quarry = Capability("quarry", "")

    @quarry.part
    def cut(*, block: int) -> None:
        """Cut one block."""

    assert (list(quarry.tasks), list(quarry.parts), cut.wire_name) == ([], ["cut"], "quarry.cut")
    assert in_parts([part(cut, block=1)]) == [None]
    with pytest.raises(UnknownNameError, match="quarry.cut is a part of larger jobs"):
        make_request(cut, {"block": 1})
    with pytest.raises(TaskDeclarationError, match="Two tasks are called 'quarry.cut'"):
        quarry.task(cut.function)


def test_part_takes_a_group_as_the_task_does():
    from hive.task import part

    assert part(grade, Path("a.laz"), sieving=Sieving(fine=0.01)).values == {
        "cloud": Path("a.laz"), "fine": 0.01, "coarse": 0.064, "shaken": False,
    }  # fmt: skip
