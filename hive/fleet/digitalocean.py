"""DigitalOcean, through the few calls of its HTTP API that are needed."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx

from hive.errors import CloudError, SettingError, UnknownNameError, UnreachableError
from hive.fleet.machine import read_time, written
from hive.fleet.pricing import price_of
from hive.fleet.provider import EXPIRES_TAG, HIVE_TAG, MACHINE_TAG, Offer, Order, Resource
from hive.fleet.tokens import private_text
from hive.settings import Settings

_IMAGE = "ubuntu-24-04-x64"
_ATTEMPTS, _PAUSE_S, _LONGEST_PAUSE_S = 5, 0.5, 8.0
_PER_PAGE = 200
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
        head = {"Authorization": f"Bearer {_token(settings)}"}
        self._http = httpx.Client(base_url=_safe(settings.do_url), headers=head, timeout=httpx.Timeout(20, connect=5))

    def offer(self, type: str, *, is_spot: bool) -> Offer:
        """Look up a size; DigitalOcean has no spot machines."""
        if is_spot:
            raise UnknownNameError("DigitalOcean has no spot machines. Leave out --spot.")
        sizes = list(self._pages("/v2/sizes", "sizes"))
        found = next((one for one in sizes if one["slug"] == type), None)
        if found is None or self.region not in found["regions"]:
            there = [one["slug"] for one in sizes if self.region in one["regions"]][:8]
            raise UnknownNameError(
                f"DigitalOcean has no size {type!r} in {self.region}. It has: {', '.join(there) or 'nothing there'}."
            )
        price = price_of(self._settings, self.name, type, self.region) or float(found.get("price_hourly") or 0) or None
        return Offer(type, self.region, found["vcpus"], found["memory"] << 20, "", price)

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
        made = self._ask("POST", "/v2/droplets", body, before_again=lambda: self._named(order))
        self._guard(order)
        return _resource(made["droplet"])

    def list(self, hive: str) -> list[Resource]:
        """The droplets of one Hive; one that is off costs as much as one that is on."""
        found = [_resource(one) for one in self._pages("/v2/droplets", "droplets", tag_name=f"{HIVE_TAG}:{hive}")]
        return [one for one in found if one.region == self.region and one.state != "archive"]

    def destroy(self, ids: Sequence[str]) -> None:
        """Destroy droplets."""
        for one in ids:
            self._ask("DELETE", f"/v2/droplets/{int(one)}", allowed=(404,))

    def _named(self, order: Order) -> dict[str, Any] | None:
        found = next(self._pages("/v2/droplets", "droplets", tag_name=f"{MACHINE_TAG}:{order.name}"), None)
        return {"droplet": found} if found else None

    def _key(self, order: Order) -> int:
        """The number of the public key in this account."""
        body = {"name": f"hive-{order.hive}", "public_key": order.ssh_key}
        wanted = order.ssh_key.split()[:2]
        for known in self._pages("/v2/account/keys", "ssh_keys"):
            if known["public_key"].split()[:2] == wanted:
                return int(known["id"])
        return int(self._ask("POST", "/v2/account/keys", body)["ssh_key"]["id"])

    def _guard(self, order: Order) -> None:
        """Let nobody in but SSH from one address, where that is asked for."""
        door = hashlib.sha256(order.ssh_from.encode()).hexdigest()[:8] if order.ssh_key else "closed"
        name = f"hive-{order.hive}-{door}"
        if any(one["name"] == name for one in self._pages("/v2/firewalls", "firewalls")):
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
        self._ask("POST", "/v2/firewalls", body, allowed=(409,))

    def _pages(self, path: str, of: str, **parameters: str) -> Iterator[dict[str, Any]]:
        """Everything of a list, page by page."""
        page = 1
        while True:
            found = self._ask("GET", path, parameters={**parameters, "page": page, "per_page": _PER_PAGE})
            yield from found[of]
            if not found.get("links", {}).get("pages", {}).get("next"):
                return
            page += 1

    def _ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        parameters: dict[str, Any] | None = None,
        allowed: Sequence[int] = (),
        before_again: Callable[[], dict[str, Any] | None] | None = None,
    ) -> dict[str, Any]:
        """Ask, and ask again after errors 5xx, time-outs and "slow down"."""
        why = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(min(_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S))
                if before_again and (found := before_again()):
                    return found
            try:
                answer = self._http.request(method, path, json=body, params=parameters)
            except httpx.TransportError as error:
                why = str(error) or type(error).__name__
                continue
            if answer.status_code < 500 and answer.status_code != 429:
                return _read(answer, f"{method} {path}", allowed)
            why = f"it answered {answer.status_code}"
        raise UnreachableError(f"DigitalOcean does not answer to {method} {path}, {_ATTEMPTS} times: {why}.")


def _read(answer: httpx.Response, what: str, allowed: Sequence[int]) -> dict[str, Any]:
    if answer.is_success or answer.status_code in allowed:
        return dict(answer.json()) if answer.content and answer.is_success else {}
    try:
        words = str(answer.json().get("message", "")).rstrip(".")
    except ValueError:
        words = ""
    if answer.status_code == 401:
        raise UnreachableError("DigitalOcean refuses the token. Correct DIGITALOCEAN_TOKEN or HIVE_DO_TOKEN_FILE.")
    if answer.status_code == 403:
        raise UnreachableError(f"This token of DigitalOcean may not {what}: {words}.")
    if "limit" in words.lower():
        raise CloudError(
            f"This account may not have that many droplets: {words}. Ask for less with --count, or for a higher limit."
        )
    if answer.status_code == 422:
        raise CloudError(f"DigitalOcean cannot do that: {words}. Try another --region or --size, or later.")
    raise CloudError(f"DigitalOcean answered {answer.status_code} to {what}: {words}.")


def _token(settings: Settings) -> str:
    """The token from the environment or a file that nobody else can read; it is never shown."""
    token = os.environ.get("DIGITALOCEAN_TOKEN", "").strip()
    file = settings.do_token_file
    if token:
        return token
    if not file.exists():
        raise UnreachableError(f"There is no token of DigitalOcean. Set DIGITALOCEAN_TOKEN, or write it to {file}.")
    return private_text(file)


def _safe(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise SettingError(f"HIVE_DO_URL is {url}: the token would travel unprotected. Name an https:// address.")
    return url


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
