"""What every provider of machines offers, and which providers there are.

A provider is one class in one module: Hive's own are the other modules of this package, those of other packages come
by entry points of the group `hive.providers`. A module must be cheap to import: it imports the provider's library
inside the functions that use it.
"""

import builtins
import importlib
import os
import pkgutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from hive.costs.prices import Offer, find_offer
from hive.errors import (
    HiveError,
    NotFoundError,
    ServiceError,
    SettingError,
    UnknownNameError,
    did_you_mean,
    missing_library,
)
from hive.settings import Settings

ENTRY_POINTS = "hive.providers"
# What every resource carries: which Hive's it is, which machine it is, and when it must have ended.
HIVE_TAG, MACHINE_TAG, EXPIRES_TAG = "hive", "hive-machine", "hive-expires"


@dataclass(frozen=True)
class Order:
    """One machine to start. The token stays the same however often the order is repeated.

    `extra` holds the values of the provider's own options.
    """

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
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Resource:
    """A machine as its tags and the provider describe it."""

    id: str
    name: str
    state: str
    region: str
    type: str
    expires_at: datetime | None
    address: str = ""


@dataclass(frozen=True)
class Option:
    """An option of `hive fleet up PROVIDER`.

    `type`, `region` and `is_spot` are the names that Hive itself reads; the values of all others reach the provider as
    `Order.extra`. An option without a metavar is a flag.
    """

    name: str
    flag: str
    help: str
    metavar: str = ""
    default: str | None = None
    is_required: bool = False


class Provider(ABC):
    """A company that rents out machines, in one region."""

    name: ClassVar[str]
    title: ClassVar[str]
    example: ClassVar[str]
    options: ClassVar[tuple[Option, ...]]
    user_data_max_bytes: ClassVar[int]
    region: str

    @abstractmethod
    def __init__(self, settings: Settings, region: str | None) -> None:
        """Open the provider in a region, its usual one by default.

        Raises
        ------
        UnreachableError
            There are no credentials.
        """

    @abstractmethod
    def offer(self, type: str, *, is_spot: bool) -> Offer:
        """Look up a machine type.

        Raises
        ------
        UnknownNameError
            This region does not have the type.
        UnreachableError
            The provider refuses the credentials, or does not answer.
        """

    @abstractmethod
    def create(self, order: Order) -> Resource:
        """Start a machine; repeated with the same token, start no second one.

        Raises
        ------
        CloudError
            The provider has no capacity, or this account's quota is reached.
        UnreachableError
            The provider refuses the credentials, or does not answer.
        """

    @abstractmethod
    def list(self, hive: str) -> builtins.list[Resource]:
        """The machines of one Hive in this region that cost money."""

    @abstractmethod
    def destroy(self, ids: Sequence[str]) -> None:
        """End machines; it is no error if some have ended already."""

    @classmethod
    @abstractmethod
    def read_prices(cls, settings: Settings, regions: Sequence[str]) -> Sequence[Offer]:
        """Read the provider's price list, of its usual region by default.

        Raises
        ------
        UnreachableError
            The provider refuses the credentials, or does not answer.
        """

    @classmethod
    def end_script(cls, settings: Settings) -> str:
        """Shell that a machine runs as root to end itself before it powers off; empty where powering off is enough."""
        return ""

    @classmethod
    def warning(cls, settings: Settings) -> str:
        """What the user should know before machines are started; empty for nothing."""
        return ""


def find_provider(name: str) -> type[Provider]:
    """Find a provider by its name; Hive's own without reading the entry points of every installed package.

    Raises
    ------
    UnknownNameError
        Lists the known providers.
    """
    if name in _own_names():
        return _provider_in(importlib.import_module(f"{__package__}.{name}"))
    providers = all_providers()
    if name not in providers:
        raise UnknownNameError(
            f"There is no provider {name!r}. Known are: {', '.join(providers)}.{did_you_mean(name, providers)}"
        )
    return providers[name]


def all_providers() -> dict[str, type[Provider]]:
    """All providers by name: Hive's own first, then those of other packages.

    Raises
    ------
    SettingError
        An entry point cannot be imported, or does not lead to a provider with a name of its own.
    """
    providers: dict[str, type[Provider]] = {}
    for source, module in (*_own_modules(), *_foreign_modules()):
        provider = _provider_in(module)
        if provider.name in providers:
            raise SettingError(f"{source} declares the provider {provider.name!r} once more. Uninstall that package.")
        providers[provider.name] = provider
    return providers


def open_provider(settings: Settings, name: str, region: str | None) -> Provider:
    """Open a provider in a region.

    Raises
    ------
    UnknownNameError
        Lists the known providers.
    ServiceError
        The provider's library is not installed here; says how to get it.
    UnreachableError
        There are no credentials.
    """
    provider = find_provider(name)
    try:
        return provider(settings, region)
    except ModuleNotFoundError as error:
        raise _without_library(name, error) from error


def read_prices(settings: Settings, name: str, regions: Sequence[str]) -> Sequence[Offer]:
    """Read the price list of a provider.

    Raises
    ------
    UnknownNameError
        Lists the known providers.
    ServiceError
        The provider's library is not installed here; says how to get it.
    UnreachableError
        The provider refuses the credentials, or does not answer.
    """
    provider = find_provider(name)
    try:
        return provider.read_prices(settings, regions)
    except ModuleNotFoundError as error:
        raise _without_library(name, error) from error


def _without_library(name: str, error: ModuleNotFoundError) -> HiveError:
    if name in _own_names():
        return missing_library(name, error)
    return ServiceError(
        f"{name} needs {error.name}, which is not installed here. Install it: pip install {error.name}."
    )


def _own_names() -> list[str]:
    folder = importlib.import_module(__package__).__path__
    return sorted(module.name for module in pkgutil.iter_modules(folder) if module.name != "provider")


def _own_modules() -> Iterator[tuple[str, ModuleType]]:
    for name in _own_names():
        yield "Hive", importlib.import_module(f"{__package__}.{name}")


def _foreign_modules() -> Iterator[tuple[str, ModuleType]]:
    from importlib.metadata import entry_points  # 40 ms that Hive's own providers need not pay

    for entry in entry_points(group=ENTRY_POINTS):
        source = f"{entry.dist.name if entry.dist else 'A package'} ({entry.value})"
        try:
            yield source, importlib.import_module(entry.module)
        except ImportError as error:
            raise SettingError(f"The provider of {source} cannot be imported: {error}.") from error


def _provider_in(module: ModuleType) -> type[Provider]:
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Provider) and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise SettingError(f"{module.__name__} must hold exactly one provider, not {len(classes)}.")
    return classes[0]


def with_list_price(settings: Settings, offer: Offer) -> Offer:
    """An offer with the price of the table, where that has one.

    A price that is not known stays None, which is never the same as free.
    """
    try:
        listed = find_offer(offer.provider, offer.type, offer.region, settings.home)
    except NotFoundError:
        return offer
    if listed.price_usd_per_h is None:
        return offer
    return replace(offer, price_usd_per_h=listed.price_usd_per_h, dated=listed.dated, source=listed.source)


def private_text(file: Path) -> str:
    """The content of a file that holds a secret.

    Raises
    ------
    SettingError
        The file is missing, or other users can read it.
    """
    try:
        with file.open() as opened:
            if os.fstat(opened.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SettingError(f"Other users can read {file}, which holds a token. Run: chmod 600 {file}.")
            return opened.read().strip()
    except OSError as error:
        raise SettingError(f"{file} holds a token and cannot be read: {error.strerror}.") from error


def now() -> datetime:
    """The time now, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def format_time(time: datetime) -> str:
    """A time as records and tags have it (RFC 3339).

    >>> format_time(datetime(2026, 11, 26, 23, 5, tzinfo=UTC))
    '2026-11-26T23:05:00Z'
    """
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def read_time(text: str) -> datetime | None:
    """Read a time of a record or tag; None where it is none: somebody may have changed the tag by hand."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
