"""Budgets: what one command, a day, or a month may cost."""

from datetime import UTC, date, datetime

from hive.costs.money import dollars
from hive.errors import BudgetError
from hive.settings import Settings
from hive.store.accounts import spent_usd
from hive.store.connection import connect, reachable


def check(settings: Settings, planned_usd: float | None = None, budget_usd: float | None = None) -> None:
    """Refuse what would cost too much. Redis is read only if there is a limit of the day or the month.

    Parameters
    ----------
    settings : has the limits of the day and the month
    planned_usd : what the command will cost; None if unknown: then it is refused only if a limit is reached
    budget_usd : what this command may cost

    Raises
    ------
    BudgetError
        A limit is reached or would be passed.
    UnreachableError
        The broker does not answer.
    """
    if budget_usd is not None and planned_usd is not None and planned_usd > budget_usd:
        raise BudgetError(
            f"It would cost about {dollars(planned_usd)}, more than its budget of {dollars(budget_usd)}. "
            "Raise it with --budget, or send less."
        )
    today = datetime.now(UTC).date()
    for word, limit, since in (
        ("day", settings.budget_usd_per_day, today),
        ("month", settings.budget_usd_per_month, today.replace(day=1)),
    ):
        if limit is not None:
            _check_limit(word, limit, _spent(settings, since, today), planned_usd or 0.0)


def has_limit(settings: Settings) -> bool:
    """Whether there is a limit of the day or of the month."""
    return settings.budget_usd_per_day is not None or settings.budget_usd_per_month is not None


def _spent(settings: Settings, since: date, today: date) -> float:
    with reachable(settings):
        return spent_usd(connect(settings), since, today)


def _check_limit(word: str, limit: float, spent: float, planned: float) -> None:
    raise_it = f"Raise it: HIVE_BUDGET_USD_PER_{word.upper()}. See what was spent: hive cost report."
    if spent >= limit:
        raise BudgetError(
            f"The budget of the {word}, {dollars(limit)}, is reached: {dollars(spent)} has been spent. {raise_it}"
        )
    if spent + planned > limit:
        raise BudgetError(
            f"It would cost about {dollars(planned)}, and {dollars(spent)} of the {word}'s budget of {dollars(limit)} "
            f"has been spent. {raise_it}"
        )
