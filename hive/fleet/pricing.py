"""What a machine costs, by the table of prices, and the limits of the day and the month."""

from dataclasses import replace

from hive.costs import budgets
from hive.costs.prices import Offer, find_offer
from hive.errors import NotFoundError
from hive.settings import Settings


def priced(settings: Settings, found: Offer) -> Offer:
    """What a provider says of a machine, with the list price of the table where that has one.

    A price that is not known stays None, which is never the same as free.
    """
    try:
        known = find_offer(found.provider, found.type, found.region, settings.home)
    except NotFoundError:
        return found
    if known.price_usd_per_h is None:
        return found
    return replace(found, price_usd_per_h=known.price_usd_per_h, dated=known.dated, source=known.source)


def check_limits(settings: Settings, planned_usd: float | None) -> None:
    """Refuse what would pass the limits of the day or the month.

    Raises
    ------
    BudgetError
        It would; the text says which limit, and by how much.
    """
    budgets.check(settings, planned_usd)
