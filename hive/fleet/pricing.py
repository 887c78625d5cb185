"""What a machine costs, and the limits of the day and the month. The one place that knows; `hive.costs` replaces it."""

from hive.settings import Settings

# Amazon's list price of g4dn.xlarge, Linux, us-east-1, on demand.
_USD_PER_H = {("aws", "g4dn.xlarge", "us-east-1"): 0.526}


def price_of(provider: str, type: str, region: str) -> float | None:
    """List price of a machine [USD/h]; None where it is not known, which is never the same as free."""
    return _USD_PER_H.get((provider, type, region))


def check_limits(settings: Settings, planned_usd: float | None) -> None:
    """Refuse what would pass the limits of the day or the month; there are none without `hive.costs`."""
