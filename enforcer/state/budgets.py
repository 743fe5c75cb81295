"""
Budgets: what is left of one, and whether a reservation fits.

The law: at every admission settled + reserved + the new reservation is within the limit. A
settlement may go past it (an overrun), and then nothing more is admitted in the window, not even at
no cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from enforcer.events import BudgetRow

DAY_US = 86_400_000_000
KEPT_US = 32 * DAY_US  # How long the row of a closed window stays for late usage.


def remaining_usd_nano(row: BudgetRow | None, limit_usd_nano: int) -> int:
    """What may still be reserved; below 0 after an overrun or when the limit was lowered."""
    if row is None:
        return limit_usd_nano
    return limit_usd_nano - row.spent_usd_nano - row.reserved_usd_nano


def admits(row: BudgetRow | None, limit_usd_nano: int, amount_usd_nano: int) -> bool:
    """Whether a reservation of this amount, 0 or more, fits."""
    assert amount_usd_nano >= 0, amount_usd_nano
    if row is None:
        return amount_usd_nano <= limit_usd_nano
    return row.spent_usd_nano + row.reserved_usd_nano + amount_usd_nano <= limit_usd_nano
