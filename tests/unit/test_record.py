"""A job's specification as it is kept: short, and read back as it was."""

import json

import msgspec
import pytest

from hive.task import Limits
from hive.wire.job import Priority, Specification


def asked(**more):
    return Specification("gis", "gis.dtm", "gis", {"cell": 1.0}, **({"inputs": {}, "outputs": {}} | more))


def test_what_is_as_usual_is_not_written():
    kept = json.loads(asked().to_json())
    assert kept == {"capability": "gis", "task": "gis.dtm", "queue": "gis", "parameters": {"cell": 1.0}}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"inputs": {"cloud": "sha256:0/a.laz"}, "outputs": {"raster": "a.tif"}, "parent": "abc"},
        {"priority": Priority.HIGH},
        {"limits": Limits(attempts=3, time_s=60.0)},
        {"limits": Limits(attempts=None, memory_bytes=1 << 30)},
    ],
)
def test_a_specification_comes_back_as_it_was_written(more):
    assert Specification.from_json(asked(**more).to_json()) == asked(**more)


def test_a_specification_of_before_which_says_everything_is_read_too():
    said = msgspec.structs.asdict(asked()) | {"limits": vars(Limits(attempts=3)), "priority": "normal", "parent": ""}
    assert Specification.from_json(json.dumps(said)) == asked()


def test_the_name_of_the_task_comes_second_where_redis_looks_for_it():
    text = asked(inputs={"task": "other"}).to_json()
    assert text.startswith('{"capability":"gis","task":"gis.dtm",')
