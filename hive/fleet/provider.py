"""What Hive asks of somebody who rents out machines: look one up, start it, list those of this Hive, end them."""

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hive.costs.prices import Offer

# What every resource carries: which Hive's it is, which machine it is, and when it must have ended.
HIVE_TAG, MACHINE_TAG, EXPIRES_TAG = "hive", "hive-machine", "hive-expires"


@dataclass(frozen=True)
class Order:
    """One machine that is wanted. The token is the same however often it is asked for."""

    name: str
    hive: str
    token: str
    type: str
    is_spot: bool
    expires_at: datetime
    user_data: str
    disk_gb: int
    ssh_key: str = ""
    ssh_from: str = ""


@dataclass(frozen=True)
class Resource:
    """A machine that is there, as its tags and the provider describe it."""

    id: str
    name: str
    state: str
    region: str
    type: str
    expires_at: datetime | None
    address: str = ""


class Provider(Protocol):
    """Somebody who rents out machines, in one region."""

    name: str
    region: str
    user_data_max_bytes: int

    def offer(self, type: str, *, is_spot: bool) -> Offer:
        """Look up a kind of machine.

        Raises
        ------
        UnknownNameError
            There is no such kind in this region.
        UnreachableError
            The provider refuses the credentials, or does not answer.
        """

    def create(self, order: Order) -> Resource:
        """Start a machine; asked again with the same token it starts none.

        Raises
        ------
        CloudError
            The provider has none, or this account may not have it.
        UnreachableError
            The provider refuses the credentials, or does not answer.
        """

    def list(self, hive: str) -> builtins.list[Resource]:
        """The machines of one Hive in this region that cost money."""

    def destroy(self, ids: Sequence[str]) -> None:
        """End machines; those that have ended already are no error."""
