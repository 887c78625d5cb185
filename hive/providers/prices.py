"""Reading the providers' own price lists. What they leave out or call 0 is unknown, and not free."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from hive.costs.prices import EVERYWHERE, Offer, offers
from hive.errors import HiveError, missing_library
from hive.settings import Settings

_AWS_LIST = "us-east-1"  # where AWS answers about the prices of all regions
_WHAT = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def read_aws(settings: Settings, regions: Sequence[str]) -> list[Offer]:
    """Read what AWS asks for the types that Hive knows, on demand and as spot machines.

    Raises
    ------
    ServiceError
        boto3 is not installed.
    UnreachableError
        AWS does not answer, or refuses the credentials.
    CloudError
        It could not do that.
    """
    try:
        import boto3  # noqa: PLC0415  half a second that only this needs

        from hive.providers.aws import said  # noqa: PLC0415  as above
    except ModuleNotFoundError as error:
        raise missing_library("aws", error) from error
    types = sorted({one.type for one in offers(settings.home) if one.provider == "aws"})
    with said(_AWS_LIST, "read its prices"):
        client = boto3.client("pricing", region_name=_AWS_LIST)
        lists = {region: [_aws_list(client, type_, region) for type_ in types] for region in regions}
    found: list[Offer] = []
    for region, documents in lists.items():
        try:
            with said(region, "read its spot prices"):
                spot = _spot_prices(boto3.client("ec2", region_name=region), types)
        except HiveError:
            spot = {}  # credentials that may not ask for them are no reason to lose the others; unknown it is
        read = [offer for one in documents for offer in offers_of_aws(one, _today())]
        found += [replace(offer, spot_usd_per_h=spot.get(offer.type)) for offer in read]
    return found


def _spot_prices(client: Any, types: Sequence[str]) -> dict[str, float]:  # noqa: ANN401  boto3 makes its clients as it runs
    """The present spot price of each type; of its zones the dearest, because nobody knows yet which one it will be."""
    pages = client.get_paginator("describe_spot_price_history").paginate(
        InstanceTypes=list(types), ProductDescriptions=["Linux/UNIX"], StartTime=datetime.now(UTC)
    )
    found: dict[str, float] = {}
    for said in (one for page in pages for one in page["SpotPriceHistory"]):
        found[said["InstanceType"]] = max(found.get(said["InstanceType"], 0.0), float(said["SpotPrice"]))
    return {name: price for name, price in found.items() if price}


def _aws_list(client: Any, type_: str, region: str) -> list[str]:  # noqa: ANN401  boto3 makes its clients as it runs
    fields = {"instanceType": type_, "regionCode": region} | _WHAT
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()]
    answer = client.get_products(ServiceCode="AmazonEC2", Filters=filters, MaxResults=100)
    return list(answer["PriceList"])


def offers_of_aws(documents: Iterable[str], dated: date) -> Iterator[Offer]:
    """Read products as AWS' price list has them, each a document of JSON."""
    for document in map(json.loads, documents):
        said = document["product"]["attributes"]
        if not _NAME.fullmatch(said["instanceType"]) or any(said.get(name, of) != of for name, of in _WHAT.items()):
            continue
        yield Offer(
            provider="aws",
            type=said["instanceType"],
            region=said["regionCode"],
            vcpus=int(said["vcpu"]),
            memory_gib=float(said["memory"].partition(" ")[0].replace(",", "")),
            gpus=int(said.get("gpu", 0)),
            gpu="",
            price_usd_per_h=_aws_price(document),
            spot_usd_per_h=None,
            dated=dated,
            source="AWS' price list",
        )


def _aws_price(document: Mapping[str, Any]) -> float | None:
    """The price by the hour; None where there is none, or no single one."""
    terms = document.get("terms", {}).get("OnDemand", {}).values()
    dimensions = [one for term in terms for one in term["priceDimensions"].values() if one["unit"] == "Hrs"]
    prices = {float(one["pricePerUnit"].get("USD", 0)) for one in dimensions} - {0.0}
    return prices.pop() if len(prices) == 1 else None


def read_digitalocean(settings: Settings, _: Sequence[str] = ()) -> list[Offer]:
    """Read what DigitalOcean asks for all its sizes; it is the same in all regions.

    Raises
    ------
    ServiceError
        httpx is not installed.
    UnreachableError
        There is no token, or DigitalOcean refuses it or does not answer.
    """
    from hive.providers.digitalocean import Api  # noqa: PLC0415  that module reads prices with this one

    return list(offers_of_digitalocean(Api(settings).pages("/v2/sizes", "sizes"), _today()))


def offers_of_digitalocean(sizes: Iterable[Mapping[str, Any]], dated: date) -> Iterator[Offer]:
    """Read sizes as DigitalOcean's API has them."""
    for size in sizes:
        if not _NAME.fullmatch(size["slug"]):
            continue
        gpu = size.get("gpu_info") or {}
        yield Offer(
            provider="digitalocean",
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


def _today() -> date:
    return datetime.now(UTC).date()


READERS: dict[str, Callable[[Settings, Sequence[str]], list[Offer]]] = {
    "aws": read_aws,
    "digitalocean": read_digitalocean,
}
