"""Shed: a provider whose machines are files in the folder SHED."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from hive.costs.prices import EVERYWHERE, Offer
from hive.errors import UnknownNameError, UnreachableError
from hive.providers.provider import Option, Order, Provider, Resource, format_time, now, read_time
from hive.settings import Settings

_SIZES = {"small": (2, 4.0, 0.01), "large": (16, 64.0, None)}  # vCPU, memory [GiB], price [US$/h]


class Shed(Provider):
    """Machines in one shed."""

    name = "shed"
    title = "the shed"
    example = "--size small --rack 7"
    options = (
        Option("type", "--size", "Size of the machine: small or large.", metavar="SIZE", is_required=True),
        Option("rack", "--rack", "Rack in which it stands.", metavar="NUMBER", default="1"),
    )
    user_data_max_bytes = 100_000

    def __init__(self, settings: Settings, region: str | None) -> None:
        self.region = region or "garden"
        self._folder = Path(os.environ.get("SHED", ""))
        if not os.environ.get("SHED"):
            raise UnreachableError("There is no shed. Set SHED.")

    def offer(self, type: str, *, is_spot: bool) -> Offer:
        """Look up a size."""
        if type not in _SIZES:
            raise UnknownNameError(f"The shed has no size {type!r}. It has: {', '.join(_SIZES)}.")
        return _offer(type)

    def create(self, order: Order) -> Resource:
        """Write the machine's file; its name is the token, so that a repeated order makes no second one."""
        machine = {
            "id": order.token,
            "name": order.name,
            "hive": order.hive,
            "type": order.type,
            "expires_at": format_time(order.expires_at),
            "rack": order.extra["rack"],
        }
        (self._folder / order.token).write_text(json.dumps(machine))
        return self._resource(machine)

    def list(self, hive: str) -> list[Resource]:
        """The machines of one Hive."""
        machines = [json.loads(file.read_text()) for file in self._folder.iterdir()]
        return [self._resource(machine) for machine in machines if machine["hive"] == hive]

    def destroy(self, ids: Sequence[str]) -> None:
        """Remove the machines' files."""
        for id_ in ids:
            (self._folder / id_).unlink(missing_ok=True)

    @classmethod
    def read_prices(cls, settings: Settings, regions: Sequence[str]) -> Sequence[Offer]:
        """Read the price list on the door."""
        return [_offer(type_) for type_ in _SIZES]

    def _resource(self, machine: dict[str, str]) -> Resource:
        return Resource(
            id=machine["id"],
            name=machine["name"],
            state="running",
            region=self.region,
            type=machine["type"],
            expires_at=read_time(machine["expires_at"]),
        )


def _offer(type_: str) -> Offer:
    vcpus, memory_gib, price = _SIZES[type_]
    return Offer("shed", type_, EVERYWHERE, vcpus, memory_gib, 0, "", price, None, now().date(), "the shed's door")
