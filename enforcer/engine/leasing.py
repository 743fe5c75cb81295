"""
Budgets of a whole tenant, where its account is one of several: which they are, their rows, and what a holder may spend.

The rules of lending stand in ``enforcer.state.leases``; here is what follows from policies and from a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from enforcer import events, state
from enforcer.engine.limits import policy_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.engine.limits import Plan
    from enforcer.policy import BudgetLimit, TenantProgram
    from enforcer.state import Rows


class Want(NamedTuple):
    """
    A tenant's budget that a request has read.

    Attributes:
        row: Its budget row at this partition.
        tenant: Whose it is.
        need_usd_nano: What the request would have reserved, if its slice turned it; else 0.
        window_end_us: Of the row, 0 for total.
        cost_usd_nano: What the request reserves, or would.
    """

    row: str
    tenant: str
    need_usd_nano: int
    window_end_us: int
    cost_usd_nano: int = 0


def with_slices(plan: Plan, rows: Rows) -> Plan:
    """The plan with the slice of each tenant's budget in the place of its limit."""
    budgets = []
    for budget in plan.budgets:
        if not budget.is_leased:
            budgets.append(budget)
            continue
        lease = rows.get(state.lease_key(budget.row))
        assert lease is None or isinstance(lease, events.LeaseRow), budget.row
        is_pending = lease is None or not lease.is_short
        budgets.append(
            budget._replace(limit_usd_nano=state.slice_usd_nano(lease), is_pending=is_pending)
        )
    shadow = None if plan.shadow is None else with_slices(plan.shadow, rows)
    return plan._replace(budgets=tuple(budgets), shadow=shadow)


def wants(plan: Plan, decision: events.Decision, rows: Rows, cost_usd_nano: int) -> list[Want]:
    """What a decision tells about the slices it has read; *rows* are as it left them."""
    is_denied = decision.verdict == "deny"
    found = []
    for budget in (*plan.budgets, *(plan.shadow.budgets if plan.shadow is not None else ())):
        if budget.is_leased:
            row = rows.get(budget.row)
            is_turned = is_denied and not state.admits(row, budget.limit_usd_nano, cost_usd_nano)  # type: ignore[arg-type]
            need = cost_usd_nano if is_turned else 0
            found.append(Want(budget.row, decision.tenant, need, budget.until_us, cost_usd_nano))
    return found


def spanning(program: TenantProgram) -> Iterator[BudgetLimit]:
    """The budgets that the tenant's partitions share; none where it has one account."""
    if "team.id" in program.settings.account_by and not program.invalid:
        for budget in (*program.budgets, *program.shadow_budgets):
            if budget.span == "tenant":
                yield budget


def limit_of(program: TenantProgram, row: str) -> BudgetLimit | None:
    """The budget that a row belongs to, if it is in force."""
    name = state.parse_budget_key(row)
    account = events.account_of(program.tenant, None)
    for budget in spanning(program):
        if row == state.budget_key(account, policy_name(budget), budget.id, name.key, name.window):
            return budget
    return None


def limit_usd_nano(program: TenantProgram, row: str) -> int:
    """What a row's budget may spend; 0 where no such budget is in force."""
    budget = limit_of(program, row)
    return 0 if budget is None else budget.table.default


def current_rows(program: TenantProgram, now_us: int) -> Iterator[tuple[str, int]]:
    """The rows of the budgets without a key as of *now_us*, and the ends of their windows: nobody need ask for them first."""
    account = events.account_of(program.tenant, None)
    for budget in spanning(program):
        if not budget.paths:
            window = state.window(budget.per, program.settings.time_zone, now_us)
            row = state.budget_key(account, policy_name(budget), budget.id, "", window.name)
            yield row, window.end_us


def following_row(program: TenantProgram, row: str, window_end_us: int) -> tuple[str, int] | None:
    """The row of the window after *row*'s, and that window's end."""
    budget = limit_of(program, row)
    if budget is None or not window_end_us:
        return None
    window = state.window(budget.per, program.settings.time_zone, window_end_us)
    name = state.parse_budget_key(row)
    account = events.account_of(program.tenant, None)
    key = state.budget_key(account, policy_name(budget), budget.id, name.key, window.name)
    return key, window.end_us
