"""Droplets of DigitalOcean."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hive.costs.prices import Offer
from hive.costs.refresh import offers_of_digitalocean
from hive.digitalocean import Api
from hive.errors import UnknownNameError
from hive.fleet.machine import now, read_time, written
from hive.fleet.pricing import priced
from hive.fleet.provider import EXPIRES_TAG, HIVE_TAG, MACHINE_TAG, Order, Resource
from hive.settings import Settings

_IMAGE = "ubuntu-24-04-x64"
_EVERYBODY = ["0.0.0.0/0", "::/0"]


class DigitalOcean:
    """Droplets in one region.

    DigitalOcean has no token that makes a call repeatable. Before a droplet is asked for again, Hive looks for the one
    that the call before may have made: every droplet has its machine's name as a tag.
    """

    name = "digitalocean"
    user_data_max_bytes = 65_536

    def __init__(self, settings: Settings, region: str | None) -> None:
        self._settings = settings
        self.region = region or "nyc1"
        self._api = Api(settings)

    def offer(self, type: str, *, is_spot: bool) -> Offer:
        """Look up a size; DigitalOcean has no spot machines."""
        if is_spot:
            raise UnknownNameError("DigitalOcean has no spot machines. Leave out --spot.")
        sizes = list(self._api.pages("/v2/sizes", "sizes"))
        found = next((one for one in sizes if one["slug"] == type), None)
        if found is None or self.region not in found["regions"]:
            there = [one["slug"] for one in sizes if self.region in one["regions"]][:8]
            raise UnknownNameError(
                f"DigitalOcean has no size {type!r} in {self.region}. It has: {', '.join(there) or 'nothing there'}."
            )
        [offer] = offers_of_digitalocean([found], now().date())
        return priced(self._settings, replace(offer, region=self.region))

    def create(self, order: Order) -> Resource:
        """Create a droplet, with the firewall of its Hive around it."""
        body = {
            "name": order.name,
            "region": self.region,
            "size": order.type,
            "image": _IMAGE,
            "user_data": order.user_data,
            "tags": _tags(order),
            "ssh_keys": [self._key(order)] if order.ssh_key else [],
            "monitoring": False,
        }
        made = self._api.ask("POST", "/v2/droplets", body, before_again=lambda: self._named(order))
        self._guard(order)
        return _resource(made["droplet"])

    def list(self, hive: str) -> list[Resource]:
        """The droplets of one Hive; one that is off costs as much as one that is on."""
        found = [_resource(one) for one in self._api.pages("/v2/droplets", "droplets", tag_name=f"{HIVE_TAG}:{hive}")]
        return [one for one in found if one.region == self.region and one.state != "archive"]

    def destroy(self, ids: Sequence[str]) -> None:
        """Destroy droplets."""
        for one in ids:
            self._api.ask("DELETE", f"/v2/droplets/{int(one)}", allowed=(404,))

    def _named(self, order: Order) -> dict[str, Any] | None:
        found = next(self._api.pages("/v2/droplets", "droplets", tag_name=f"{MACHINE_TAG}:{order.name}"), None)
        return {"droplet": found} if found else None

    def _key(self, order: Order) -> int:
        """The number of the public key in this account."""
        body = {"name": f"hive-{order.hive}", "public_key": order.ssh_key}
        wanted = order.ssh_key.split()[:2]
        for known in self._api.pages("/v2/account/keys", "ssh_keys"):
            if known["public_key"].split()[:2] == wanted:
                return int(known["id"])
        return int(self._api.ask("POST", "/v2/account/keys", body)["ssh_key"]["id"])

    def _guard(self, order: Order) -> None:
        """Let nobody in but SSH from one address, where that is asked for."""
        door = hashlib.sha256(order.ssh_from.encode()).hexdigest()[:8] if order.ssh_key else "closed"
        name = f"hive-{order.hive}-{door}"
        if any(one["name"] == name for one in self._api.pages("/v2/firewalls", "firewalls")):
            return
        ssh = {"protocol": "tcp", "ports": "22", "sources": {"addresses": [order.ssh_from]}}
        out = [
            {"protocol": protocol, "ports": "all", "destinations": {"addresses": _EVERYBODY}}
            for protocol in ("tcp", "udp")
        ]
        body = {
            "name": name,
            "tags": [f"{HIVE_TAG}:{order.hive}"],
            "inbound_rules": [ssh] if order.ssh_key else [],
            "outbound_rules": out,
        }
        self._api.ask("POST", "/v2/firewalls", body, allowed=(409,))


def _tags(order: Order) -> list[str]:
    return [
        f"{HIVE_TAG}:{order.hive}",
        f"{MACHINE_TAG}:{order.name}",
        f"{EXPIRES_TAG}:{written(order.expires_at)}",
    ]


def _resource(found: dict[str, Any]) -> Resource:
    tags = dict(one.split(":", 1) for one in found.get("tags", []) if ":" in one)
    networks = found.get("networks", {}).get("v4", [])
    return Resource(
        id=str(found["id"]),
        name=tags.get(MACHINE_TAG, ""),
        state=found["status"],
        region=found["region"]["slug"],
        type=found["size_slug"],
        expires_at=read_time(tags.get(EXPIRES_TAG, "")),
        address=next((one["ip_address"] for one in networks if one["type"] == "public"), ""),
    )
