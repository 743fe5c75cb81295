"""Calling the policies that a request can concern, in canonical order."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from enforcer.events import Request
    from enforcer.policy.model import FactsView, LimitsView, Match, PolicyCode, RuleErrorInfo

Arguments: TypeAlias = "tuple[Request, FactsView, int | None, LimitsView | None]"


def run_all(
    candidates: tuple[PolicyCode, ...],
    arguments: Arguments,
    hits: list[Match],
    errors: list[RuleErrorInfo],
) -> None:
    """Call policies in canonical order; once a deny matched, only those that can deny."""
    request, facts, now_us, limits = arguments
    for at, policy in enumerate(candidates):
        if policy.run(request, facts, now_us, limits, False, hits, errors):
            rest = [each for each in candidates[at + 1 :] if each.has_deny]
            if rest:
                _run_denies(rest, arguments, hits, errors)
            return


def _run_denies(
    rest: list[PolicyCode],
    arguments: Arguments,
    hits: list[Match],
    errors: list[RuleErrorInfo],
) -> None:
    """The deny rules of *rest*, cheap policies first; what they find, in canonical order."""
    request, facts, now_us, limits = arguments
    found: list[list[Match]] = [[] for _ in rest]
    erred: list[list[RuleErrorInfo]] = [[] for _ in rest]
    for at in sorted(range(len(rest)), key=lambda each: rest[each].deny_cost):
        rest[at].run(request, facts, now_us, limits, True, found[at], erred[at])
    for each in found:
        hits.extend(each)
    for errs in erred:
        errors.extend(errs)
