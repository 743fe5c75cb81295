"""
Which rows say no more than their absence would, and may be deleted.

Rows of budgets and rate limits go with a tombstone in ``state``. Those of calls go without one: in
``calls`` the broker deletes by age, and a row that a restore brings back carries its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.events import BudgetRow, CallRow, LeaseRow, LentRow, RateRow, WaitingUsageRow
from enforcer.state import buckets
from enforcer.state.budgets import KEPT_US

if TYPE_CHECKING:
    from enforcer.state.rows import Row


def is_spent(row: Row, now_us: int) -> bool:
    """
    Whether a row may be deleted at *now_us*.

    * budget: 32 days after its window closed, if no call holds a part of it; a total stays for
      ever;
    * slices held and lent: 32 days after the window closed; of a total never;
    * rate limit: its bucket is full;
    * call: past its end, if it does not still hold a reservation that has to expire first;
    * waiting usage: past its end, and its reports are settled or charged;
    * position: never.
    """
    if isinstance(row, CallRow):
        return row.end_us <= now_us and not (row.status == "open" and row.budgets)
    if isinstance(row, RateRow):
        return buckets.is_full(row, now_us=now_us)
    if isinstance(row, BudgetRow):
        closed = 0 < row.window_end_us <= now_us - KEPT_US
        return closed and row.reserved_usd_nano == 0
    if isinstance(row, (LeaseRow, LentRow)):
        return 0 < row.window_end_us <= now_us - KEPT_US
    return isinstance(row, WaitingUsageRow) and row.end_us <= now_us and not row.reports
