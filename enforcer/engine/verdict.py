"""
The five steps of one decision, on one request whose program, facts and rows are at hand.

Verdicts join as deny > modify > warn > allow, so a deny rule added anywhere never opens anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer import events
from enforcer.engine import edits
from enforcer.engine.adjusting import adjusted
from enforcer.engine.admission import Check, check_limits
from enforcer.engine.ruling import REASONS_MAX, Ruling
from enforcer.engine.shadow import rule_in_shadow
from enforcer.engine.standing import Standing
from enforcer.policy.model import EVALUATION_ERROR

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer import detect
    from enforcer.engine import limits
    from enforcer.policy import Match, TenantProgram
    from enforcer.state import Rows

WAIT_HELPS: Final = frozenset({"rate_limited", "lease_pending"})
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
    standing = Standing(plan, rows, now_us)
    evaluation = program.evaluate(asked.completed, asked.facts, now_us=now_us, limits=standing)
    uses = [*evaluation.exempt]
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
        denials += _recheck(
            program, merged, ruling, now_us, asked=asked, standing=standing, uses=uses
        )
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
    fitted = [r for r in check.reasons if r.verdict == "modify"]
    if fitted and not denials:
        # An exceeded limit caps or downgrades: once, and steps 3 and 4 once more.
        fit = adjusted(program, asked, plan, rows, merged, now_us=now_us)
        check, facts = fit.check, fit.facts
        if fit.merged.operations:
            denials += _recheck(
                program,
                fit.merged,
                ruling,
                now_us,
                asked=asked,
                standing=standing,
                uses=uses,
            )
            merged = edits.joined(merged, fit.merged)
        denials += [r for r in check.reasons if r.verdict == "deny"]
    counted = asked.facts.counted()
    ruling.take(check, counted if facts is asked.facts else joined_facts(counted, facts.counted()))
    ruling.warnings = [_reason(m) for m in by_verdict["warn"]]
    ruling.warnings += [r for r in check.reasons if r.verdict == "warn"]
    if merged is not None and (kept or fitted) and not denials:
        ruling.edits = merged.operations
    modified = [*map(_reason, kept), *fitted]
    _join(ruling, check, denials, modified, allowed=by_verdict["allow"])
    if uses:
        _tell_uses(ruling, uses)
    if evaluation.shadow or plan.shadow is not None:
        rule_in_shadow(
            ruling, asked, evaluation.shadow, plan.shadow, check=check, rows=rows, now_us=now_us
        )
    return ruling


def _join(
    ruling: Ruling,
    check: Check,
    denials: list[events.Reason],
    modified: list[events.Reason],
    *,
    allowed: list[Match],
) -> None:
    """The verdicts join: deny > modify > warn > allow."""
    if denials:
        ruling.verdict, ruling.reasons = "deny", denials
        ruling.views = check.views_before
        if any(reason.code not in WAIT_HELPS for reason in denials):
            ruling.retry_after_ms = None  # Waiting alone would not help.
        return
    if modified:
        ruling.verdict, ruling.reasons = "modify", modified
    elif ruling.warnings:
        ruling.verdict, ruling.reasons = "warn", list(ruling.warnings)
    else:
        ruling.reasons = [_reason(m) for m in allowed]
    ruling.views, ruling.effects = check.views_after, check.booking


def joined_facts(before: events.Facts, after: events.Facts) -> events.Facts:
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
    program: TenantProgram,
    merged: edits.Merged,
    ruling: Ruling,
    now_us: int,
    *,
    asked: Asked,
    standing: Standing,
    uses: list[Match],
) -> list[events.Reason]:
    """The deny rules that read what was edited, on the edited request; what errs is listed."""
    facts = asked.facts_of(merged.edited)
    again = program.recheck(merged.edited, facts, merged.paths, now_us=now_us, limits=standing)
    uses += [match for match in again if match.verdict == "exempt"]
    again = [match for match in again if match.verdict != "exempt"]
    ruling.errors += [
        events.RuleError(m.policy, m.rule, m.code, m.reason)
        for m in again
        if m.code == EVALUATION_ERROR
    ]
    return [_reason(match) for match in again]


def _tell_uses(ruling: Ruling, uses: list[Match]) -> None:
    """Each use of an exception stands in the reasons, also where there are more reasons than are told."""
    told = [*{(use.policy, use.rule, use.reason): _reason(use) for use in uses}.values()]
    told = told[: REASONS_MAX - 1]
    at = min(len(ruling.reasons), REASONS_MAX - len(told))
    ruling.reasons = [*ruling.reasons[:at], *told, *ruling.reasons[at:]]


def _reason(match: Match) -> events.Reason:
    verdict = "allow" if match.verdict == "exempt" else match.verdict
    return events.Reason(match.policy, match.rule, verdict, match.code, match.reason)
