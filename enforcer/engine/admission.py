"""Steps 4 and 5 of a decision: what the edited request costs, and whether rate limits and budgets admit it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enforcer import events
from enforcer.engine import limits
from enforcer.state.usage import COST_USD_NANO_MAX, TOKENS_MAX

if TYPE_CHECKING:
    from enforcer import detect
    from enforcer.policy import TenantProgram
    from enforcer.state import Rows

LEASE_RETRY_MS: Final = 500
"""When a call that was turned for want of a slice may come again: two commits, and their way."""


class Check:
    """What the limits say of a request, and what it would book if it passes."""

    __slots__ = (
        "cost_usd_nano",
        "input_usd_nano",
        "reasons",
        "reserved",
        "reserves",
        "retry_after_ms",
        "taken",
        "tokens",
        "views_after",
        "views_before",
    )

    def __init__(self) -> None:
        self.reasons: list[events.Reason] = []
        self.reserved: list[events.Effect] = []
        self.taken: list[events.Effect] = []
        self.retry_after_ms: int | None = None
        self.views_before: list[events.BudgetView] = []
        self.views_after: list[events.BudgetView] = []
        self.cost_usd_nano: int | None = None
        self.input_usd_nano = 0
        self.tokens = 0
        self.reserves = False

    def booking(self, expires_us: int) -> list[events.Effect]:
        """The effects that book the request; units of token limits are held until *expires_us* or usage."""
        for effect in self.taken:
            if effect.until_us:
                effect.until_us = expires_us
        return [*self.reserved, *self.taken]


def check_limits(
    program: TenantProgram,
    facts: detect.RequestFacts,
    plan: limits.Plan,
    rows: Rows,
    now_us: int,
    *,
    model: str,
) -> Check:
    """
    Compare tokens and cost with every limit that applies.

    Args:
        program: For the tenant's ceiling of unknown models.
        facts: Of the edited request.
        plan: The limits and their rows.
        rows: As they were before this request.
        now_us: Event time.
        model: As the edited request names it, for messages.
    """
    check = Check()
    input_tokens = facts.input_tokens
    check.tokens = input_tokens + facts.max_output_tokens
    if check.tokens <= TOKENS_MAX:
        _price(check, program, facts, input_tokens)
    if check.tokens > TOKENS_MAX or (check.cost_usd_nano or 0) > COST_USD_NANO_MAX:
        # As with usage, what is absurd is not believed; and amounts would leave 64 bits.
        check.tokens, check.cost_usd_nano, check.input_usd_nano = 0, None, 0
        message = "the call may take more tokens or money than any call can"
        check.reasons.append(events.Reason("", "", "deny", "invalid_request", message))
        return check
    if plan.rates:
        reasons, check.taken, check.retry_after_ms = limits.check_rates(
            plan.rates, rows, tokens=check.tokens, now_us=now_us
        )
        check.reasons += reasons
    if plan.budgets:
        _check_budgets(check, plan, rows, model)
    return check


def _price(
    check: Check, program: TenantProgram, facts: detect.RequestFacts, input_tokens: int
) -> None:
    """What the call may cost at most, by the price list or the tenant's ceiling; None: nobody knows."""
    rates = rates_of(program, facts)
    if rates is None:
        return
    if rates is facts.rates:
        check.cost_usd_nano = facts.estimated_cost_usd_nano
    else:
        check.cost_usd_nano = rates.cost_usd_nano(
            input_tokens=input_tokens, output_tokens=facts.max_output_tokens
        )
    check.input_usd_nano = rates.cost_usd_nano(input_tokens=input_tokens)


def rates_of(program: TenantProgram, facts: detect.RequestFacts) -> detect.pricing.Rates | None:
    """The price of the request's model, else the tenant's ceiling; None where there is neither."""
    return facts.rates or limits.ceiling_rates(program.settings)


def _check_budgets(check: Check, plan: limits.Plan, rows: Rows, model: str) -> None:
    cost = check.cost_usd_nano
    check.views_before = limits.views(plan.budgets, rows)
    if cost is None:
        check.reasons.append(limits.unpriced(plan.budgets[0].limit, model))
        return
    check.reserves = True
    reasons, check.reserved = limits.check_budgets(plan.budgets, rows, cost_usd_nano=cost)
    check.reasons += reasons
    if any(r.code == "lease_pending" and r.verdict == "deny" for r in reasons):
        check.retry_after_ms = max(check.retry_after_ms or 0, LEASE_RETRY_MS)
    check.views_after = limits.with_reserved(check.views_before, cost)
