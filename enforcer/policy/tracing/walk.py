"""
The walk of a decision's first step, policy by policy in canonical order, as the compiled functions take it.

Every term is evaluated by its own compiled function (terms.py); the walk adds what the compiled code does not
say: which policies the index passed over, where a guard ended a policy, and which rules a deny before them
made idle. A property compares the matches of the walk with those of the program, request by request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from enforcer.policy import documents as models
from enforcer.policy.checker import check_policy, check_values
from enforcer.policy.environment import ROW_AMOUNTS
from enforcer.policy.findings import Findings
from enforcer.policy.tracing.terms import Term
from enforcer.policy.tracing.traces import (
    ExceptionTrace,
    LimitTrace,
    PolicyTrace,
    RuleTrace,
    TermTrace,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.errors import Span
    from enforcer.policy.loader import Document
    from enforcer.policy.model import LimitsView, RuleCode
    from enforcer.policy.tracing.program import Asked


class TracedPolicy:
    """A policy whose terms can be looked at one by one."""

    __slots__ = ("document", "exceptions", "limits", "match", "model", "rules", "unless")

    def __init__(self, document: Document, values: dict[str, Any]) -> None:
        assert isinstance(document.model, models.Policy)
        lowered = check_policy(document.model, document.node, values, Findings())
        self.document = document
        self.model = document.model
        span = document.place
        self.match = None if lowered.match is None else Term(lowered.match, span)
        self.unless = None if lowered.unless is None else Term(lowered.unless, span)
        places = _rule_places(document)
        rules = lowered.rules if self.model.spec.enabled else ()
        self.rules: tuple[tuple[RuleCode, Term], ...] = tuple(
            (rule, Term(rule.condition, places.get(rule.id, span))) for rule in rules
        )
        self.exceptions = {
            code.id: Term(code.condition, span) for rule in rules for code in rule.exceptions
        }
        limits = (*lowered.budgets, *lowered.rate_limits) if self.model.spec.enabled else ()
        self.limits: tuple[tuple[Literal["budget", "rate"], str], ...] = tuple(
            ("budget" if isinstance(each.model, models.Budget) else "rate", each.model.id)
            for each in limits
        )

    @property
    def name(self) -> tuple[str, str]:
        """Scope and id."""
        return self.document.scope, self.document.id

    @property
    def is_shadow(self) -> bool:
        """Whether its matches have no effect."""
        return self.model.spec.mode == "shadow"


def traced_policies(documents: Iterable[Document], tenant: str) -> tuple[TracedPolicy, ...]:
    """The enabled policies with rules or limits that concern *tenant*, in canonical order."""
    given = tuple(documents)
    found: list[TracedPolicy] = []
    for scope in ("*", tenant):
        own = [each for each in given if each.scope == scope]
        values: dict[str, Any] = {}
        for document in own:
            if isinstance(document.model, models.Values):
                values.update(check_values(document.model, document.node, Findings()))
        found += [
            TracedPolicy(each, values) for each in own if isinstance(each.model, models.Policy)
        ]
    found = [each for each in found if each.rules or each.limits]
    found.sort(key=lambda each: (-each.model.spec.priority, each.document.id, each.document.scope))
    return tuple(found)


def trace_policies(
    policies: Iterable[TracedPolicy],
    asked: Asked,
    indexed: frozenset[tuple[str, str]],
    *,
    exempt: frozenset[tuple[str, str]] = frozenset(),
) -> list[PolicyTrace]:
    """
    What was looked at, and why the rest was not.

    Args:
        policies: In canonical order.
        asked: The request as rules read it.
        indexed: Scope and id of the policies that the index let through; others are told as passed over.
        exempt: Policy and id of the rules that an exception removed.
    """
    found: list[PolicyTrace] = []
    denied = {False: False, True: False}  # Shadow policies see their own matches alone.
    for policy in policies:
        trace, denies = _trace(
            policy,
            asked,
            denied=denied[policy.is_shadow],
            is_indexed=policy.name in indexed,
            exempt=exempt,
        )
        denied[policy.is_shadow] = denied[policy.is_shadow] or denies
        found.append(trace)
    return found


def _trace(
    policy: TracedPolicy,
    asked: Asked,
    *,
    denied: bool,
    is_indexed: bool,
    exempt: frozenset[tuple[str, str]],
) -> tuple[PolicyTrace, bool]:
    trace = PolicyTrace(policy.document.id, policy.document.scope)
    _trace_guards(trace, policy, asked, is_indexed=is_indexed)
    if asked.limits is not None:
        trace.limits = [_limit(policy, asked.limits, trace, *each) for each in policy.limits]
    if trace.skipped:
        return trace, denied
    for rule, term in policy.rules:
        traced, denies = _trace_rule(
            (rule, term), asked, denied=denied, guard_errs=_errs(trace.match)
        )
        is_hit = traced.status in {"matched", "error"}
        if is_hit and rule.exceptions:
            traced.exceptions = _trace_exceptions(policy, rule, asked)
        if is_hit and (trace.policy, rule.id) in exempt:
            traced.why = "an exception removes it"
        else:
            denied = denies
        trace.rules.append(traced)
    return trace, denied


def _trace_guards(
    trace: PolicyTrace, policy: TracedPolicy, asked: Asked, *, is_indexed: bool
) -> None:
    phase = asked.request.phase
    if policy.rules and not any(phase in rule.phases for rule, _ in policy.rules):
        trace.skipped = f"phase: no rule is for `{phase}`"
        return
    if policy.match is not None:
        trace.match = policy.match.trace(asked)
        if trace.match.value == "false":
            trace.skipped = "guard: `match` is false"
    if policy.unless is not None and not trace.skipped:
        trace.unless = policy.unless.trace(asked)
        if trace.unless.value == "true":
            trace.skipped = "guard: `unless` is true"
    if policy.rules and not is_indexed:
        # What the index passes over cannot match; its guards are shown, for they say why.
        trace.skipped = "index: a field has none of the values that every rule asks for"


def _trace_exceptions(policy: TracedPolicy, rule: RuleCode, asked: Asked) -> list[ExceptionTrace]:
    """The exceptions of a rule that would count, up to the first that removes it."""
    found: list[ExceptionTrace] = []
    for code in rule.exceptions:
        if asked.now_us is None or asked.now_us >= code.expires_us:
            found.append(ExceptionTrace(code.id, "expired"))
            continue
        condition = policy.exceptions[code.id].trace(asked)
        told = {"true": "removes it", "error": "error"}.get(condition.value, "does not hold")
        found.append(ExceptionTrace(code.id, told, condition))
        if condition.value == "true":
            break
    return found


def _limit(
    policy: TracedPolicy,
    limits: LimitsView,
    trace: PolicyTrace,
    kind: Literal["budget", "rate"],
    limit: str,
) -> LimitTrace:
    """A limit of *policy*, with its amounts, or why it does not apply."""
    name = (policy.document.scope, policy.document.id, limit)
    amounts = {each: limits.amount(kind, name, each) for each in ROW_AMOUNTS[kind]}
    known = {each: amount for each, amount in amounts.items() if amount is not None}
    if known:
        return LimitTrace(kind, limit, known)
    if trace.match is not None and trace.match.value == "false":
        return LimitTrace(kind, limit, why="guard: `match` is false")
    if trace.unless is not None and trace.unless.value == "true":
        return LimitTrace(kind, limit, why="guard: `unless` is true")
    return LimitTrace(kind, limit, why="its key is absent, or a guard could not be evaluated")


def _errs(guard: TermTrace | None) -> bool:
    return guard is not None and guard.value == "error"


def _trace_rule(
    pair: tuple[RuleCode, Term], asked: Asked, *, denied: bool, guard_errs: bool
) -> tuple[RuleTrace, bool]:
    rule, term = pair
    trace = RuleTrace(rule.id, rule.verdict, "skipped")
    if asked.request.phase not in rule.phases:
        trace.why = f"phase: it is not for `{asked.request.phase}`"
        return trace, denied
    if denied and rule.verdict != "deny":
        trace.why = "early exit: a deny matched before it"
        return trace, denied
    if not guard_errs:
        trace.condition = term.trace(asked)
    value = "error" if trace.condition is None else trace.condition.value
    if value == "error":
        trace.status = "error"
        trace.why = "`match` could not be evaluated" if guard_errs else "it could not be evaluated"
        trace.why += (
            ", and counts as a deny" if rule.failure is not None else ", and is passed over"
        )
        return trace, denied or rule.failure is not None
    trace.status = "matched" if value == "true" else "no match"
    return trace, denied or (value == "true" and rule.verdict == "deny")


def _rule_places(document: Document) -> dict[str, Span]:
    """Where each rule begins, by its id."""
    spec = document.node.get("spec")
    rules = spec.get("rules") if spec is not None else None
    found: dict[str, Span] = {}
    for node in rules.items() if rules is not None else []:
        name = node.get("id")
        if name is not None:
            found[str(name.value)] = node.span
    return found
