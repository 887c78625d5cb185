"""DigitalOcean: droplets, their prices, and how they are started and ended."""

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hive.costs.prices import Offer
from hive.errors import CloudError, SettingError, UnknownNameError, UnreachableError, missing_library
from hive.providers.machine import now, read_time, written
from hive.providers.prices import offers_of_digitalocean
from hive.providers.provider import EXPIRES_TAG, HIVE_TAG, MACHINE_TAG, Order, Resource, priced
from hive.settings import Settings

_ATTEMPTS, _PAUSE_S, _LONGEST_PAUSE_S = 5, 0.5, 8.0
_PER_PAGE = 200


class Api:
    """The API with the token of this Hive.

    Raises
    ------
    ServiceError
        httpx is not installed here.
    UnreachableError
        There is no token.
    SettingError
        Others can read the token's file, or it would travel unprotected.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            import httpx  # noqa: PLC0415  of an extra, and slow to import
        except ModuleNotFoundError as error:
            raise missing_library("digitalocean", error) from error
        head = {"Authorization": f"Bearer {_token(settings)}"}
        self._broken = httpx.TransportError
        self._http = httpx.Client(base_url=_safe(settings.do_url), headers=head, timeout=httpx.Timeout(20, connect=5))

    def pages(self, path: str, of: str, **parameters: str) -> Iterator[dict[str, Any]]:
        """Everything of a list, page by page."""
        page = 1
        while True:
            found = self.ask("GET", path, parameters={**parameters, "page": page, "per_page": _PER_PAGE})
            yield from found[of]
            if not found.get("links", {}).get("pages", {}).get("next"):
                return
            page += 1

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        parameters: dict[str, Any] | None = None,
        allowed: Sequence[int] = (),
        before_again: Callable[[], dict[str, Any] | None] | None = None,
    ) -> dict[str, Any]:
        """Ask, and ask again after errors 5xx, time-outs and "slow down".

        Raises
        ------
        UnreachableError
            DigitalOcean refuses the token, or does not answer.
        CloudError
            It could not do that.
        """
        why = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(min(_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S))
                if before_again and (found := before_again()):
                    return found
            try:
                answer = self._http.request(method, path, json=body, params=parameters)
            except self._broken as error:
                why = str(error) or type(error).__name__
                continue
            if answer.status_code < 500 and answer.status_code != 429:
                return _read(answer, f"{method} {path}", allowed)
            why = f"it answered {answer.status_code}"
        raise UnreachableError(f"DigitalOcean does not answer to {method} {path}, {_ATTEMPTS} times: {why}.")


def private_text(file: Path) -> str:
    """What a file of a secret holds.

    Raises
    ------
    SettingError
        It is not there, or others can read it.
    """
    try:
        with file.open() as opened:
            if os.fstat(opened.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SettingError(f"Others can read {file}, which holds a token. Run: chmod 600 {file}.")
            return opened.read().strip()
    except OSError as error:
        raise SettingError(f"{file} holds a token and cannot be read: {error.strerror}.") from error


def _read(answer: Any, what: str, allowed: Sequence[int]) -> dict[str, Any]:  # noqa: ANN401  of httpx, an extra
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
