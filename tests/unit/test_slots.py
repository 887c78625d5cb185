"""Which attempts run here: whoever ends a process first makes sure that it is still at the attempt it means."""

import multiprocessing
import signal

import pytest

from hive.staging import Cache
from hive.worker.slots import Slots, this_process


@pytest.fixture
def slots(tmp_path):
    made = Slots(tmp_path / "running", Cache(tmp_path / "cache", None, 1 << 20))
    made.prepare()
    return made


def test_an_attempt_that_has_left_is_not_claimed(slots):
    slot = this_process("f00d", 1, None, None)
    with slots.occupy(slot):
        assert slots.all() == [slot]
    assert not slots.claim(slot)
    assert not slots.is_running("f00d.1")


def test_a_claimed_attempt_is_running_until_it_is_cleared(slots):
    process = multiprocessing.get_context("fork").Process(target=_claimed_within, args=(slots,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL  # it does not go on to another job
    [slot] = slots.all()
    assert slots.is_running(slot.name)
    assert slots.claim(slot)
    slots.clear(slot)
    assert slots.all() == []


def _claimed_within(slots):
    slot = this_process("f00d", 1, None, None)
    with slots.occupy(slot):
        assert slots.claim(slot)
