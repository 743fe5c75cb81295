"""
The five steps of one decision, on one request whose program, facts and rows are at hand.

Verdicts join as deny > modify > warn > allow, so a deny rule added anywhere never opens anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enforcer import detect, events
from enforcer.engine import edits, limits
from enforcer.engine.denials import DenialError
from enforcer.engine.ruling import Ruling
from enforcer.errors import RequestError
from enforcer.events.edits import apply_edits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from enforcer.policy import Match, TenantProgram
    from enforcer.state import Rows

JOIN: Final = {"allow": 0, "warn": 1, "modify": 2, "deny": 3}
"""The order of verdicts: the strictest of all that speak is the decision's."""


def rule_on(
    program: TenantProgram,
    request: events.Request,
    facts: detect.RequestFacts,
    plan: limits.Plan,
    rows: Rows,
    *,
    now_us: int,
    facts_of: Callable[[events.Request], detect.RequestFacts],
) -> Ruling:
    """
    Steps 1 to 5. Reads rows, writes none.

    Args:
        plan: Limits and their rows, from the request as it came.
        facts_of: Facts of an edited request.

    Raises: DenialError, when the request lacks what its tenant requires.
    """
    request, facts = _completed(program, request, facts, facts_of)
    ruling = Ruling(verdict="allow")
    said = False

    # 1. Rules, on the request as it came.
    evaluation = program.evaluate(request, facts, now_us=now_us)
    ruling.errors = [
        events.RuleError(e.policy, e.rule, e.code, e.message) for e in evaluation.errors
    ]
    ruling.errors += plan.errors
    ruling.shadow = [_reason(match) for match in evaluation.shadow]
    matches = evaluation.matches
    denies = [m for m in matches if m.verdict == "deny"]
    modifies = [m for m in matches if m.verdict == "modify"]
    reasons = [_reason(m) for m in denies] + [*plan.failed, *plan.missing]

    # 2 and 3. Edits, and the deny rules that read what they edit.
    merged: edits.Merged | None = None
    edited, edited_facts = request, facts
    if modifies and not reasons:
        try:
            merged = edits.merge(request, modifies)
        except (RequestError, ValueError) as error:
            code = (
                "edit_failed" if getattr(error, "code", "") == "edit_failed" else "evaluation_error"
            )
            what = error.message if isinstance(error, RequestError) else type(error).__name__
            reasons.append(events.Reason(modifies[0].policy, modifies[0].rule, "deny", code, what))
            merged = None
        else:
            if merged.operations:
                edited, edited_facts = merged.edited, facts_of(merged.edited)
                again = program.recheck(edited, edited_facts, merged.paths, now_us=now_us)
                reasons += [_reason(match) for match in again]

    # 4 and 5. Tokens and cost of the edited request, and the limits.
    check = _check_limits(program, edited_facts, plan, rows, now_us, model=edited.llm.model)
    reasons += [r for r in check.reasons if r.verdict == "deny"]
    warned = [_reason(m) for m in matches if m.verdict == "warn"]
    warned += [r for r in check.reasons if r.verdict == "warn"]

    _fill(ruling, check, edited_facts)
    if reasons:
        ruling.verdict, ruling.reasons = "deny", reasons
        ruling.warnings = warned
        ruling.views = check.views_before
        return ruling
    ruling.warnings = warned
    kept = [m for i, m in enumerate(modifies) if merged is not None and i in merged.rules]
    allowed = [m for m in matches if m.verdict == "allow"]
    said = bool(kept or warned or allowed)
    if kept:
        assert merged is not None
        ruling.verdict, ruling.reasons = "modify", [_reason(m) for m in kept]
        ruling.edits = merged.operations
    elif warned:
        ruling.verdict, ruling.reasons = "warn", list(warned)
    elif allowed:
        ruling.reasons = [_reason(m) for m in allowed]
    if not said and program.settings.default_verdict == "deny":
        message = "no rule matched, and the tenant denies by default"
        ruling.verdict = "deny"
        ruling.reasons = [events.Reason("", "", "deny", "default_deny", message)]
        ruling.views = check.views_before
        return ruling
    ruling.views = check.views_after
    ruling.effects = check.booking
    return ruling


def _completed(
    program: TenantProgram,
    request: events.Request,
    facts: detect.RequestFacts,
    facts_of: Callable[[events.Request], detect.RequestFacts],
) -> tuple[events.Request, detect.RequestFacts]:
    """The request with the tenant's defaults, after what the tenant requires was found in it."""
    settings = program.settings
    absent = [
        p for p in settings.required if edits.value_at(request, edits.segments(p)) is edits.ABSENT
    ]
    if absent:
        paths = ", ".join(p for p in absent)
        raise DenialError("invalid_request", f"the tenant requires {paths}")
    given = [
        events.Edit("add", edits.pointer(edits.segments(path)), edits.json_text(value))
        for path, value in settings.defaults.items()
        if edits.value_at(request, edits.segments(path)) is edits.ABSENT
    ]
    if not given:
        return request, facts
    completed = apply_edits(request, given)
    return completed, facts_of(completed)


class _Check:
    """What the limits say, and what the request would book if it passes."""

    __slots__ = (
        "booking",
        "cost",
        "input_cost",
        "reasons",
        "reserves",
        "retry_after_ms",
        "tokens",
        "views_after",
        "views_before",
    )

    def __init__(self) -> None:
        self.reasons: list[events.Reason] = []
        self.booking: Callable[[int], list[events.Effect]] = lambda _: []
        self.retry_after_ms: int | None = None
        self.views_before: list[events.BudgetView] = []
        self.views_after: list[events.BudgetView] = []
        self.cost: int | None = None
        self.input_cost = 0
        self.tokens = 0
        self.reserves = False


def _check_limits(
    program: TenantProgram,
    facts: detect.RequestFacts,
    plan: limits.Plan,
    rows: Rows,
    now_us: int,
    *,
    model: str,
) -> _Check:
    """Rate limits and budgets against the tokens and cost of the edited request."""
    check = _Check()
    try:
        input_tokens = facts.input_tokens
        check.cost, rates = _cost(program, facts)
    except detect.DetectError as error:
        # Too large to be counted: what cannot be priced cannot be admitted against a limit.
        if plan.budgets or plan.rates:
            check.reasons.append(events.Reason("", "", "deny", error.code, error.message))
        return check
    check.tokens = input_tokens + facts.max_output_tokens
    if rates is not None:
        check.input_cost = rates.cost_usd_nano(input_tokens=input_tokens)
    until_us_mark = 1  # Replaced by the reservation's expiry when the request is booked.
    taken: list[events.Effect] = []
    if plan.rates:
        reasons, taken, check.retry_after_ms = limits.check_rates(
            plan.rates, rows, tokens=check.tokens, now_us=now_us, estimate_until_us=until_us_mark
        )
        check.reasons += reasons
    reserved: list[events.Effect] = []
    if plan.budgets:
        if check.cost is None:
            check.reasons.append(_unknown_price(plan, model))
        else:
            check.reserves = True
            reasons, reserved = limits.check_budgets(plan.budgets, rows, cost_usd_nano=check.cost)
            check.reasons += reasons
        check.views_before = limits.views(plan.budgets, rows)
        if check.cost is not None:
            check.views_after = limits.with_reserved(check.views_before, check.cost)

    def booking(expires_us: int) -> list[events.Effect]:
        for effect in taken:
            if effect.until_us:
                effect.until_us = expires_us
        return [*reserved, *taken]

    check.booking = booking
    return check


def _cost(
    program: TenantProgram, facts: detect.RequestFacts
) -> tuple[int | None, detect.pricing.Rates | None]:
    """What the call may cost at most, by the price list or the tenant's ceiling, and the rates."""
    rates = facts.rates
    if rates is not None:
        return facts.estimated_cost_usd_nano, rates
    ceiling = limits.ceiling_rates(program.settings)
    if ceiling is None:
        return None, None
    return (
        ceiling.cost_usd_nano(
            input_tokens=facts.input_tokens, output_tokens=facts.max_output_tokens
        ),
        ceiling,
    )


def _unknown_price(plan: limits.Plan, model: str) -> events.Reason:
    first = plan.budgets[0].limit
    message = f"no price is known for `{model}`, so it cannot be held to a budget"
    return events.Reason(first.policy, first.id, "deny", "unknown_model", message)


def _fill(ruling: Ruling, check: _Check, facts: detect.RequestFacts) -> None:
    ruling.facts = facts.counted()
    if ruling.facts.estimated_cost_usd_nano is None:
        ruling.facts.estimated_cost_usd_nano = check.cost
    ruling.cost_usd_nano = check.cost
    ruling.input_usd_nano = check.input_cost
    ruling.tokens = check.tokens
    ruling.reserves = check.reserves
    ruling.retry_after_ms = check.retry_after_ms


def _reason(match: Match) -> events.Reason:
    return events.Reason(match.policy, match.rule, match.verdict, match.code, match.reason)


def join(verdicts: Sequence[str]) -> str:
    """The strictest of *verdicts*; of none, allow."""
    return max(verdicts, key=JOIN.__getitem__, default="allow")
