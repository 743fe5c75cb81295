"""How a request's limits stood before it: what ``budget("id")`` and ``rate("id")`` of its policies read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enforcer import state

if TYPE_CHECKING:
    from enforcer.engine import limits
    from enforcer.policy import BudgetLimit, RateLimit
    from enforcer.state import Rows

_NANO: Final = 1_000_000_000


class Standing:
    """The rows of a plan, read when a rule asks. Rates by what could be taken at *now_us*."""

    __slots__ = ("_now_us", "_plan", "_rows")

    def __init__(self, plan: limits.Plan, rows: Rows, now_us: int) -> None:
        self._plan = plan
        self._rows = rows
        self._now_us = now_us

    def amount(self, kind: str, limit: tuple[str, str, str], amount: str) -> float | None:
        """An amount of a limit, in USD or units; None where it does not apply to the request."""
        plans = [self._plan] if self._plan.shadow is None else [self._plan, self._plan.shadow]
        for plan in plans:
            if kind == "budget":
                for budget in plan.budgets:
                    if _is(budget.limit, limit):
                        return self._budget(budget, amount)
            else:
                for rate in plan.rates:
                    if _is(rate.limit, limit):
                        row = self._rows.get(rate.row)
                        return state.available(row, rate.quota, now_us=self._now_us)  # type: ignore[arg-type]
        return None

    def _budget(self, planned: limits.PlannedBudget, amount: str) -> float:
        row = self._rows.get(planned.row)
        limit_nano = planned.limit_usd_nano
        if amount == "limit_usd":
            return limit_nano / _NANO
        if amount == "remaining_usd":
            return state.remaining_usd_nano(row, limit_nano) / _NANO  # type: ignore[arg-type]
        if row is None:
            return 0.0
        nano: int = row.spent_usd_nano if amount == "spent_usd" else row.reserved_usd_nano  # type: ignore[union-attr]
        return nano / _NANO


def _is(limit: BudgetLimit | RateLimit, asked: tuple[str, str, str]) -> bool:
    return (limit.code.scope, limit.policy, limit.id) == asked
