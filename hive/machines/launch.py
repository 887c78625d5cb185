"""Starting machines, all or none, and the list of those that there are."""

import dataclasses
import secrets
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hive.costs.prices import Offer
from hive.errors import BudgetError, CloudError, SettingError, UnreachableError
from hive.machines.sweep import end, interruptible, note_gone, undisturbed
from hive.providers.first_start import Installer, Limits
from hive.providers.machine import Machine, Records, now, read_time, written
from hive.providers.provider import Order, Provider, Resource
from hive.settings import Settings
from hive.store import Registry
from hive.worker.starter import read_nodes

_LOOK_EVERY_S = 1.0
_ASK_EVERY_S = 15.0


@dataclass(frozen=True)
class LaunchRequest:
    """What is wanted, in the words of the command line."""

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


@dataclass(frozen=True)
class LaunchPlan:
    """What will be started, and the most that it will cost until its expiry."""

    wish: LaunchRequest
    offer: Offer
    total_usd: float | None

    @property
    def price_text(self) -> str:
        """The price in words; one that is not known is said to be so."""
        if self.offer.price_usd_per_h is None or self.total_usd is None:
            return "price unknown"
        spot = self.offer.spot_usd_per_h
        now_text = f", spot now ${spot:.4g}" if spot else ""
        hourly = f"${self.offer.price_usd_per_h:.4g} an hour each{now_text}"
        return f"{hourly}; at most ${self.total_usd:.2f} for {self.wish.hours:g} h, without disks and traffic"


def make_plan(provider: Provider, wish: LaunchRequest) -> LaunchPlan:
    """Look up what is wanted and what it costs.

    Raises
    ------
    BudgetError
        It costs more than the budget.
    SettingError
        Its price is not known, and that was not accepted.
    """
    offer = provider.offer(wish.type, is_spot=wish.is_spot)
    price = offer.price_usd_per_h
    if price is None:
        if not wish.is_unknown_price_accepted:
            raise SettingError(
                f"The price of {wish.type} in {provider.region} is not known here. "
                f"Read it: hive cost refresh {provider.name}. Or accept that Hive cannot watch it: "
                "hive fleet up … --accept-unknown-price."
            )
        if wish.budget_usd is not None:
            raise BudgetError(
                f"Hive cannot keep a budget for {wish.type}, whose price it does not know. Leave out --budget."
            )
        return LaunchPlan(wish, offer, None)
    total = price * wish.count * wish.hours
    if wish.budget_usd is not None and total > wish.budget_usd:
        raise BudgetError(
            f"{wish.count} x {wish.type} for {wish.hours:g} h cost up to ${total:.2f}, more than the budget of "
            f"${wish.budget_usd:.2f}. Nothing was started. Ask for less with --count or --hours."
        )
    return LaunchPlan(wish, offer, total)


class Launch:
    """One call of `hive fleet up`. Whatever ends it early, Ctrl-C too, ends the machines that it has started."""

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
        """Start all machines and wait until their workers report; returns those that do.

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
                self._intend()
                for machine in list(self._machines.values()):
                    self._create(machine)
                lost = self._installer.bring(self._provider, list(self._machines.values()), self._say)
                lost |= self._wait(registry, lost)
        except BaseException:
            with undisturbed():
                self._take_back()
            raise
        if lost:
            self._end_lost(lost)
        return list(self._machines.values())

    def _intend(self) -> None:
        """Write down each machine and its token before anything is asked for."""
        wish, launch = self._plan.wish, f"{self._provider.name[:3]}-{secrets.token_hex(3)}"
        created = now()
        nodes = read_nodes(wish.capabilities, max(1, self._plan.offer.vcpus))
        for number in range(1, wish.count + 1):
            machine = Machine(
                name=f"{launch}-{number}",
                launch=launch,
                count=wish.count,
                token=secrets.token_hex(16),
                provider=self._provider.name,
                type=wish.type,
                region=self._provider.region,
                is_spot=wish.is_spot,
                capabilities=",".join(f"{one.capability}={one.slots}" for one in nodes),
                price_usd_per_h=self._plan.offer.price_usd_per_h,
                created_at=created,
                expires_at=created + timedelta(hours=wish.hours),
            )
            self._machines[machine.name] = self._records.keep(machine)

    def _create(self, machine: Machine) -> None:
        wish = self._plan.wish
        order = Order(
            name=machine.name,
            hive=self._records.hive,
            token=machine.token,
            type=machine.type,
            is_spot=machine.is_spot,
            expires_at=machine.expires_at,
            user_data=self._user_data(machine),
            disk_gb=wish.disk_gb,
            ssh_key=self._installer.ssh_key(wish.ssh_key),
            ssh_from=wish.ssh_from,
        )
        resource = self._provider.create(order)
        machine = self._records.keep(dataclasses.replace(machine, resource_id=resource.id))
        self._machines[machine.name] = machine
        self._say(f"{machine.name}: {resource.id} is starting")

    def _user_data(self, machine: Machine) -> str:
        wish = self._plan.wish
        share = None if wish.budget_usd is None else wish.budget_usd / wish.count
        text = self._installer.user_data(machine, Limits(wish.idle_min, share))
        size, most = len(text.encode()), self._provider.user_data_max_bytes
        if size > most:
            raise SettingError(f"The script of the first start has {size} B, and {self._provider.name} takes {most} B.")
        return text

    def _wait(self, registry: Registry, lost: Container[str]) -> dict[str, str]:
        """Wait until every worker reports; returns by name why it has not: it was silent, or its machine is gone."""
        limit_s = self._settings.fleet_report_s
        over, next_ask = time.monotonic() + limit_s, time.monotonic() + _ASK_EVERY_S
        waiting = {name: machine for name, machine in self._machines.items() if name not in lost}
        gone: set[str] = set()
        while waiting and time.monotonic() < over:
            reported = {one["name"] for one in registry.workers()}
            for name, machine in list(waiting.items()):
                if nodes(machine) <= reported:
                    self._say(f"{name}: its worker reports")
                    del waiting[name]
            if waiting and time.monotonic() > next_ask:
                next_ask = time.monotonic() + _ASK_EVERY_S
                there = {one.name for one in self._provider.list(self._records.hive)}
                gone |= waiting.keys() - there
                waiting = {name: machine for name, machine in waiting.items() if name in there}
            time.sleep(_LOOK_EVERY_S if waiting else 0)
        silence = f"no worker reported within {limit_s:g} s"
        return dict.fromkeys(waiting, silence) | dict.fromkeys(gone, "the machine is gone")

    def _end_lost(self, lost: dict[str, str]) -> None:
        machines = [self._machines.pop(name) for name in lost]
        with undisturbed():
            end(self._settings, self._provider, machines, "its worker never reported")
        reasons: dict[str, list[str]] = {}
        for name, why in sorted(lost.items()):
            reasons.setdefault(why.replace(name, "NAME"), []).append(name)  # the same, but for the name
        said = " ".join(_sentence(names, why) for why, names in reasons.items())
        left = f" {len(self._machines)} work: {', '.join(self._machines)}." if self._machines else ""
        raise CloudError(f"{said}{left}{self._installer.advice}")

    def _take_back(self) -> None:
        """End everything that was or may have been started."""
        if not self._machines:
            return
        self._say(f"ending {', '.join(self._machines)}")
        try:
            end(self._settings, self._provider, list(self._machines.values()), "its launch was broken off")
        except Exception as error:  # what broke the launch off is what the user must hear; gc does the rest
            self._say(f"could not be ended now: {error} Run: hive fleet gc.")


def nodes(machine: Machine) -> set[str]:
    """The names under which a machine's workers report."""
    return {node.name(machine.name) for node in read_nodes(machine.capabilities, 1)}


def _sentence(names: list[str], why: str) -> str:
    """What has happened to some machines.

    >>> _sentence(["aws-1"], "hive@NAME refuses ssh.")
    'aws-1 was ended: hive@aws-1 refuses ssh.'
    """
    words = why.replace("NAME", names[0])
    end = "" if words.endswith((".", "?")) else "."
    return f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} ended: {words}{end}"


@dataclass(frozen=True)
class Row:
    """One machine as it is shown."""

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
    """All machines. Those of which the provider knows nothing any more have ended, and are kept as such.

    A provider that does not answer is said; what is known of its machines without it is shown.
    """
    records, at = Records(settings), now()
    found: dict[str, Resource] = {}
    asked: list[Provider] = []
    for provider in providers:
        try:
            found |= {one.name: one for one in provider.list(records.hive)}
            asked.append(provider)
        except UnreachableError as error:
            say(str(error))
    note_gone(settings, asked, found)
    by_name = {one["name"]: one for one in reports}
    return [_row(machine, found.get(machine.name), by_name, at) for machine in records.all()]


def _row(machine: Machine, resource: Resource | None, reports: Mapping[str, Mapping[str, Any]], at: datetime) -> Row:
    said = [reports[name] for name in sorted(nodes(machine)) if name in reports]
    over = machine.ended_at or at
    return Row(
        name=machine.name,
        provider=machine.provider,
        id=machine.resource_id,
        type=machine.type,
        region=machine.region,
        is_spot=machine.is_spot,
        state=_state(machine, resource, said),
        age_s=(over - machine.created_at).total_seconds(),
        idle_s=_idle_s(said, at) if machine.ended_at is None else None,
        cost_usd=machine.cost_usd(at),
        expires_at=written(machine.expires_at),
        workers=[str(one["name"]) for one in said],
        why=machine.why,
    )


def _state(machine: Machine, resource: Resource | None, said: list[Mapping[str, Any]]) -> str:
    if machine.ended_at is not None:
        return "ended"
    if said:
        return "busy" if any(one["busy"] for one in said) else "idle"
    return "unknown" if resource is None else f"{resource.state}, silent"


def _idle_s(said: list[Mapping[str, Any]], at: datetime) -> float | None:
    """For how long none of its workers has had a job [s]."""
    idle = []
    for one in said:
        seen = read_time(one["last_seen"])
        if seen is None or one.get("idle_s") is None:
            return None
        idle.append(one["idle_s"] + max(0.0, (at - seen).total_seconds()) if not one["busy"] else 0.0)
    return min(idle, default=None)
