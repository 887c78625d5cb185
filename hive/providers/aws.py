"""Amazon EC2: its machines, prices and options."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from hive.costs.prices import Offer, offers
from hive.errors import CloudError, HiveError, UnknownNameError, UnreachableError, did_you_mean
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
    read_time,
    with_list_price,
)
from hive.settings import Settings

_REGION = "us-east-1"
_LOGIN_FAILED = {
    "AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "ExpiredToken",
    "RequestExpired", "OptInRequired", "InvalidAccessKeyId", "ExpiredTokenException",
}  # fmt: skip
_FORBIDDEN = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
_QUOTA = {"VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded"}
_CAPACITY = {"InsufficientInstanceCapacity", "InsufficientCapacity", "SpotMaxPriceTooLow", "Unsupported"}
# Public parameters of AWS Systems Manager: always the newest image. With GPUs the one that has NVIDIA's driver.
_IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{arch}/hvm/ebs-gp3/ami-id"
_GPU_IMAGE = "/aws/service/deeplearning/ami/{arch}/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
_COSTS_MONEY = ["pending", "running", "stopping", "stopped"]
# boto3 repeats a call with the same token after errors 5xx, time-outs and "slow down".
_ATTEMPTS, _CONNECT_S, _READ_S = 5, 5, 20
_SPOT = {
    "InstanceMarketOptions": {
        "MarketType": "spot",
        "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
    }
}


class Aws(Provider):
    """Instances of Amazon EC2 in one region."""

    name = "aws"
    title = "Amazon EC2"
    example = "--type g4dn.xlarge --count 4 --spot --hours 2 --budget 5 --ssh-from 203.0.113.7/32"
    options = (
        Option("type", "--type", "Instance type, such as g4dn.xlarge.", metavar="TYPE", is_required=True),
        Option("region", "--region", "Region [AWS_REGION, us-east-1].", metavar="REGION"),
        Option("is_spot", "--spot", "Spot instances: cheaper, but AWS may reclaim them at any time."),
    )
    user_data_max_bytes = 16_384

    def __init__(self, settings: Settings, region: str | None) -> None:
        import boto3
        from botocore.config import Config

        self._settings = settings
        config = Config(
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
        )
        with _translated_errors(region or "", "open a session"):
            session = boto3.session.Session(region_name=region)
            self.region = session.region_name or _REGION
            self._ec2 = session.client("ec2", region_name=self.region, config=config)
            self._ssm = session.client("ssm", region_name=self.region, config=config)

    def offer(self, type: str, *, is_spot: bool) -> Offer:
        """Look up an instance type."""
        description = self._describe(type)
        gpus = description.get("GpuInfo", {}).get("Gpus", [])
        offer = Offer(
            provider=self.name,
            type=type,
            region=self.region,
            vcpus=description["VCpuInfo"]["DefaultVCpus"],
            memory_gib=description["MemoryInfo"]["SizeInMiB"] / 1024,
            gpus=sum(gpu["Count"] for gpu in gpus),
            gpu=", ".join(gpu["Name"] for gpu in gpus),
            price_usd_per_h=None,
            spot_usd_per_h=self._spot_price(type) if is_spot else None,
            dated=now().date(),
            source="Amazon EC2",
        )
        return with_list_price(self._settings, offer)

    def create(self, order: Order) -> Resource:
        """Start an instance; it is terminated when it powers itself off."""
        with self._translated_errors(f"start a {order.type}"):
            image = self._image(order.type)
            tags = [{"Key": key, "Value": value} for key, value in _tags(order).items()]
            kinds = ["instance", "volume", *(["spot-instances-request"] if order.is_spot else [])]
            answer = self._ec2.run_instances(
                ClientToken=order.token,
                ImageId=image,
                InstanceType=order.type,
                MinCount=1,
                MaxCount=1,
                UserData=order.user_data,
                InstanceInitiatedShutdownBehavior="terminate",
                MetadataOptions={"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
                SecurityGroupIds=[self._security_group(order)],
                BlockDeviceMappings=[_disk(order.disk_gb)],
                TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in kinds],
                **(self._key_pair(order) if order.ssh_key else {}),
                **(_SPOT if order.is_spot else {}),
            )
            return _resource(answer["Instances"][0], self.region)

    def list(self, hive: str) -> list[Resource]:
        """The instances of one Hive in this region that are not terminated."""
        filters = [
            {"Name": f"tag:{HIVE_TAG}", "Values": [hive]},
            {"Name": "instance-state-name", "Values": _COSTS_MONEY},
        ]
        with self._translated_errors("list instances"):
            pages = self._ec2.get_paginator("describe_instances").paginate(Filters=filters)
            return [
                _resource(instance, self.region)
                for page in pages
                for reservation in page["Reservations"]
                for instance in reservation["Instances"]
            ]

    def destroy(self, ids: Sequence[str]) -> None:
        """Terminate instances."""
        for id_ in ids:  # one at a time: an id that is gone would make the whole call fail
            with self._translated_errors(f"terminate {id_}"), _ignored_errors("InvalidInstanceID.NotFound"):
                self._ec2.terminate_instances(InstanceIds=[id_])

    @classmethod
    def read_prices(cls, settings: Settings, regions: Sequence[str]) -> Sequence[Offer]:
        """Read the prices of the types that Hive knows, on demand and as spot instances."""
        import boto3

        types = sorted({offer.type for offer in offers(settings.home) if offer.provider == cls.name})
        regions = regions or (_REGION,)
        with _translated_errors(_REGION, "read its prices"):
            client = boto3.client("pricing", region_name=_REGION)  # it answers for all regions
            documents = {region: [_price_list(client, type_, region) for type_ in types] for region in regions}
        priced: list[Offer] = []
        for region, lists in documents.items():
            spot = _spot_prices(region, types)
            listed = [offer for products in lists for offer in offers_of(products, now().date())]
            priced += [replace(offer, spot_usd_per_h=spot.get(offer.type)) for offer in listed]
        return priced

    def _describe(self, type: str) -> dict[str, Any]:
        with (
            self._translated_errors(f"look up {type}"),
            _ignored_errors("InvalidInstanceType", "InvalidParameterValue"),
        ):
            types = self._ec2.describe_instance_types(InstanceTypes=[type])["InstanceTypes"]
            if types:
                return dict(types[0])
        raise UnknownNameError(f"AWS has no instance type {type!r} in {self.region}. Try g4dn.xlarge.")

    def _spot_price(self, type: str) -> float | None:
        with self._translated_errors("look up spot prices"):
            history = self._ec2.describe_spot_price_history(
                InstanceTypes=[type], ProductDescriptions=["Linux/UNIX"], MaxResults=20
            )["SpotPriceHistory"]
        return max((float(entry["SpotPrice"]) for entry in history), default=0.0) or None

    def _image(self, type: str) -> str:
        description = self._describe(type)
        arch = description["ProcessorInfo"]["SupportedArchitectures"][-1]
        name = _GPU_IMAGE.format(arch=arch) if "GpuInfo" in description else _IMAGE.format(arch=_ARCHITECTURES[arch])
        return str(self._ssm.get_parameter(Name=name)["Parameter"]["Value"])

    def _security_group(self, order: Order) -> str:
        """The security group: no inbound traffic, but SSH from one address where the order has a key."""
        name = f"hive-{order.hive}" + (f" ssh {order.ssh_from}" if order.ssh_key else "")
        groups = self._ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [name]}])
        tags = [{"ResourceType": "security-group", "Tags": [{"Key": HIVE_TAG, "Value": order.hive}]}]
        group = (
            groups["SecurityGroups"][0]
            if groups["SecurityGroups"]
            else self._ec2.create_security_group(
                GroupName=name, Description="Machines that Hive has rented", TagSpecifications=tags
            )
        )
        if order.ssh_key:
            with _ignored_errors("InvalidPermission.Duplicate"):  # also where an earlier call broke off before this
                self._ec2.authorize_security_group_ingress(
                    GroupId=group["GroupId"], IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp=order.ssh_from
                )
        return str(group["GroupId"])

    def _key_pair(self, order: Order) -> dict[str, str]:
        name = f"hive-{order.hive}-{hashlib.sha256(order.ssh_key.encode()).hexdigest()[:8]}"
        tags = [{"ResourceType": "key-pair", "Tags": [{"Key": HIVE_TAG, "Value": order.hive}]}]
        with _ignored_errors("InvalidKeyPair.Duplicate"):
            self._ec2.import_key_pair(KeyName=name, PublicKeyMaterial=order.ssh_key.encode(), TagSpecifications=tags)
        return {"KeyName": name}

    def _translated_errors(self, action: str) -> AbstractContextManager[None]:
        return _translated_errors(self.region, action)


def _disk(size_gb: int) -> dict[str, Any]:
    return {
        "DeviceName": "/dev/sda1",
        "Ebs": {"VolumeSize": size_gb, "VolumeType": "gp3", "DeleteOnTermination": True},
    }


def _tags(order: Order) -> dict[str, str]:
    return {
        "Name": order.name,
        HIVE_TAG: order.hive,
        MACHINE_TAG: order.name,
        EXPIRES_TAG: format_time(order.expires_at),
    }


def _resource(instance: Mapping[str, Any], region: str) -> Resource:
    tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
    return Resource(
        id=instance["InstanceId"],
        name=tags.get(MACHINE_TAG, ""),
        state=instance["State"]["Name"],
        region=region,
        type=instance["InstanceType"],
        expires_at=read_time(tags.get(EXPIRES_TAG, "")),
        address=instance.get("PublicIpAddress", ""),
    )


# --- errors -----------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def _translated_errors(region: str, action: str) -> Iterator[None]:
    """Turn the errors of boto3 into Hive's.

    Raises
    ------
    UnknownNameError
        There is no such region.
    UnreachableError
        AWS refuses the credentials or there are none, or it does not answer.
    CloudError
        AWS could not do it.
    """
    from botocore import exceptions

    try:
        yield
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
        raise UnreachableError(
            "No AWS credentials found. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from error
    except exceptions.ProfileNotFound as error:
        raise UnreachableError(f"{error}. Correct AWS_PROFILE, or create the profile: aws configure.") from error
    except exceptions.InvalidRegionError as error:
        raise _unknown_region(region) from error
    except exceptions.EndpointConnectionError as error:
        regions = _regions()
        if regions and region not in regions:
            raise _unknown_region(region) from error
        raise UnreachableError(f"AWS does not answer in {region}, so Hive could not {action}: {error}.") from error
    except exceptions.ClientError as error:
        raise _meaning(error, region, action) from error
    except exceptions.BotoCoreError as error:
        raise UnreachableError(f"AWS does not answer in {region}, so Hive could not {action}: {error}.") from error


@contextlib.contextmanager
def _ignored_errors(*codes: str) -> Iterator[None]:
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


def _unknown_region(region: str) -> UnknownNameError:
    return UnknownNameError(
        f"AWS has no region {region!r}. Among others it has us-east-1, us-west-2 and eu-west-1."
        f"{did_you_mean(region, _regions())}"
    )


def _regions() -> list[str]:
    """The regions that boto3 knows; a newer one may be missing."""
    import botocore.session

    return list(botocore.session.get_session().get_available_regions("ec2"))


def _meaning(error: Any, region: str, action: str) -> CloudError | UnreachableError:  # noqa: ANN401  a ClientError
    code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "").rstrip(".")
    if code in _LOGIN_FAILED:
        return UnreachableError(f"AWS refuses the credentials ({code}). Correct AWS_PROFILE, or the access key.")
    if code in _FORBIDDEN:
        return UnreachableError(f"These credentials are not allowed to {action} ({code}): {message[:300]}.")
    if code in _QUOTA:
        return CloudError(
            f"The quota of this account in {region} is reached ({code}): {message}. "
            "Lower --count, or request a higher quota from AWS."
        )
    if code in _CAPACITY:
        return CloudError(
            f"AWS has no capacity for this instance type ({code}): {message}. Try another --region or --type, try "
            "later, or leave out --spot."
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = UnreachableError if status >= 500 else CloudError
    return kind(f"AWS could not {action} ({code}): {message}.")


# --- prices -----------------------------------------------------------------------------------------------------------
_PRODUCT = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used"}
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def offers_of(documents: Iterable[str], dated: date) -> Iterator[Offer]:
    """Read the products of AWS' price list, each a JSON document. A price that it leaves out or calls 0 is unknown."""
    for document in map(json.loads, documents):
        product = document["product"]["attributes"]
        is_ours = all(product.get(name, value) == value for name, value in _PRODUCT.items())
        if not is_ours or not _TYPE.fullmatch(product["instanceType"]):
            continue
        yield Offer(
            provider=Aws.name,
            type=product["instanceType"],
            region=product["regionCode"],
            vcpus=int(product["vcpu"]),
            memory_gib=float(product["memory"].partition(" ")[0].replace(",", "")),
            gpus=int(product.get("gpu", 0)),
            gpu="",
            price_usd_per_h=_hourly_price(document),
            spot_usd_per_h=None,
            dated=dated,
            source="AWS' price list",
        )


def _hourly_price(document: Mapping[str, Any]) -> float | None:
    """The price per hour; None where there is none, or no single one."""
    terms = document.get("terms", {}).get("OnDemand", {}).values()
    dimensions = [each for term in terms for each in term["priceDimensions"].values() if each["unit"] == "Hrs"]
    prices = {float(each["pricePerUnit"].get("USD", 0)) for each in dimensions} - {0.0}
    return prices.pop() if len(prices) == 1 else None


def _price_list(client: Any, type_: str, region: str) -> list[str]:  # noqa: ANN401  boto3 makes its clients as it runs
    fields = {"instanceType": type_, "regionCode": region} | _PRODUCT
    filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in fields.items()]
    answer = client.get_products(ServiceCode="AmazonEC2", Filters=filters, MaxResults=100)
    return list(answer["PriceList"])


def _spot_prices(region: str, types: Sequence[str]) -> dict[str, float]:
    """The present spot price of each type, of the most expensive zone: nobody knows yet which one it will be.

    Credentials that may not read spot prices are no reason to lose the others: those stay unknown.
    """
    import boto3

    prices: dict[str, float] = {}
    try:
        with _translated_errors(region, "read its spot prices"):
            pages = (
                boto3.client("ec2", region_name=region)
                .get_paginator("describe_spot_price_history")
                .paginate(InstanceTypes=list(types), ProductDescriptions=["Linux/UNIX"], StartTime=datetime.now(UTC))
            )
            for entry in (each for page in pages for each in page["SpotPriceHistory"]):
                name = entry["InstanceType"]
                prices[name] = max(prices.get(name, 0.0), float(entry["SpotPrice"]))
    except HiveError:
        return {}
    return {name: price for name, price in prices.items() if price}
