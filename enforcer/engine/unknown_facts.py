"""
Step 1 where a fact cannot be known: a text larger than a scan may read.

The compiled function of a policy stops at such a fact, so its rules are asked one by one: those that read it
err, as the law of erring rules says, and all others count as ever. Slow, and rare.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from enforcer.detect import DetectError
from enforcer.policy.compiler import compile_guard
from enforcer.policy.model import EVALUATION_ERROR, Evaluation, RuleErrorInfo

if TYPE_CHECKING:
    from enforcer.events import Request
    from enforcer.policy import FactsView, TenantProgram
    from enforcer.policy.model import Guard, Match, PolicyCode, RuleCode


def evaluate_each(
    program: TenantProgram, request: Request, facts: FactsView, now_us: int
) -> Evaluation:
    """
    What ``TenantProgram.evaluate`` finds, rule by rule.

    An ``unless`` that reads the unknown fact counts as an erring ``match``: each rule of its policy has erred.
    """
    found = Evaluation()
    denied = False
    for policy in program.policies:
        hits = found.shadow if policy.shadow else found.matches
        denied_here = _run(
            policy, (request, facts, now_us), denied and not policy.shadow, hits, found
        )
        denied = denied or (denied_here and not policy.shadow)
    return found


def _run(
    policy: PolicyCode,
    arguments: tuple[Request, FactsView, int],
    denied: bool,  # noqa: FBT001 — as of a compiled function
    hits: list[Match],
    found: Evaluation,
) -> bool:
    """One policy. Returns whether a deny is among the matches now."""
    why = ""
    applies: bool | None = None
    try:
        applies = policy.guard(*arguments)
    except DetectError as error:
        why = error.message
    if applies is False:
        return denied
    for rule in policy.rules:
        if arguments[0].phase not in rule.phases or (denied and rule.verdict != "deny"):
            continue
        hit, message = (None, why or "match") if applies is None else _ask(rule, arguments)
        if hit is False:
            continue
        if hit is None:
            found.errors.append(RuleErrorInfo(policy.id, rule.id, EVALUATION_ERROR, message))
        match = rule.match if hit else rule.failure
        if match is not None:
            hits.append(match)
            denied = denied or match.verdict == "deny"
    return denied


def _ask(rule: RuleCode, arguments: tuple[Request, FactsView, int]) -> tuple[bool | None, str]:
    """Whether the rule's condition holds; None and why, where it errs."""
    try:
        return _condition(rule)(*arguments), "a value has a type that the condition cannot compare"
    except DetectError as error:
        return None, error.message


@lru_cache(maxsize=1_024)
def _condition(rule: RuleCode) -> Guard:
    return compile_guard(rule.condition, None)
