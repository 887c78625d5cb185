"""Starting machines, all or none, and listing them."""

import dataclasses
import secrets
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hive.costs.prices import Offer
from hive.errors import BudgetError, CloudError, SettingError, UnreachableError
from hive.machines.first_start import Installer, Limits
from hive.machines.records import Machine, Records
from hive.machines.sweep import end, interruptible, record_ended, uninterrupted
from hive.providers.provider import Order, Provider, Resource, format_time, now, read_time
from hive.settings import Settings
from hive.store import Registry
from hive.worker.starter import read_nodes

_POLL_S = 1.0
_POLL_PROVIDER_S = 15.0


@dataclass(frozen=True)
class LaunchRequest:
    """What the user requests, in the words of the command line; `extra` are the provider's own options."""

    type: str
    count: int
    capabilities: str
    hours: float
    idle_min: float
    is_spot: bool = False
    budget_usd: float | None = None
    is_unknown_price_accepted: bool = False
    disk_gb: int = 100
    ssh_key: str = ""
    ssh_from: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LaunchPlan:
    """What will be started, and the most that it will cost until its expiry."""

    request: LaunchRequest
    offer: Offer
    total_usd: float | None

    @property
    def price_text(self) -> str:
        """The price in words."""
        if self.offer.price_usd_per_h is None or self.total_usd is None:
            return "price unknown"
        spot = self.offer.spot_usd_per_h
        spot_text = f", spot now ${spot:.4g}" if spot else ""
        hourly = f"${self.offer.price_usd_per_h:.4g} an hour each{spot_text}"
        return f"{hourly}; at most ${self.total_usd:.2f} for {self.request.hours:g} h, without disks and traffic"


def make_plan(provider: Provider, request: LaunchRequest) -> LaunchPlan:
    """Look up the machine type and what the request costs.

    Raises
    ------
    BudgetError
        It costs more than the budget.
    SettingError
        Its price is unknown, and the user has not accepted that.
    """
    offer = provider.offer(request.type, is_spot=request.is_spot)
    price = offer.price_usd_per_h
    if price is None:
        if not request.is_unknown_price_accepted:
            raise SettingError(
                f"The price of {request.type} in {provider.region} is unknown. "
                f"Read the price list: hive cost refresh {provider.name}. Or start it without any check of its cost: "
                "hive fleet up … --accept-unknown-price."
            )
        if request.budget_usd is not None:
            raise BudgetError(f"The price of {request.type} is unknown, so Hive cannot enforce --budget. Leave it out.")
        return LaunchPlan(request, offer, None)
    total = price * request.count * request.hours
    if request.budget_usd is not None and total > request.budget_usd:
        raise BudgetError(
            f"{request.count} x {request.type} for {request.hours:g} h cost up to ${total:.2f}, more than the budget "
            f"of ${request.budget_usd:.2f}. Nothing was started. Lower --count or --hours."
        )
    return LaunchPlan(request, offer, total)


class Launch:
    """One launch of machines. Whatever interrupts it, including Ctrl-C, ends the machines that it has started."""

    def __init__(
        self,
        settings: Settings,
        provider: Provider,
        installer: Installer,
        plan: LaunchPlan,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings, self._provider, self._installer = settings, provider, installer
        self._plan, self._say = plan, say
        self._records = Records(settings)
        self._machines: dict[str, Machine] = {}

    def run(self, registry: Registry) -> list[Machine]:
        """Start all machines and wait until their workers report; returns the machines whose workers do.

        Raises
        ------
        CloudError
            The provider did not start all of them: none is left. Or some got no worker, or it never reported: these
            are ended.
        KeyboardInterrupt
            None is left.
        """
        try:
            with interruptible():
                self._record_all()
                for machine in list(self._machines.values()):
                    self._create(machine)
                failures = self._installer.install(self._provider, list(self._machines.values()), self._say)
                failures |= self._wait(registry, failures)
        except BaseException:
            with uninterrupted():
                self._roll_back()
            raise
        if failures:
            self._end_failed(failures)
        return list(self._machines.values())

    def _record_all(self) -> None:
        """Record each machine with its token before anything is ordered."""
        request, launch = self._plan.request, f"{self._provider.name[:3]}-{secrets.token_hex(3)}"
        created = now()
        nodes = read_nodes(request.capabilities, max(1, self._plan.offer.vcpus))
        for number in range(1, request.count + 1):
            machine = Machine(
                name=f"{launch}-{number}",
                launch=launch,
                count=request.count,
                token=secrets.token_hex(16),
                provider=self._provider.name,
                type=request.type,
                region=self._provider.region,
                is_spot=request.is_spot,
                capabilities=",".join(f"{node.capability}={node.slots}" for node in nodes),
                price_usd_per_h=self._plan.offer.price_usd_per_h,
                created_at=created,
                expires_at=created + timedelta(hours=request.hours),
            )
            self._machines[machine.name] = self._records.save(machine)

    def _create(self, machine: Machine) -> None:
        request = self._plan.request
        order = Order(
            name=machine.name,
            hive=self._records.hive,
            token=machine.token,
            type=machine.type,
            is_spot=machine.is_spot,
            expires_at=machine.expires_at,
            user_data=self._user_data(machine),
            disk_gb=request.disk_gb,
            ssh_key=self._installer.ssh_key(request.ssh_key),
            ssh_from=request.ssh_from,
            extra=request.extra,
        )
        resource = self._provider.create(order)
        machine = self._records.save(dataclasses.replace(machine, resource_id=resource.id))
        self._machines[machine.name] = machine
        self._say(f"{machine.name}: {resource.id} is starting")

    def _user_data(self, machine: Machine) -> str:
        request = self._plan.request
        share = None if request.budget_usd is None else request.budget_usd / request.count
        text = self._installer.user_data(machine, Limits(request.idle_min, share))
        size, limit = len(text.encode()), self._provider.user_data_max_bytes
        if size > limit:
            raise SettingError(
                f"The script of the first start has {size} B, more than the {limit} B that {self._provider.name} takes."
            )
        return text

    def _wait(self, registry: Registry, failures: Container[str]) -> dict[str, str]:
        """Wait until every worker reports; returns the failures: reason by name."""
        limit_s = self._settings.fleet_report_s
        deadline, next_poll = time.monotonic() + limit_s, time.monotonic() + _POLL_PROVIDER_S
        waiting = {name: machine for name, machine in self._machines.items() if name not in failures}
        gone: set[str] = set()
        while waiting and time.monotonic() < deadline:
            reporting = {worker["name"] for worker in registry.workers()}
            for name, machine in list(waiting.items()):
                if worker_names(machine) <= reporting:
                    self._say(f"{name}: its worker reports")
                    del waiting[name]
            if waiting and time.monotonic() > next_poll:
                next_poll = time.monotonic() + _POLL_PROVIDER_S
                listed = {resource.name for resource in self._provider.list(self._records.hive)}
                gone |= waiting.keys() - listed
                waiting = {name: machine for name, machine in waiting.items() if name in listed}
            time.sleep(_POLL_S if waiting else 0)
        silence = f"no worker reported within {limit_s:g} s"
        return dict.fromkeys(waiting, silence) | dict.fromkeys(gone, "the machine is gone")

    def _end_failed(self, failures: dict[str, str]) -> None:
        machines = [self._machines.pop(name) for name in failures]
        with uninterrupted():
            end(self._settings, self._provider, machines, "its worker never reported")
        names_by_reason: dict[str, list[str]] = {}
        for name, reason in sorted(failures.items()):
            names_by_reason.setdefault(reason.replace(name, "NAME"), []).append(name)  # the same, but for the name
        sentences = " ".join(_sentence(names, reason) for reason, names in names_by_reason.items())
        left = f" {len(self._machines)} work: {', '.join(self._machines)}." if self._machines else ""
        raise CloudError(f"{sentences}{left}{self._installer.advice}")

    def _roll_back(self) -> None:
        """End everything that was or may have been started."""
        if not self._machines:
            return
        self._say(f"ending {', '.join(self._machines)}")
        try:
            end(self._settings, self._provider, list(self._machines.values()), "its launch was interrupted")
        except Exception as error:  # the user must see what interrupted the launch; gc does the rest
            self._say(f"Could not end them now: {error} Run: hive fleet gc.")


def worker_names(machine: Machine) -> set[str]:
    """The names of a machine's workers: one for each capability."""
    return {node.name(machine.name) for node in read_nodes(machine.capabilities, 1)}


def _sentence(names: list[str], reason: str) -> str:
    """What has happened to some machines.

    >>> _sentence(["aws-1"], "hive@NAME refuses ssh.")
    'aws-1 was ended: hive@aws-1 refuses ssh.'
    """
    words = reason.replace("NAME", names[0])
    full_stop = "" if words.endswith((".", "?")) else "."
    return f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} ended: {words}{full_stop}"


@dataclass(frozen=True)
class Row:
    """One machine as `hive fleet ls` lists it."""

    name: str
    provider: str
    id: str
    type: str
    region: str
    is_spot: bool
    state: str
    age_s: float
    idle_s: float | None
    cost_usd: float | None
    expires_at: str
    workers: list[str]
    why: str


def rows(
    settings: Settings,
    providers: Iterable[Provider],
    reports: Iterable[Mapping[str, Any]],
    say: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """List all machines, and record the end of those that their provider no longer lists.

    A provider that does not answer is named; its machines are listed as this Hive knows them.
    """
    records, at = Records(settings), now()
    resources: dict[str, Resource] = {}
    answering: list[Provider] = []
    for provider in providers:
        try:
            resources |= {resource.name: resource for resource in provider.list(records.hive)}
            answering.append(provider)
        except UnreachableError as error:
            say(str(error))
    record_ended(settings, answering, resources)
    by_name = {report["name"]: report for report in reports}
    return [_row(machine, resources.get(machine.name), by_name, at) for machine in records.all()]


def _row(machine: Machine, resource: Resource | None, by_name: Mapping[str, Mapping[str, Any]], at: datetime) -> Row:
    reports = [by_name[name] for name in sorted(worker_names(machine)) if name in by_name]
    end_at = machine.ended_at or at
    return Row(
        name=machine.name,
        provider=machine.provider,
        id=machine.resource_id,
        type=machine.type,
        region=machine.region,
        is_spot=machine.is_spot,
        state=_state(machine, resource, reports),
        age_s=(end_at - machine.created_at).total_seconds(),
        idle_s=_idle_s(reports, at) if machine.ended_at is None else None,
        cost_usd=machine.cost_usd(at),
        expires_at=format_time(machine.expires_at),
        workers=[str(report["name"]) for report in reports],
        why=machine.why,
    )


def _state(machine: Machine, resource: Resource | None, reports: list[Mapping[str, Any]]) -> str:
    if machine.ended_at is not None:
        return "ended"
    if reports:
        return "busy" if any(report["busy"] for report in reports) else "idle"
    return "unknown" if resource is None else f"{resource.state}, silent"


def _idle_s(reports: list[Mapping[str, Any]], at: datetime) -> float | None:
    """For how long none of its workers has had a job [s]."""
    idle = []
    for report in reports:
        seen = read_time(report["last_seen"])
        if seen is None or report.get("idle_s") is None:
            return None
        idle.append(report["idle_s"] + max(0.0, (at - seen).total_seconds()) if not report["busy"] else 0.0)
    return min(idle, default=None)
