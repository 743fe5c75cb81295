"""
Step 5 of a decision, where an exceeded limit says `cap` or `downgrade`: the call is made to fit, once.

A downgrade comes first, for it changes the price; then output is capped to the most that every limit with `cap`
has left. The two are one edit of the request as it would be sent. After it steps 3 and 4 run once more, and what
is exceeded still denies: no call is edited twice, and none passes that does not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from enforcer import events, state
from enforcer.engine import edits
from enforcer.engine.admission import Check, check_limits, rates_of
from enforcer.policy import EditSpec, Match

if TYPE_CHECKING:
    from enforcer import detect
    from enforcer.engine.limits import Plan, PlannedBudget, PlannedRate
    from enforcer.engine.verdict import Asked
    from enforcer.policy import TenantProgram
    from enforcer.state import Rows


class Adjusted(NamedTuple):
    """
    The call as it fits, or as it does not.

    Attributes:
        merged: The edit on top of those of rules.
        facts: Of the request as it would now be sent.
        check: What the limits say of it; what is still exceeded denies.
    """

    merged: edits.Merged
    facts: detect.RequestFacts
    check: Check


def adjusted(
    program: TenantProgram,
    asked: Asked,
    plan: Plan,
    rows: Rows,
    merged: edits.Merged | None,
    *,
    now_us: int,
) -> Adjusted:
    """
    Make the call fit the limits of *plan* that cap or downgrade.

    Args:
        program: Of the request's tenant.
        asked: The request.
        plan: Limits and their rows.
        rows: As they were before this request.
        merged: The edits of rules, if there are any.
        now_us: Event time.
    """
    sent, completed = asked.request, asked.completed
    if merged is not None:
        sent, completed = merged.sent, merged.edited
    specs: list[EditSpec] = []
    facts = asked.facts_of(sent)
    model = _downgrade(plan, rows, _cost(program, facts))
    if model is not None:
        provider, _, name = model.rpartition("/")
        specs.append(EditSpec("set", "llm.model", name))
        if provider:
            specs.append(EditSpec("set", "llm.provider", provider))
        facts = asked.facts_of(_edited(sent, completed, specs).sent)
    tokens = _cap(program, plan, rows, facts, n=max(sent.llm.n, 1), now_us=now_us)
    if tokens is not None:
        specs.append(EditSpec("cap", "llm.max_tokens", tokens))
    fitting = _edited(sent, completed, specs)
    facts = asked.facts_of(fitting.sent)
    check = check_limits(program, facts, plan, rows, now_us, model=fitting.sent.llm.model)
    for reason in check.reasons:
        if reason.verdict == "modify":
            reason.verdict = "deny"
    return Adjusted(fitting, facts, check)


def _edited(sent: events.Request, completed: events.Request, specs: list[EditSpec]) -> edits.Merged:
    match = Match("", "", "modify", "", "", 0, tuple(specs))
    return edits.merge(sent, [match], completed=completed)


def _cost(program: TenantProgram, facts: detect.RequestFacts) -> int | None:
    rates = rates_of(program, facts)
    if rates is None:
        return None
    return rates.cost_usd_nano(
        input_tokens=facts.input_tokens, output_tokens=facts.max_output_tokens
    )


def _downgrade(plan: Plan, rows: Rows, cost_usd_nano: int | None) -> str | None:
    """The model of the first exceeded budget that downgrades: the highest priority's."""
    for budget in plan.budgets:
        if budget.limit.downgrade_to and _exceeds(budget, rows, cost_usd_nano):
            return budget.limit.downgrade_to
    return None


def _exceeds(budget: PlannedBudget, rows: Rows, cost_usd_nano: int | None) -> bool:
    row = rows.get(budget.row)
    return cost_usd_nano is not None and not state.admits(
        row,  # type: ignore[arg-type]
        budget.limit_usd_nano,
        cost_usd_nano,
    )


def _cap(
    program: TenantProgram,
    plan: Plan,
    rows: Rows,
    facts: detect.RequestFacts,
    *,
    n: int,
    now_us: int,
) -> int | None:
    """The most output tokens an answer may have within every exceeded limit that caps; None: none helps."""
    most = facts.max_output_tokens // n
    cost, rates = _cost(program, facts), rates_of(program, facts)
    found: list[int] = []
    for budget in plan.budgets:
        if budget.limit.on_exceeded == "cap" and rates and _exceeds(budget, rows, cost):
            left = state.remaining_usd_nano(rows.get(budget.row), budget.limit_usd_nano)  # type: ignore[arg-type]
            found.append(_affordable(rates, facts.input_tokens, n, most, left))
    for rate in plan.rates:
        if rate.limit.on_exceeded == "cap":
            left = _tokens_left(rate, rows, now_us) - facts.input_tokens
            if left < facts.max_output_tokens:
                found.append(left // n)
    return min(found) if found and min(found) >= 1 else None


def _tokens_left(rate: PlannedRate, rows: Rows, now_us: int) -> int:
    return state.available(rows.get(rate.row), rate.quota, now_us=now_us)  # type: ignore[arg-type]


def _affordable(
    rates: detect.pricing.Rates, input_tokens: int, n: int, most: int, left_usd_nano: int
) -> int:
    """The most tokens for each of *n* answers that cost no more than what is left; 0: not one."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        cost = rates.cost_usd_nano(input_tokens=input_tokens, output_tokens=middle * n)
        low, high = (middle, high) if cost <= left_usd_nano else (low, middle - 1)
    return low
