"""Amazon EC2: machines, their prices, and how they are started and ended."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)  # fmt: skip

from hive.costs.prices import Offer
from hive.errors import CloudError, UnknownNameError, UnreachableError, did_you_mean
from hive.providers.machine import now, read_time, written
from hive.providers.provider import EXPIRES_TAG, HIVE_TAG, MACHINE_TAG, Order, Resource, priced
from hive.settings import Settings

_REFUSED = {
    "AuthFailure", "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "ExpiredToken",
    "RequestExpired", "OptInRequired", "InvalidAccessKeyId", "ExpiredTokenException",
}  # fmt: skip
_FORBIDDEN = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
_QUOTA = {"VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded"}
_CAPACITY = {"InsufficientInstanceCapacity", "InsufficientCapacity", "SpotMaxPriceTooLow", "Unsupported"}


@contextlib.contextmanager
def said(region: str, what: str) -> Iterator[None]:
    """Say what goes wrong while Hive tries to do something there.

    Raises
    ------
    UnknownNameError
        There is no such region.
    UnreachableError
        Amazon refuses the credentials or there are none, or it does not answer.
    CloudError
        It could not do that.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise UnreachableError(
            "There are no credentials of Amazon here. Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret."
        ) from error
    except ProfileNotFound as error:
        raise UnreachableError(f"{error}. Correct AWS_PROFILE, or write the profile: aws configure.") from error
    except InvalidRegionError as error:
        raise _no_region(region) from error
    except EndpointConnectionError as error:
        if region not in (known := _regions()) and known:
            raise _no_region(region) from error
        raise UnreachableError(f"Amazon does not answer in {region}, so Hive could not {what}: {error}.") from error
    except ClientError as error:
        raise _meaning(error, region, what) from error
    except BotoCoreError as error:
        raise UnreachableError(f"Amazon does not answer in {region}, so Hive could not {what}: {error}.") from error


def _no_region(region: str) -> UnknownNameError:
    known = _regions()
    return UnknownNameError(
        f"Amazon has no region {region!r}. Among others it has us-east-1, us-west-2 and eu-west-1."
        f"{did_you_mean(region, known)}"
    )


def _regions() -> list[str]:
    """The regions that Amazon's library knows; a newer one may be missing."""
    return list(botocore.session.get_session().get_available_regions("ec2"))


def _meaning(error: ClientError, region: str, what: str) -> CloudError | UnreachableError:
    code, words = error.response["Error"]["Code"], error.response["Error"].get("Message", "").rstrip(".")
    if code in _REFUSED:
        return UnreachableError(
            f"Amazon refuses the credentials ({code}). Correct AWS_PROFILE, or the key and its secret."
        )
    if code in _FORBIDDEN:
        return UnreachableError(f"These credentials may not {what} ({code}): {words[:300]}.")
    if code in _QUOTA:
        return CloudError(
            f"This account may not have that many machines in {region} ({code}): {words}. "
            "Ask for less with --count, or Amazon for a higher quota."
        )
    if code in _CAPACITY:
        return CloudError(
            f"Amazon has no such machine to give now ({code}): {words}. Try another --region or --type, or later; "
            "or on demand, without --spot."
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = UnreachableError if status >= 500 else CloudError
    return kind(f"Amazon could not {what} ({code}): {words}.")


# Public parameters of Amazon's Systems Manager: always the newest image. With GPUs the one that has NVIDIA's driver.
_IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/{arch}/hvm/ebs-gp3/ami-id"
_GPU_IMAGE = "/aws/service/deeplearning/ami/{arch}/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
_ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
_COSTS_MONEY = ["pending", "running", "stopping", "stopped"]
# Amazon's library asks again with the same token after errors 5xx, time-outs and "slow down".
_ATTEMPTS, _CONNECT_S, _READ_S = 5, 5, 20


class Aws:
    """Machines of Amazon EC2 in one region."""

    name = "aws"
    user_data_max_bytes = 16_384

    def __init__(self, settings: Settings, region: str | None) -> None:
        self._settings = settings
        config = Config(
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
        )
        with said(region or "", "begin"):
            session = boto3.session.Session(region_name=region)
            self.region = session.region_name or "us-east-1"
            self._ec2 = session.client("ec2", region_name=self.region, config=config)
            self._ssm = session.client("ssm", region_name=self.region, config=config)

    def offer(self, type: str, *, is_spot: bool) -> Offer:
        """Look up an instance type."""
        found = self._described(type)
        gpus = found.get("GpuInfo", {}).get("Gpus", [])
        offer = Offer(
            provider=self.name,
            type=type,
            region=self.region,
            vcpus=found["VCpuInfo"]["DefaultVCpus"],
            memory_gib=found["MemoryInfo"]["SizeInMiB"] / 1024,
            gpus=sum(one["Count"] for one in gpus),
            gpu=", ".join(one["Name"] for one in gpus),
            price_usd_per_h=None,
            spot_usd_per_h=self._spot_price(type) if is_spot else None,
            dated=now().date(),
            source="Amazon EC2",
        )
        return priced(self._settings, offer)

    def create(self, order: Order) -> Resource:
        """Start an instance; it is terminated when it powers itself off."""
        with self._said(f"start a {order.type}"):
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
                SecurityGroupIds=[self._group(order)],
                BlockDeviceMappings=[_disk(order.disk_gb)],
                TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in kinds],
                **(self._key(order) if order.ssh_key else {}),
                **(_SPOT if order.is_spot else {}),
            )
            return _resource(answer["Instances"][0], self.region)

    def list(self, hive: str) -> list[Resource]:
        """The instances of one Hive in this region that are not gone."""
        wanted = [
            {"Name": f"tag:{HIVE_TAG}", "Values": [hive]},
            {"Name": "instance-state-name", "Values": _COSTS_MONEY},
        ]
        with self._said("list instances"):
            pages = self._ec2.get_paginator("describe_instances").paginate(Filters=wanted)
            found = [one for page in pages for group in page["Reservations"] for one in group["Instances"]]
        return [_resource(one, self.region) for one in found]

    def destroy(self, ids: Sequence[str]) -> None:
        """Terminate instances."""
        for one in ids:  # one by one: an id that is gone would spare all others of the call
            with self._said(f"end {one}"), _unless("InvalidInstanceID.NotFound"):
                self._ec2.terminate_instances(InstanceIds=[one])

    def _described(self, type: str) -> dict[str, Any]:
        try:
            with self._said(f"look up {type}"), _unless("InvalidInstanceType", "InvalidParameterValue"):
                found: list[dict[str, Any]] = self._ec2.describe_instance_types(InstanceTypes=[type])["InstanceTypes"]
                return found[0]
        except IndexError:
            pass
        raise UnknownNameError(f"Amazon has no instance type {type!r} in {self.region}. Try g4dn.xlarge.")

    def _spot_price(self, type: str) -> float | None:
        with self._said("look up spot prices"):
            found = self._ec2.describe_spot_price_history(
                InstanceTypes=[type], ProductDescriptions=["Linux/UNIX"], MaxResults=20
            )["SpotPriceHistory"]
        return max((float(one["SpotPrice"]) for one in found), default=0.0) or None

    def _image(self, type: str) -> str:
        found = self._described(type)
        arch = found["ProcessorInfo"]["SupportedArchitectures"][-1]
        name = _GPU_IMAGE.format(arch=arch) if "GpuInfo" in found else _IMAGE.format(arch=_ARCHITECTURES[arch])
        return str(self._ssm.get_parameter(Name=name)["Parameter"]["Value"])

    def _group(self, order: Order) -> str:
        """The security group that lets nobody in, but SSH from one address where that is asked for."""
        name = f"hive-{order.hive}" + (f" ssh {order.ssh_from}" if order.ssh_key else "")
        wanted = [{"Name": "group-name", "Values": [name]}]
        found = self._ec2.describe_security_groups(Filters=wanted)["SecurityGroups"]
        tags = [{"ResourceType": "security-group", "Tags": [{"Key": HIVE_TAG, "Value": order.hive}]}]
        made = (
            found[0]
            if found
            else self._ec2.create_security_group(
                GroupName=name, Description="Machines that Hive has rented", TagSpecifications=tags
            )
        )
        if order.ssh_key:
            with _unless("InvalidPermission.Duplicate"):  # also where an earlier call ended before it could
                self._ec2.authorize_security_group_ingress(
                    GroupId=made["GroupId"], IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp=order.ssh_from
                )
        return str(made["GroupId"])

    def _key(self, order: Order) -> dict[str, str]:
        name = f"hive-{order.hive}-{hashlib.sha256(order.ssh_key.encode()).hexdigest()[:8]}"
        tags = [{"ResourceType": "key-pair", "Tags": [{"Key": HIVE_TAG, "Value": order.hive}]}]
        with _unless("InvalidKeyPair.Duplicate"):
            self._ec2.import_key_pair(KeyName=name, PublicKeyMaterial=order.ssh_key.encode(), TagSpecifications=tags)
        return {"KeyName": name}

    def _said(self, what: str) -> AbstractContextManager[None]:
        return said(self.region, what)


_SPOT = {
    "InstanceMarketOptions": {
        "MarketType": "spot",
        "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
    }
}


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
        EXPIRES_TAG: written(order.expires_at),
    }


def _resource(found: dict[str, Any], region: str) -> Resource:
    tags = {one["Key"]: one["Value"] for one in found.get("Tags", [])}
    return Resource(
        id=found["InstanceId"],
        name=tags.get(MACHINE_TAG, ""),
        state=found["State"]["Name"],
        region=region,
        type=found["InstanceType"],
        expires_at=read_time(tags.get(EXPIRES_TAG, "")),
        address=found.get("PublicIpAddress", ""),
    )


@contextlib.contextmanager
def _unless(*codes: str) -> Iterator[None]:
    """Pass over these errors of Amazon."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise
