"""Finding what is wrong with a Hive: small checks of one shape, each with a sentence and a remedy."""

from collections.abc import Iterator

from hive.client import Session
from hive.home.doctor import machine, network, workers
from hive.home.doctor.finding import Check, Finding, Patient, Verdict

__all__ = ["CHECKS", "Finding", "Verdict", "examine"]

CHECKS = (
    Check("packages", machine.packages),
    Check("home", network.home_answers),
    Check("redis", network.redis_answers),
    Check("gateway", network.gateway_answers),
    Check("password", network.redis_is_closed, needs_redis=True),
    Check("ports", network.open_ports),
    Check("tunnels", network.tunnels_hold),
    Check("redis version", machine.redis_version, needs_redis=True),
    Check("redis disk", workers.append_only_file, needs_redis=True),
    Check("redis memory", workers.memory, needs_redis=True),
    Check("secrets", machine.secrets),
    Check("disk", machine.free_space),
    Check("clocks", workers.clocks, needs_redis=True),
    Check("workers", workers.agreement, needs_redis=True),
    Check("queues", workers.unserved, needs_redis=True),
)


def examine(session: Session) -> Iterator[Finding]:
    """Make every check; those that need Redis are left out where it does not answer, which is a finding too."""
    patient = Patient(session)
    for check in CHECKS:
        if patient.redis_is_there or not check.needs_redis:
            yield from check.findings(patient)
