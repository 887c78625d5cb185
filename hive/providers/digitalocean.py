"""DigitalOcean: its droplets, prices and options."""

import hashlib
import os
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from hive.costs.prices import EVERYWHERE, Offer
from hive.errors import CloudError, SettingError, UnknownNameError, UnreachableError
from hive.providers.provider import (
    EXPIRES_TAG,
    HIVE_TAG,
    MACHINE_TAG,
    Option,
    Order,
    Provider,
    Resource,
    format_time,
    now,
    private_text,
    read_time,
    with_list_price,
)
from hive.settings import Settings

_ATTEMPTS, _PAUSE_S, _LONGEST_PAUSE_S = 5, 0.5, 8.0
_PER_PAGE = 200
_REGION = "nyc1"
_IMAGE = "ubuntu-24-04-x64"
_ANYWHERE = ["0.0.0.0/0", "::/0"]
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# A droplet that is off costs as much as one that is on: it destroys itself. The token comes on stdin of curl, because
# other users of the machine can read the arguments of a process.
_END = """\
header='Authorization: Bearer '{token}
for pause in 1 2 4 8 16 32; do
  id=$(curl -sf --max-time 5 http://169.254.169.254/metadata/v1/id) &&
    curl -sf --max-time 20 -X DELETE -H @- {url}"/v2/droplets/$id" <<<"$header" && break
  sleep "$pause"
done
"""


class DigitalOcean(Provider):
    """Droplets in one region.

    DigitalOcean has no token that makes a call repeatable. Before a droplet is requested again, Hive looks for the one
    that the call before may have created: every droplet has its machine's name as a tag.
    """

    name = "digitalocean"
    title = "DigitalOcean"
    example = "--size g-8vcpu-32gb --region nyc1 --ssh-from 203.0.113.7/32"
    options = (
        Option("type", "--size", "Size of the droplet, such as g-8vcpu-32gb.", metavar="SIZE", is_required=True),
        Option("region", "--region", "Region.", metavar="REGION", default=_REGION),
    )
    user_data_max_bytes = 65_536

    def __init__(self, settings: Settings, region: str | None) -> None:
        self._settings = settings
        self.region = region or _REGION
        self._api = Api(settings)

    def offer(self, type: str, *, is_spot: bool) -> Offer:
        """Look up a size; DigitalOcean has no spot machines."""
        if is_spot:
            raise UnknownNameError("DigitalOcean has no spot machines. Leave out --spot.")
        sizes = list(self._api.pages("/v2/sizes", "sizes"))
        size = next((each for each in sizes if each["slug"] == type), None)
        if size is None or self.region not in size["regions"]:
            names = [each["slug"] for each in sizes if self.region in each["regions"]][:8]
            raise UnknownNameError(
                f"DigitalOcean has no size {type!r} in {self.region}. It has: {', '.join(names) or 'nothing there'}."
            )
        [offer] = offers_of([size], now().date())
        return with_list_price(self._settings, replace(offer, region=self.region))

    def create(self, order: Order) -> Resource:
        """Create a droplet, behind the firewall of its Hive."""
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
        answer = self._api.call("POST", "/v2/droplets", body, before_retry=lambda: self._created(order))
        self._add_firewall(order)
        return _resource(answer["droplet"])

    def list(self, hive: str) -> list[Resource]:
        """The droplets of one Hive; one that is off costs as much as one that is on."""
        droplets = self._api.pages("/v2/droplets", "droplets", tag_name=f"{HIVE_TAG}:{hive}")
        resources = [_resource(droplet) for droplet in droplets]
        return [each for each in resources if each.region == self.region and each.state != "archive"]

    def destroy(self, ids: Sequence[str]) -> None:
        """Destroy droplets."""
        for id_ in ids:
            self._api.call("DELETE", f"/v2/droplets/{int(id_)}", allowed=(404,))

    @classmethod
    def read_prices(cls, settings: Settings, regions: Sequence[str]) -> Sequence[Offer]:
        """Read the prices of all sizes, which are the same in all regions."""
        return tuple(offers_of(Api(settings).pages("/v2/sizes", "sizes"), now().date()))

    @classmethod
    def end_script(cls, settings: Settings) -> str:
        """Destroy the droplet with a token that may do nothing else, where there is one."""
        file = settings.do_machine_token_file
        if not file.exists():
            return ""
        return _END.format(token=shlex.quote(private_text(file)), url=shlex.quote(settings.do_url))

    @classmethod
    def warning(cls, settings: Settings) -> str:
        """That droplets cannot destroy themselves, where they cannot."""
        if settings.do_machine_token_file.exists():
            return ""
        return (
            "A droplet that is switched off still costs money. To let droplets destroy themselves, write a token that "
            f"may only delete droplets to {settings.do_machine_token_file}; without it, run hive fleet gc here."
        )

    def _created(self, order: Order) -> dict[str, Any] | None:
        """The droplet of an earlier call whose answer was lost."""
        droplets = self._api.pages("/v2/droplets", "droplets", tag_name=f"{MACHINE_TAG}:{order.name}")
        droplet = next(droplets, None)
        return {"droplet": droplet} if droplet else None

    def _key(self, order: Order) -> int:
        """The id of the public key in this account."""
        body = {"name": f"hive-{order.hive}", "public_key": order.ssh_key}
        wanted_key = order.ssh_key.split()[:2]
        for key in self._api.pages("/v2/account/keys", "ssh_keys"):
            if key["public_key"].split()[:2] == wanted_key:
                return int(key["id"])
        return int(self._api.call("POST", "/v2/account/keys", body)["ssh_key"]["id"])

    def _add_firewall(self, order: Order) -> None:
        """Block all inbound traffic, but SSH from one address where the order has a key."""
        suffix = hashlib.sha256(order.ssh_from.encode()).hexdigest()[:8] if order.ssh_key else "closed"
        name = f"hive-{order.hive}-{suffix}"
        if any(firewall["name"] == name for firewall in self._api.pages("/v2/firewalls", "firewalls")):
            return
        ssh = {"protocol": "tcp", "ports": "22", "sources": {"addresses": [order.ssh_from]}}
        outbound = [
            {"protocol": protocol, "ports": "all", "destinations": {"addresses": _ANYWHERE}}
            for protocol in ("tcp", "udp")
        ]
        body = {
            "name": name,
            "tags": [f"{HIVE_TAG}:{order.hive}"],
            "inbound_rules": [ssh] if order.ssh_key else [],
            "outbound_rules": outbound,
        }
        self._api.call("POST", "/v2/firewalls", body, allowed=(409,))


def _tags(order: Order) -> list[str]:
    return [
        f"{HIVE_TAG}:{order.hive}",
        f"{MACHINE_TAG}:{order.name}",
        f"{EXPIRES_TAG}:{format_time(order.expires_at)}",
    ]


def _resource(droplet: Mapping[str, Any]) -> Resource:
    tags = dict(tag.split(":", 1) for tag in droplet.get("tags", []) if ":" in tag)
    networks = droplet.get("networks", {}).get("v4", [])
    return Resource(
        id=str(droplet["id"]),
        name=tags.get(MACHINE_TAG, ""),
        state=droplet["status"],
        region=droplet["region"]["slug"],
        type=droplet["size_slug"],
        expires_at=read_time(tags.get(EXPIRES_TAG, "")),
        address=next((network["ip_address"] for network in networks if network["type"] == "public"), ""),
    )


def offers_of(sizes: Iterable[Mapping[str, Any]], dated: date) -> Iterator[Offer]:
    """Read sizes as the API lists them. A price that it leaves out or calls 0 is unknown."""
    for size in sizes:
        if not _SLUG.fullmatch(size["slug"]):
            continue
        gpu = size.get("gpu_info") or {}
        yield Offer(
            provider=DigitalOcean.name,
            type=size["slug"],
            region=EVERYWHERE,
            vcpus=int(size["vcpus"]),
            memory_gib=size["memory"] / 1024,
            gpus=int(gpu.get("count", 0)),
            gpu="",
            price_usd_per_h=float(size.get("price_hourly") or 0) or None,
            spot_usd_per_h=None,
            dated=dated,
            source="DigitalOcean's price list",
        )


class Api:
    """DigitalOcean's HTTP API, with the token of this Hive.

    Raises
    ------
    UnreachableError
        There is no token.
    SettingError
        Other users can read the token's file, or the token would travel unencrypted.
    """

    def __init__(self, settings: Settings) -> None:
        import httpx

        headers = {"Authorization": f"Bearer {_token(settings)}"}
        self._transport_error = httpx.TransportError
        self._http = httpx.Client(
            base_url=_checked_url(settings.do_url), headers=headers, timeout=httpx.Timeout(20, connect=5)
        )

    def pages(self, path: str, key: str, **parameters: str) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        page = 1
        while True:
            answer = self.call("GET", path, parameters={**parameters, "page": page, "per_page": _PER_PAGE})
            yield from answer[key]
            if not answer.get("links", {}).get("pages", {}).get("next"):
                return
            page += 1

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        parameters: dict[str, Any] | None = None,
        allowed: Sequence[int] = (),
        before_retry: Callable[[], dict[str, Any] | None] | None = None,
    ) -> dict[str, Any]:
        """Send a request, again after errors 5xx, time-outs and "slow down".

        Raises
        ------
        UnreachableError
            DigitalOcean refuses the token, or does not answer.
        CloudError
            DigitalOcean could not do it.
        """
        reason = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(min(_PAUSE_S * 2**attempt, _LONGEST_PAUSE_S))
                if before_retry and (answer := before_retry()):
                    return answer
            try:
                response = self._http.request(method, path, json=body, params=parameters)
            except self._transport_error as error:
                reason = str(error) or type(error).__name__
                continue
            if response.status_code < 500 and response.status_code != 429:
                return _read(response, f"{method} {path}", allowed)
            reason = f"it answered {response.status_code}"
        raise UnreachableError(f"DigitalOcean does not answer to {method} {path}, {_ATTEMPTS} times: {reason}.")


def _read(response: Any, request: str, allowed: Sequence[int]) -> dict[str, Any]:  # noqa: ANN401  of httpx, an extra
    if response.is_success or response.status_code in allowed:
        return dict(response.json()) if response.content and response.is_success else {}
    try:
        message = str(response.json().get("message", "")).rstrip(".")
    except ValueError:
        message = ""
    if response.status_code == 401:
        raise UnreachableError("DigitalOcean refuses the token. Correct DIGITALOCEAN_TOKEN or HIVE_DO_TOKEN_FILE.")
    if response.status_code == 403:
        raise UnreachableError(f"This DigitalOcean token is not allowed to {request}: {message}.")
    if "limit" in message.lower():
        raise CloudError(
            f"The droplet limit of this account is reached: {message}. Lower --count, or request a higher limit."
        )
    if response.status_code == 422:
        raise CloudError(f"DigitalOcean refuses the request: {message}. Try another --region or --size, or later.")
    raise CloudError(f"DigitalOcean answered {response.status_code} to {request}: {message}.")


def _token(settings: Settings) -> str:
    """The token, from the environment or from a file that no other user can read; it is never printed."""
    token = os.environ.get("DIGITALOCEAN_TOKEN", "").strip()
    file = settings.do_token_file
    if token:
        return token
    if not file.exists():
        raise UnreachableError(f"No DigitalOcean token found. Set DIGITALOCEAN_TOKEN, or write it to {file}.")
    return private_text(file)


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
        raise SettingError(f"HIVE_DO_URL is {url}: the token would travel unencrypted. Use an https:// address.")
    return url
