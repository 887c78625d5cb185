"""More machines for queues that wait: when one more may be started, and when not."""

from datetime import UTC, datetime, timedelta

import pytest

from hive.errors import SettingError
from hive.machines.autoscale import Bounds, decide, read_budget
from hive.machines.records import Machine
from hive.store import QueueReport

NOW = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)
BOUNDS = Bounds(max_machines=2, usd_per_day=10.0, wait_s=120)


def queue(name="gis", queued=5, oldest_s=300.0):
    return QueueReport(name, queued, 0, oldest_s, 0)


def machine(number=1, *, age_h=0.5, hours=2, ended_after_h=None, price=1.0, capabilities="gis=2"):
    created = NOW - timedelta(hours=age_h)
    ended = None if ended_after_h is None else created + timedelta(hours=ended_after_h)
    return Machine(
        f"aws-{number}", "aws", 1, "t", "aws", "g4dn.xlarge", "us-east-1", False, capabilities, price, created,
        created + timedelta(hours=hours), "i-1", ended,
    )  # fmt: skip


def decided(queues, machines=(), reported=(), bounds=BOUNDS, next_usd=2.0):
    found = decide(queues, list(machines), reported, ["gis", "training"], bounds, next_usd, NOW)
    return [(one.queue, one.is_start) for one in found], " ".join(one.why for one in found)


def test_a_queue_that_waits_too_long_gets_a_machine():
    assert decided([queue()]) == ([("gis", True)], "its oldest job has waited for 300 s")
    assert decided([queue(oldest_s=100)])[0] == []
    assert decided([queue(queued=0, oldest_s=0)])[0] == []
    assert decided([queue("3d-generation")])[0] == []  # a new machine would not serve it


def test_one_machine_at_a_time_and_no_more_than_allowed():
    assert decided([queue()], [machine()])[1].endswith("aws-1 is starting")
    assert decided([queue()], [machine()], ["gis@aws-1"])[0] == [("gis", True)]
    both = [machine(1), machine(2)]
    assert decided([queue()], both, ["gis@aws-1", "gis@aws-2"])[1].endswith("2 of at most 2 machines exist")
    assert decided([queue(), queue("training")], [machine()], ["gis@aws-1"])[0] == [("gis", True), ("training", False)]


def test_what_was_spent_within_a_day_counts_and_what_is_promised():
    dear = machine(price=4.5)  # 2 h of it are promised: 9 of 10 dollars
    assert decided([queue()], [dear], ["gis@aws-1"])[1].endswith(
        "one more could raise the cost to $11.00 of $10.00 per day"
    )
    yesterday = machine(price=4.5, age_h=26, ended_after_h=2)
    assert decided([queue()], [yesterday])[0] == [("gis", True)]
    this_morning = machine(price=4.5, age_h=8, ended_after_h=2)
    assert decided([queue()], [this_morning])[0] == [("gis", False)]


@pytest.mark.parametrize("text", ["10", "ten/day", "-1/day", "10/week"])
def test_a_budget_is_of_a_day(text):
    assert read_budget("$2.50/day") == 2.5
    with pytest.raises(SettingError, match="such as 10/day"):
        read_budget(text)
