"""
The five steps of one decision, on one request whose program, facts and rows are at hand.

Verdicts join as deny > modify > warn > allow, so a deny rule added anywhere never opens anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enforcer import events
from enforcer.engine import edits
from enforcer.engine.admission import check_limits
from enforcer.engine.denials import DenialError
from enforcer.engine.ruling import Ruling
from enforcer.errors import RequestError
from enforcer.events.edits import apply_edits

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer import detect
    from enforcer.engine import limits
    from enforcer.policy import Match, TenantProgram
    from enforcer.state import Rows

DEFAULT_DENY: Final = "no rule matched, and the tenant denies by default"


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
        program: Of the request's tenant.
        request: As it came.
        facts: Of the request.
        plan: Limits and their rows, from the request as it came.
        rows: As they were before this request.
        now_us: Event time.
        facts_of: Facts of an edited request.

    Raises: DenialError, when the request lacks what its tenant requires.
    """
    request, facts = _completed(program, request, facts, facts_of)
    ruling = Ruling(verdict="allow")

    # 1. Rules, on the request as it came.
    evaluation = program.evaluate(request, facts, now_us=now_us)
    ruling.errors = [
        events.RuleError(e.policy, e.rule, e.code, e.message) for e in evaluation.errors
    ]
    ruling.errors += plan.errors
    ruling.shadow = [_reason(match) for match in evaluation.shadow]
    by_verdict: dict[str, list[Match]] = {"deny": [], "modify": [], "warn": [], "allow": []}
    for match in evaluation.matches:
        by_verdict[match.verdict].append(match)
    denials = [_reason(m) for m in by_verdict["deny"]] + [*plan.failed, *plan.missing]

    # 2 and 3. Edits, and the deny rules that read what they edit.
    modifies = by_verdict["modify"]
    merged: edits.Merged | None = None
    if modifies and not denials:
        merged = _merge(request, modifies, denials)
    if merged is not None and merged.operations:
        request, facts = merged.edited, facts_of(merged.edited)
        again = program.recheck(request, facts, merged.paths, now_us=now_us)
        denials += [_reason(match) for match in again]

    # 4 and 5. Tokens and cost of the edited request, and the limits.
    check = check_limits(program, facts, plan, rows, now_us, model=request.llm.model)
    denials += [r for r in check.reasons if r.verdict == "deny"]
    ruling.take(check, facts.counted())
    ruling.warnings = [_reason(m) for m in by_verdict["warn"]]
    ruling.warnings += [r for r in check.reasons if r.verdict == "warn"]
    kept = [m for i, m in enumerate(modifies) if merged is not None and i in merged.rules]
    allowed = by_verdict["allow"]
    if not (denials or kept or ruling.warnings or allowed) and (
        program.settings.default_verdict == "deny"
    ):
        denials = [events.Reason("", "", "deny", "default_deny", DEFAULT_DENY)]

    # The verdicts join: deny > modify > warn > allow.
    if denials:
        ruling.verdict, ruling.reasons = "deny", denials
        ruling.views = check.views_before
        return ruling
    if kept:
        assert merged is not None
        ruling.verdict, ruling.reasons = "modify", [_reason(m) for m in kept]
        ruling.edits = merged.operations
    elif ruling.warnings:
        ruling.verdict, ruling.reasons = "warn", list(ruling.warnings)
    else:
        ruling.reasons = [_reason(m) for m in allowed]
    ruling.views, ruling.effects = check.views_after, check.booking
    return ruling


def _merge(
    request: events.Request, modifies: list[Match], denials: list[events.Reason]
) -> edits.Merged | None:
    """The merged edits; None, and one more denial, when one cannot be applied or a text cannot be read."""
    try:
        return edits.merge(request, modifies)
    except RequestError as error:
        code = error.code if error.code == "edit_failed" else "evaluation_error"
        first = modifies[0]
        denials.append(events.Reason(first.policy, first.rule, "deny", code, error.message))
        return None


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


def _reason(match: Match) -> events.Reason:
    return events.Reason(match.policy, match.rule, match.verdict, match.code, match.reason)
