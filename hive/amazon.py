"""Amazon's errors, each in one sentence that tells what to do. Import it where boto3 is there."""

import contextlib
from collections.abc import Iterator

import botocore.session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)  # fmt: skip

from hive.errors import CloudError, UnknownNameError, UnreachableError, did_you_mean

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
