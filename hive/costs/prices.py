"""What machines cost per hour: the table that Hive ships, and the newer one that `hive cost refresh` writes."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from difflib import get_close_matches
from json import dumps
from pathlib import Path
from typing import Any

from hive.errors import NotFoundError, SettingError
from hive.settings import load_settings, write_private

_SHIPPED = Path(__file__).with_name("prices.toml")
# The region of a price that is the same in all regions.
EVERYWHERE = "all"
_USUAL_REGION = "us-east-1"
_HEAD = "# Written by `hive cost refresh`. This table replaces prices that Hive ships; remove it to return to those.\n"


@dataclass(frozen=True)
class Offer:
    """A machine type in a region; a price of None is unknown.

    `price_usd_per_h` is on demand, the most that it costs; `spot_usd_per_h` what a spot machine costs now. `dated` is
    the day of the price, `source` where it comes from.
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
        """The values that identify it."""
        return self.provider, self.type, self.region

    @property
    def text(self) -> str:
        """The machine in words."""
        gpus = f", {self.gpus} x {self.gpu or 'GPU'}" if self.gpus else ""
        return f"{self.type} in {self.region} ({self.vcpus} vCPU, {self.memory_gib:.0f} GiB{gpus})"


def offers(home: Path | None = None) -> list[Offer]:
    """List all offers; those that were refreshed under a home replace the shipped ones.

    Raises
    ------
    SettingError
        The refreshed table cannot be read.
    """
    file = refreshed_file(home if home is not None else load_settings().home)
    by_key = {offer.key: offer for offer in _read(_SHIPPED)}
    if file.exists():
        by_key |= {offer.key: offer for offer in _read(file)}
    return list(by_key.values())


def find_offer(provider: str | None, type: str, region: str | None = None, home: Path | None = None) -> Offer:
    """Look up a type; without a region in the one that has it, in us-east-1 if there are several.

    Raises
    ------
    NotFoundError
        Lists types with a similar name, or the regions that have this one.
    """
    candidates = [offer for offer in offers(home) if provider in (None, offer.provider)]
    same_type = [offer for offer in candidates if offer.type == type]
    if not same_type:
        raise NotFoundError(
            f"There is no price of {type!r}.{_some(type, candidates)} Read the providers' price lists: hive cost "
            "refresh."
        )
    matches = [offer for offer in same_type if region in (None, offer.region) or offer.region == EVERYWHERE]
    if not matches:
        regions = ", ".join(sorted(offer.region for offer in same_type))
        raise NotFoundError(
            f"There is no price of {type} in {region}; there is one in {regions}. "
            f"Read it: hive cost refresh {same_type[0].provider} --region {region}."
        )
    return min(matches, key=lambda offer: (offer.region != _USUAL_REGION, offer.region))


def refreshed_file(home: Path) -> Path:
    """The file of refreshed prices under a home."""
    return home / "prices.toml"


def save(home: Path, new: Iterable[Offer]) -> int:
    """Add offers to the refreshed table, or replace them there. Returns how many it has then.

    Price lists do not name the GPUs; the shipped table does.
    """
    file = refreshed_file(home)
    gpus = {offer.type: offer.gpu for offer in _read(_SHIPPED)}
    named = [replace(offer, gpu=offer.gpu or gpus.get(offer.type, "")) for offer in new]
    earlier = {offer.key: offer for offer in (_read(file) if file.exists() else ())}
    table = earlier | {offer.key: offer for offer in named}
    write_private(file, "\n".join([_HEAD, *map(_format, table.values())]))
    return len(table)


def _some(type: str, candidates: Iterable[Offer]) -> str:
    names = sorted({offer.type for offer in candidates})
    similar = get_close_matches(type.lower(), names, n=5, cutoff=0.5)
    if similar:
        return f" Similar types: {', '.join(similar)}."
    return f" Some types: {', '.join(names[:8])}." if names else ""


def _read(file: Path) -> Iterator[Offer]:
    try:
        rows = tomllib.loads(file.read_text())["offer"]
        yield from [_offer(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(f"{file} is not a table of prices: {error}. Remove it, or write it again.") from error


def _offer(row: Mapping[str, Any]) -> Offer:
    usual: dict[str, Any] = {"gpus": 0, "gpu": "", "price_usd_per_h": None, "spot_usd_per_h": None}
    offer = Offer(**usual | dict(row))
    for name in ("price_usd_per_h", "spot_usd_per_h"):
        price = getattr(offer, name)
        if price is not None and not price > 0:
            raise ValueError(f"{name} of {offer.type} is {price}; leave it out if it is unknown")
    return offer


def _format(offer: Offer) -> str:
    values = {name: value for name, value in asdict(offer).items() if value not in (None, "")}
    lines = [f"{name} = {value if isinstance(value, date) else dumps(value)}" for name, value in values.items()]
    return "\n".join(["[[offer]]", *lines, ""])
