"""
Shadow policies: what they would have said of the same request, beside the verdict and never in it.

They are read on the same event, under the same facts, after the verdict is known. Their limits count in rows of
their own keys, so that trying a budget out neither spends nor loosens one in force; and they are booked only if
neither the verdict nor the shadow is a deny, for a call that was refused, or would have been, spends nothing there.

Nothing here can change a verdict: what raises is listed among the decision's errors, and what makes a decision too
large to tell is left out of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enforcer import events
from enforcer.engine import edits, limits
from enforcer.engine.admission import Check
from enforcer.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.engine.limits import Plan
    from enforcer.engine.ruling import Ruling
    from enforcer.engine.verdict import Asked
    from enforcer.policy import Match
    from enforcer.state import Rows

TOLD_MAX: Final = 16
"""Of a decision's shadow reasons, as of its reasons."""


def rule_in_shadow(
    ruling: Ruling,
    asked: Asked,
    matches: Sequence[Match],
    plan: Plan | None,
    *,
    check: Check,
    rows: Rows,
    now_us: int,
) -> None:
    """
    Add to *ruling* what the shadow policies say, and what they book.

    Args:
        ruling: The verdict, joined.
        asked: The request.
        matches: Of shadow rules, in canonical order.
        plan: Shadow limits and their rows; None where none applies.
        check: What the limits in force said: tokens and cost of the request as it would be sent.
        rows: As they were before this request.
        now_us: Event time.
    """
    try:
        reasons, book = _ruled(ruling, asked, matches, plan, check=check, rows=rows, now_us=now_us)
    except AgentError:
        raise  # The rows are at fault: no policy is.
    except Exception as error:  # noqa: BLE001 — what is tried out must not refuse anybody
        message = f"the shadow policies could not be evaluated ({type(error).__name__})"
        ruling.errors.append(events.RuleError("", "", "shadow_error", message))
        return
    ruling.shadow = reasons[:TOLD_MAX]
    if book is not None:
        live = ruling.effects
        ruling.effects = lambda expires_us: [*live(expires_us), *book.booking(expires_us)]


def _ruled(
    ruling: Ruling,
    asked: Asked,
    matches: Sequence[Match],
    plan: Plan | None,
    *,
    check: Check,
    rows: Rows,
    now_us: int,
) -> tuple[list[events.Reason], Check | None]:
    """The reasons, strictest first, and what books the request; None where nothing is to be booked."""
    by_verdict: dict[str, list[Match]] = {"deny": [], "modify": [], "warn": [], "allow": []}
    for match in matches:
        by_verdict[match.verdict].append(match)
    denials = [_reason(match) for match in by_verdict["deny"]]
    warnings = [_reason(match) for match in by_verdict["warn"]]
    book: Check | None = None
    if plan is not None:
        denials += [*plan.failed, *plan.missing]
        if not denials and ruling.verdict != "deny":
            book = _checked(plan, check, rows, now_us, model=asked.request.llm.model)
            denials += [reason for reason in book.reasons if reason.verdict == "deny"]
            warnings += [reason for reason in book.reasons if reason.verdict == "warn"]
    modified: list[events.Reason] = []
    if (
        book is not None and not denials
    ):  # What would cap or downgrade is told; nothing is tried out on it.
        modified = [reason for reason in book.reasons if reason.verdict == "modify"]
    if by_verdict["modify"] and not denials:
        modified += _modified(asked, by_verdict["modify"], denials)
    allowed = [_reason(match) for match in by_verdict["allow"]]
    return [*denials, *modified, *warnings, *allowed], None if denials else book


def _checked(plan: Plan, live: Check, rows: Rows, now_us: int, *, model: str) -> Check:
    """The shadow limits, at the tokens and the cost that the limits in force have found."""
    check = Check()
    if plan.rates:
        check.reasons, check.taken, _ = limits.check_rates(
            plan.rates, rows, tokens=live.tokens, now_us=now_us
        )
    if plan.budgets and live.cost_usd_nano is None:
        check.reasons.append(limits.unpriced(plan.budgets[0].limit, model))
    elif plan.budgets:
        reasons, check.reserved = limits.check_budgets(
            plan.budgets, rows, cost_usd_nano=live.cost_usd_nano or 0
        )
        check.reasons += reasons
    return check


def _modified(
    asked: Asked, modifies: list[Match], denials: list[events.Reason]
) -> list[events.Reason]:
    """The modify rules whose edits would change something; an edit that cannot be applied denies."""
    try:
        merged = edits.merge(asked.request, modifies, completed=asked.completed)
    except edits.EditFailedError as error:
        failed = modifies[error.index]
        denials.append(events.Reason(failed.policy, failed.rule, "deny", error.code, error.message))
        return []
    return [_reason(match) for at, match in enumerate(modifies) if at in merged.rules]


def _reason(match: Match) -> events.Reason:
    return events.Reason(match.policy, match.rule, match.verdict, match.code, match.reason)
