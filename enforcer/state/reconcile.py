"""
Reservations that no call holds any more.

The topic ``calls`` deletes rows by age. While a partition is silent nothing expires, and an open
call that is older than the topic's retention is gone when a new owner restores the rows from there:
its budgets would keep its reservation for ever. What a budget holds is the sum of what open calls
hold of it, so that the rest can be found and expired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.events import BudgetRow, CallRow, Effect
from enforcer.state.rows import parse_budget_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from enforcer.state.rows import Row


def leaked(rows: Iterable[tuple[str, Row]]) -> tuple[Effect, ...]:
    """
    Find what budgets hold for calls that are no longer there.

    Args:
        rows: All rows of a partition, in any order.

    Returns: A release and a charge for each budget that leaks, in order of the keys. Charged, not
        released: whether the lost call would have been released is not known, and a budget fails
        closed.
    """
    budgets: dict[str, BudgetRow] = {}
    held: dict[str, int] = {}
    for key, row in rows:
        if isinstance(row, BudgetRow) and row.reserved_usd_nano:
            budgets[key] = row
        elif isinstance(row, CallRow) and row.status == "open":
            for allocation in row.budgets:
                left = max(allocation.amount - row.charged_usd_nano, 0)
                held[allocation.row] = held.get(allocation.row, 0) + left
    effects: list[Effect] = []
    for key in sorted(budgets):
        leak = budgets[key].reserved_usd_nano - held.get(key, 0)
        if leak > 0:
            effects.append(Effect("release", key, leak))
            effects.append(Effect("charge", key, leak, 0, budgets[key].window_end_us))
    return tuple(effects)


def by_account(effects: Iterable[Effect]) -> Iterator[tuple[str, tuple[Effect, ...]]]:
    """Effects on budgets, apart by the account whose they are."""
    found: dict[str, list[Effect]] = {}
    for effect in effects:
        found.setdefault(parse_budget_key(effect.row).account, []).append(effect)
    for account, each in found.items():
        yield account, tuple(each)
