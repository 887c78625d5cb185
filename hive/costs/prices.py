"""What machines cost by the hour: the table that Hive ships, and the newer one that `hive cost refresh` has read."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from difflib import get_close_matches
from json import dumps
from pathlib import Path
from typing import Any

from hive.errors import NotFoundError, SettingError, UnknownNameError, did_you_mean
from hive.settings import load_settings, write_private

_SHIPPED = Path(__file__).with_name("prices.toml")
# A provider that asks the same everywhere says so by this.
EVERYWHERE = "all"
_USUAL_REGION = "us-east-1"
_HEAD = (
    "# Read by `hive cost refresh`. This table goes before the one that Hive ships; remove it to go back to that one.\n"
)


@dataclass(frozen=True)
class Offer:
    """A machine type in a region; a price of None is one that nobody here knows.

    `price_usd_per_h` is on demand, the most that it costs; `spot_usd_per_h` what a spot machine costs now. `dated` is
    the day of which the price is, `source` who says so.
    """

    provider: str
    type: str
    region: str
    vcpus: int
    memory_gib: float
    gpus: int
    gpu: str
    price_usd_per_h: float | None
    spot_usd_per_h: float | None
    dated: date
    source: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from all others."""
        return self.provider, self.type, self.region

    @property
    def text(self) -> str:
        """What it is, in words."""
        gpus = f", {self.gpus} x {self.gpu or 'GPU'}" if self.gpus else ""
        return f"{self.type} in {self.region} ({self.vcpus} vCPU, {self.memory_gib:.0f} GiB{gpus})"


def offers(home: Path | None = None) -> list[Offer]:
    """List all offers; those that were refreshed under a home go before the shipped ones.

    Raises
    ------
    SettingError
        The refreshed table cannot be read.
    """
    file = refreshed_file(home if home is not None else load_settings().home)
    found = {one.key: one for one in _read(_SHIPPED)}
    if file.exists():
        found |= {one.key: one for one in _read(file)}
    return list(found.values())


def find_offer(provider: str | None, type: str, region: str | None = None, home: Path | None = None) -> Offer:
    """Look up a type; without a region in the one that has it, us-east-1 where there are several.

    Raises
    ------
    UnknownNameError
        There is no such provider.
    NotFoundError
        Lists types with a similar name, or the regions that have this one.
    """
    everything = offers(home)
    providers = sorted({one.provider for one in everything})
    if provider is not None and provider not in providers:
        hint = did_you_mean(provider, providers)
        raise UnknownNameError(f"There is no provider {provider!r}. Known are: {', '.join(providers)}.{hint}")
    known = [one for one in everything if provider in (None, one.provider)]
    alike = [one for one in known if one.type == type]
    if not alike:
        near = get_close_matches(type.lower(), {one.type for one in known}, n=5, cutoff=0.5)
        words = f"Near it are: {', '.join(near)}." if near else f"Some are: {', '.join(_some(known))}."
        raise NotFoundError(f"There is no price of {type!r}. {words} Read the providers' own: hive cost refresh.")
    there = [one for one in alike if region in (None, one.region) or one.region == EVERYWHERE]
    if not there:
        places = ", ".join(sorted(one.region for one in alike))
        raise NotFoundError(
            f"There is no price of {type} in {region}; there is one in {places}. "
            f"Read it: hive cost refresh {alike[0].provider} --region {region}."
        )
    return min(there, key=lambda one: (one.region != _USUAL_REGION, one.region))


def refreshed_file(home: Path) -> Path:
    """Where a home keeps what it has read itself."""
    return home / "prices.toml"


def keep(home: Path, new: Iterable[Offer]) -> int:
    """Write what was read, beside what was read of others before. Returns how many offers there are then.

    Price lists do not name the GPUs; the shipped table does.
    """
    file = refreshed_file(home)
    gpus = {one.type: one.gpu for one in _read(_SHIPPED)}
    named = [replace(one, gpu=one.gpu or gpus.get(one.type, "")) for one in new]
    kept = {one.key: one for one in (_read(file) if file.exists() else ())} | {one.key: one for one in named}
    write_private(file, "\n".join([_HEAD, *map(_written, kept.values())]))
    return len(kept)


def _some(known: Iterable[Offer]) -> list[str]:
    return sorted({one.type for one in known})[:8]


def _read(file: Path) -> Iterator[Offer]:
    try:
        rows = tomllib.loads(file.read_text())["offer"]
        yield from [_offer(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"{file} is no table of prices: {error}. Remove it, or write it again.") from error


def _offer(row: Mapping[str, Any]) -> Offer:
    usual: dict[str, Any] = {"gpus": 0, "gpu": "", "price_usd_per_h": None, "spot_usd_per_h": None}
    offer = Offer(**usual | dict(row))
    for name in ("price_usd_per_h", "spot_usd_per_h"):
        price = getattr(offer, name)
        if price is not None and not price > 0:
            raise ValueError(f"{name} of {offer.type} is {price}; leave it out where it is not known")
    return offer


def _written(offer: Offer) -> str:
    values = {name: value for name, value in asdict(offer).items() if value not in (None, "")}
    lines = [f"{name} = {value if isinstance(value, date) else dumps(value)}" for name, value in values.items()]
    return "\n".join(["[[offer]]", *lines, ""])
