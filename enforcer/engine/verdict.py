"""
The five steps of one decision, on one request whose program, facts and rows are at hand.

Verdicts join as deny > modify > warn > allow, so a deny rule added anywhere never opens anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer import events
from enforcer.engine import edits
from enforcer.engine.admission import Check, check_limits
from enforcer.engine.ruling import Ruling
from enforcer.engine.shadow import rule_in_shadow
from enforcer.policy.model import EVALUATION_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer import detect
    from enforcer.engine import limits
    from enforcer.policy import Match, TenantProgram
    from enforcer.state import Rows

DEFAULT_DENY: Final = "no rule matched, and the tenant denies by default"


class Asked(NamedTuple):
    """
    One request, as rules read it.

    Attributes:
        request: As it came: what the gateway holds and edits.
        completed: The same with the tenant's defaults; the same object where there are none.
        facts: Of the completed request.
        facts_of: Facts of an edited request.
        redaction: Which kinds redaction means by default, and its key.
    """

    request: events.Request
    completed: events.Request
    facts: detect.RequestFacts
    facts_of: Callable[[events.Request], detect.RequestFacts]
    redaction: edits.Redaction


def rule_on(
    program: TenantProgram, asked: Asked, plan: limits.Plan, rows: Rows, *, now_us: int
) -> Ruling:
    """
    Steps 1 to 5. Reads rows, writes none.

    Args:
        program: Of the request's tenant.
        asked: The request.
        plan: Limits and their rows, from the request as it came.
        rows: As they were before this request.
        now_us: Event time.
    """
    ruling = Ruling(verdict="allow")

    # 1. Rules, on the request as it came.
    evaluation = program.evaluate(asked.completed, asked.facts, now_us=now_us)
    ruling.errors = [
        events.RuleError(e.policy, e.rule, e.code, e.message) for e in evaluation.errors
    ]
    ruling.errors += plan.errors
    by_verdict: dict[str, list[Match]] = {"deny": [], "modify": [], "warn": [], "allow": []}
    for match in evaluation.matches:
        by_verdict[match.verdict].append(match)
    denials = [_reason(m) for m in by_verdict["deny"]] + [*plan.failed, *plan.missing]

    # 2 and 3. Edits, and the deny rules that read what they edit.
    modifies = by_verdict["modify"]
    merged: edits.Merged | None = None
    if modifies and not denials:
        merged = _merge(asked, modifies, denials)
    if merged is not None and merged.operations:
        denials += _recheck(program, merged, ruling, now_us, asked=asked)
    kept = [m for i, m in enumerate(modifies) if merged is not None and i in merged.rules]

    # The tenant's default stands where no rule matched; an exceeded limit is no rule.
    has_match = denials or kept or by_verdict["warn"] or by_verdict["allow"]
    if not has_match and program.settings.default_verdict == "deny":
        denials = [events.Reason("", "", "deny", "default_deny", DEFAULT_DENY)]

    # 4 and 5. Tokens and cost of the request as it would be sent, and the limits.
    sent = asked.request if merged is None else merged.sent
    facts = asked.facts if sent is asked.completed else asked.facts_of(sent)
    check = check_limits(program, facts, plan, rows, now_us, model=sent.llm.model)
    denials += [r for r in check.reasons if r.verdict == "deny"]
    counted = asked.facts.counted()
    ruling.take(check, counted if facts is asked.facts else _joined(counted, facts.counted()))
    ruling.warnings = [_reason(m) for m in by_verdict["warn"]]
    ruling.warnings += [r for r in check.reasons if r.verdict == "warn"]
    if merged is not None and kept and not denials:
        ruling.edits = merged.operations
    _join(ruling, check, denials, kept, allowed=by_verdict["allow"])
    if evaluation.shadow or plan.shadow is not None:
        rule_in_shadow(
            ruling, asked, evaluation.shadow, plan.shadow, check=check, rows=rows, now_us=now_us
        )
    return ruling


def _join(
    ruling: Ruling,
    check: Check,
    denials: list[events.Reason],
    kept: list[Match],
    *,
    allowed: list[Match],
) -> None:
    """The verdicts join: deny > modify > warn > allow."""
    if denials:
        ruling.verdict, ruling.reasons = "deny", denials
        ruling.views = check.views_before
        if any(reason.code != "rate_limited" for reason in denials):
            ruling.retry_after_ms = None  # Waiting alone would not help.
        return
    if kept:
        ruling.verdict, ruling.reasons = "modify", [_reason(m) for m in kept]
    elif ruling.warnings:
        ruling.verdict, ruling.reasons = "warn", list(ruling.warnings)
    else:
        ruling.reasons = [_reason(m) for m in allowed]
    ruling.views, ruling.effects = check.views_after, check.booking


def _joined(before: events.Facts, after: events.Facts) -> events.Facts:
    """The facts that rules saw, with the tokens and the cost of the request as it would be sent."""
    if after.input_tokens is not None:
        before.input_tokens = after.input_tokens
    before.estimated_cost_usd_nano = after.estimated_cost_usd_nano
    return before


def _merge(
    asked: Asked, modifies: list[Match], denials: list[events.Reason]
) -> edits.Merged | None:
    """The merged edits; None, and one more denial, when one cannot be applied or a text cannot be read."""
    try:
        return edits.merge(
            asked.request, modifies, completed=asked.completed, redaction=asked.redaction
        )
    except edits.EditFailedError as error:
        failed = modifies[error.index]
        denials.append(events.Reason(failed.policy, failed.rule, "deny", error.code, error.message))
        return None


def _recheck(
    program: TenantProgram, merged: edits.Merged, ruling: Ruling, now_us: int, *, asked: Asked
) -> list[events.Reason]:
    """The deny rules that read what was edited, on the edited request; what errs is listed."""
    facts = asked.facts_of(merged.edited)
    again = program.recheck(merged.edited, facts, merged.paths, now_us=now_us)
    ruling.errors += [
        events.RuleError(m.policy, m.rule, m.code, m.reason)
        for m in again
        if m.code == EVALUATION_ERROR
    ]
    return [_reason(match) for match in again]


def _reason(match: Match) -> events.Reason:
    return events.Reason(match.policy, match.rule, match.verdict, match.code, match.reason)
