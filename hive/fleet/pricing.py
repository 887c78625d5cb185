"""What a machine costs, by the table of prices, and the limits of the day and the month."""

from hive.costs import budgets
from hive.costs.prices import find_offer
from hive.errors import NotFoundError
from hive.settings import Settings


def price_of(settings: Settings, provider: str, type: str, region: str) -> float | None:
    """List price of a machine [USD/h]; None where it is not known, which is never the same as free."""
    try:
        return find_offer(provider, type, region, settings.home).price_usd_per_h
    except NotFoundError:
        return None


def check_limits(settings: Settings, planned_usd: float | None) -> None:
    """Refuse what would pass the limits of the day or the month.

    Raises
    ------
    BudgetError
        It would; the text says which limit, and by how much.
    """
    budgets.check(settings, planned_usd)
