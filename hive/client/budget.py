"""Before a command sends anything: what it will cost, and whether it may."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hive.broker import reachable
from hive.client.request import Request, Source
from hive.costs import budgets
from hive.costs.forecast import Forecast, planned
from hive.costs.money import dollars
from hive.settings import host_name
from hive.staging import total_bytes

if TYPE_CHECKING:
    from hive.client.session import Session


def check_budget(
    session: "Session", requests: Sequence[Request], budget_usd: float | None, warn: Callable[[str], None]
) -> None:
    """Refuse requests of one task that will cost more than they may; what nobody can predict is let through and said.

    Raises
    ------
    BudgetError
        They will cost more than their budget, or than is left of the day's or the month's.
    UnreachableError
        The broker does not answer.
    """
    if budget_usd is None and not budgets.has_limit(session.settings):
        return
    found, why = _forecast(session, requests)
    usd = found.usd if found is not None else None
    if usd is None and budget_usd is not None:
        words = why or "the workers do not say what they cost (HIVE_PRICE_USD_PER_H)"
        warn(f"It is not known what this will cost: {words}. The budget of {dollars(budget_usd)} is not checked.")
    budgets.check(session.settings, usd, budget_usd)


def _forecast(session: "Session", requests: Sequence[Request]) -> tuple[Forecast | None, str]:
    """What requests will cost, or why that cannot be said."""
    sizes: list[int] = []
    for request in requests:
        found = [size_bytes(sources) for sources in request.sources.values()]
        if None in found:
            return None, "how large a reference or a URL is, is not known here"
        sizes.append(sum(one for one in found if one is not None))
    task, queue = requests[0].task.wire_name, requests[0].queue
    with reachable(session.settings):
        forecast = planned(session.broker, session.registry.workers(), task, queue, sizes, host_name())
    return forecast, "" if forecast is not None else f"no job of {task} has succeeded yet"


def size_bytes(sources: Sequence[Source]) -> int | None:
    """How much is read from what was named; None where one is no local file."""
    paths = [one for one in sources if isinstance(one, Path)]
    return total_bytes(paths) if len(paths) == len(sources) else None
