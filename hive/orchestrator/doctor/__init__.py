"""Finding what is wrong with a Hive: small checks of one shape, each with a sentence and a remedy."""

from collections.abc import Iterator

from hive.client import Session
from hive.orchestrator.doctor import disk, fleet, network, programs, records
from hive.orchestrator.doctor.finding import Check, Finding, Patient, Verdict

__all__ = ["CHECKS", "Finding", "Verdict", "examine"]

CHECKS = (
    Check("packages", programs.packages),
    Check("home", network.home_answers),
    Check("redis", network.redis_answers),
    Check("gateway", network.gateway_answers),
    Check("password", network.redis_is_closed, needs_redis=True),
    Check("ports", network.open_ports),
    Check("tunnels", network.tunnels_hold),
    Check("redis version", programs.redis_version, needs_redis=True),
    Check("redis disk", records.append_only_file, needs_redis=True),
    Check("redis memory", records.memory, needs_redis=True),
    Check("secrets", disk.secrets),
    Check("disk", disk.free_space),
    Check("clocks", fleet.clocks, needs_redis=True),
    Check("workers", fleet.agreement, needs_redis=True),
    Check("queues", fleet.unserved, needs_redis=True),
)


def examine(session: Session) -> Iterator[Finding]:
    """Make every check; those that need Redis are left out where it does not answer, which is a finding by itself."""
    patient = Patient(session)
    for check in CHECKS:
        if patient.redis_is_there or not check.needs_redis:
            yield from check.findings(patient)
