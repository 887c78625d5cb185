"""Tickets of the gateway: good once, for a minute, and few at a time."""

from hive.gateway import auth
from hive.gateway.auth import Tickets


def test_a_ticket_is_good_once():
    box = Tickets()
    ticket = box.issue()
    assert box.redeem(ticket)
    assert not box.redeem(ticket)


def test_a_ticket_is_good_for_a_minute(monkeypatch):
    box = Tickets()
    now = auth.time.monotonic()
    ticket = box.issue()
    monkeypatch.setattr(auth.time, "monotonic", lambda: now + 61)
    assert not box.redeem(ticket)


def test_beyond_twenty_unused_tickets_the_oldest_is_not_good():
    box = Tickets()
    first, *others = [box.issue() for _ in range(21)]
    assert not box.redeem(first)
    assert all(box.redeem(other) for other in others)
