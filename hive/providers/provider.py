"""What every provider of machines can do, and which ones there are."""

import builtins
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from hive.costs import budgets
from hive.costs.prices import Offer, find_offer
from hive.errors import NotFoundError, UnknownNameError, did_you_mean, missing_library
from hive.settings import Settings

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


PROVIDERS = ("aws", "digitalocean")


def open_provider(settings: Settings, name: str, region: str | None) -> Provider:
    """Open a provider in a region.

    Raises
    ------
    UnknownNameError
        Hive does not know the provider; lists the known ones.
    ServiceError
        Its library is not installed here; says how to get it.
    UnreachableError
        There are no credentials.
    """
    if name not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        raise UnknownNameError(f"There is no provider {name!r}. Known are: {known}.{did_you_mean(name, PROVIDERS)}")
    try:
        if name == "aws":
            from hive.providers.aws import Aws  # noqa: PLC0415  only where it is used

            return Aws(settings, region)
        from hive.providers.digitalocean import DigitalOcean  # noqa: PLC0415  as above

        return DigitalOcean(settings, region)
    except ModuleNotFoundError as error:
        raise missing_library(name, error) from error


def priced(settings: Settings, found: Offer) -> Offer:
    """What a provider says of a machine, with the list price of the table where that has one.

    A price that is not known stays None, which is never the same as free.
    """
    try:
        known = find_offer(found.provider, found.type, found.region, settings.home)
    except NotFoundError:
        return found
    if known.price_usd_per_h is None:
        return found
    return replace(found, price_usd_per_h=known.price_usd_per_h, dated=known.dated, source=known.source)


def check_limits(settings: Settings, planned_usd: float | None) -> None:
    """Refuse what would pass the limits of the day or the month.

    Raises
    ------
    BudgetError
        It would; the text says which limit, and by how much.
    """
    budgets.check(settings, planned_usd)
