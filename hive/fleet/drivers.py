"""The providers that there are; each is imported when it is asked for."""

from hive.errors import missing_library
from hive.fleet.provider import Provider
from hive.settings import Settings

PROVIDERS = ("aws", "digitalocean")


def open_provider(settings: Settings, name: str, region: str | None) -> Provider:
    """Open a provider in a region.

    Raises
    ------
    ServiceError
        Its library is not installed here; says how to get it.
    UnreachableError
        There are no credentials.
    """
    try:
        if name == "aws":
            from hive.fleet.aws import Aws  # noqa: PLC0415  only where it is used

            return Aws(settings, region)
        from hive.fleet.digitalocean import DigitalOcean  # noqa: PLC0415  as above

        return DigitalOcean(settings, region)
    except ModuleNotFoundError as error:
        raise missing_library(name, error) from error
