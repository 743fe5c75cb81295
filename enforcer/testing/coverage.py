"""
What tests looked at: each rule matched, each term of each condition both true and false, each limit within and past.

A term that a chain never came to counts as neither. Errors count as neither: a condition that can err has a test of
its own where that matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enforcer.policy import documents as models

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from enforcer import policy
    from enforcer.errors import Span
    from enforcer.policy.tracing import PolicyTrace, Term, TermTrace, TracedPolicy
    from enforcer.testing.policy_tests import LimitSeen


@dataclass(frozen=True, slots=True)
class Branch:
    """Something that can come out one way: ``wanted`` says which, ``text`` what."""

    span: Span
    text: str
    wanted: str

    def __str__(self) -> str:
        """As reports say what is missing."""
        return f"{self.span}: never {self.wanted}: {self.text}"


@dataclass(slots=True)
class Covered:
    """The branches of one rule, guard or limit, and those that were seen."""

    policy: str
    scope: str
    part: str
    span: Span
    branches: list[Branch] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    @property
    def missing(self) -> list[Branch]:
        """What no test came to."""
        return [each for at, each in enumerate(self.branches) if at not in self.seen]


class Coverage:
    """Of all policies under test; told once what there is, and then what was looked at."""

    def __init__(self) -> None:
        self._policies: dict[tuple[str, str], TracedPolicy] = {}
        self._parts: dict[tuple[str, str, str], Covered] = {}

    def add(self, policies: Iterable[TracedPolicy], limits: Iterable[policy.Document]) -> None:
        """What there is to cover: policies with rules, and documents whose limits count."""
        for each in policies:
            if each.name not in self._policies:
                self._policies[each.name] = each
                self._add_policy(each)
        for document in limits:
            self._add_limits(document)

    def _part(self, name: tuple[str, str], part: str, span: Span) -> Covered | None:
        key = (*name, part)
        if key in self._parts:
            return None
        found = self._parts[key] = Covered(name[1], name[0], part, span)
        return found

    def _add_policy(self, each: TracedPolicy) -> None:
        for part, term in (("match", each.match), ("unless", each.unless)):
            covered = None if term is None else self._part(each.name, part, term.span)
            if covered is not None and term is not None:
                covered.branches += _branches(term)
        for rule, term in each.rules:
            covered = self._part(each.name, rule.id, term.span)
            if covered is not None:
                covered.branches.append(Branch(term.span, f"rule {rule.id}", "matched"))
                covered.branches += _branches(term)

    def _add_limits(self, document: policy.Document) -> None:
        model = document.model
        if not isinstance(model, models.Policy) or not model.spec.enabled:
            return
        if model.spec.mode == "shadow":
            return
        limits: tuple[models.Budget | models.RateLimit, ...]
        limits = (*model.spec.budgets, *model.spec.rate_limits)
        for limit in limits:
            span = document.place
            covered = self._part((document.scope, document.id), limit.id, span)
            if covered is not None:
                kind = "budget" if isinstance(limit, models.Budget) else "rate limit"
                text = f"{kind} {limit.id}"
                covered.branches += [Branch(span, text, "within"), Branch(span, text, "exceeded")]

    def note(self, traces: Iterable[PolicyTrace], limits: Iterable[LimitSeen]) -> None:
        """What one case looked at."""
        for trace in traces:
            known = self._policies.get((trace.scope, trace.policy))
            if known is not None:
                self._note_policy(known, trace)
        for limit in limits:
            covered = self._parts.get((limit.scope, limit.policy, limit.id))
            if covered is not None:
                covered.seen.add(1 if limit.exceeded else 0)

    def _note_policy(self, known: TracedPolicy, trace: PolicyTrace) -> None:
        for part, term, found in (
            ("match", known.match, trace.match),
            ("unless", known.unless, trace.unless),
        ):
            if term is not None and found is not None:
                _note(self._parts[*known.name, part], term, found, first=0)
        terms = {rule.id: term for rule, term in known.rules}
        for rule in trace.rules:
            covered = self._parts[*known.name, rule.rule]
            if rule.status == "matched":
                covered.seen.add(0)
            if rule.condition is not None and rule.rule in terms:
                _note(covered, terms[rule.rule], rule.condition, first=1)

    @property
    def parts(self) -> list[Covered]:
        """Every rule, guard and limit, by policy."""
        return sorted(self._parts.values(), key=lambda each: (each.scope, each.policy, each.part))

    @property
    def percent(self) -> float:
        """Of all branches, those seen; 100 where there is none."""
        total = sum(len(each.branches) for each in self._parts.values())
        seen = sum(len(each.seen) for each in self._parts.values())
        return 100.0 * seen / total if total else 100.0


def _branches(term: Term) -> list[Branch]:
    return [
        Branch(leaf.span, leaf.text, wanted)
        for leaf in term.leaves()
        for wanted in ("true", "false")
    ]


def _note(covered: Covered, term: Term, found: TermTrace, *, first: int) -> None:
    for at, value in enumerate(_leaf_values(term, found)):
        if value in {"true", "false"}:
            covered.seen.add(first + 2 * at + (value == "false"))


def _leaf_values(term: Term, found: TermTrace) -> Iterator[str]:
    if term.is_leaf:
        yield found.value
        return
    for child, trace in zip(term.children, found.terms, strict=True):
        yield from _leaf_values(child, trace)
