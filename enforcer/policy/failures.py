"""
What happens when a condition errs: which rules fail, and how the decision tells it.

Off the fast path: compiled code comes here only with an error in hand. Messages name fields and types,
never a value, for values of attributes may be text of a prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enforcer.errors import RequestError
from enforcer.policy.exemptions import Exemptions
from enforcer.policy.fields import Kind
from enforcer.policy.ir import ORDERINGS, Expr, Leaf, Test, atoms
from enforcer.policy.lowering import ERRORS, compile_value, noted_error
from enforcer.policy.model import (
    EVALUATION_ERROR,
    FactsView,
    LimitsView,
    Match,
    RuleCode,
    RuleErrorInfo,
)
from enforcer.policy.reading import ABSENT, reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from enforcer.policy.exemptions import Arguments

_TYPE_WORDS: dict[type, str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a map",
    type(None): "null",
}


def describe(test: Test, request: Any, facts: FactsView, now_us: int | None) -> str | None:
    """Why *test* errs on this request; None if it does not."""
    if test.is_detected:
        try:
            fact = getattr(facts, test.field.fact)
        except RequestError as error:
            return f"`{test.field}` cannot be known: {error.message}"
        return f"`{test.field}` is absent" if fact is None and test.is_strict else None
    if test.field.type.kind is Kind.TIME:
        return "the time of the event is not known" if now_us is None else None
    value = reader(test.field)(request)
    if value is ABSENT:
        return f"`{test.field}` is absent" if test.is_strict else None
    if _fits(test, value):
        return None
    kind = _TYPE_WORDS.get(type(value), "of a type")
    return f"`{test.field}` is {kind}, which `{test.op}` does not take here"


def _fits(test: Test, value: Any) -> bool:
    if test.op in ORDERINGS:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return isinstance(value, str) if isinstance(test.value, str) else is_number
    if test.op == "matches":
        return isinstance(value, str)
    if isinstance(value, str):
        return isinstance(test.value, str)
    return isinstance(value, (list, dict))


class Failures:
    """The failures of one policy. Its methods are what compiled code calls on an error."""

    def __init__(
        self, policy: str, rules: tuple[RuleCode, ...], match: Expr | None, unless: Expr | None
    ) -> None:
        self._policy = policy
        self._rules = rules
        self._exemptions = Exemptions(policy, rules)
        self._values: dict[Leaf, Callable[..., Any]] = {}
        self._match = _fallible([match] if match else [])
        self._unless = _fallible([unless] if unless else [])

    def matched(
        self,
        at: int,
        request: Any,
        facts: FactsView,
        now_us: int | None,
        limits: LimitsView | None,
        denied: bool,  # noqa: FBT001 — as above
        hits: list[Match],
        errors: list[RuleErrorInfo],
    ) -> bool:
        """Rule *at*, which has exceptions or a reason to be made, matched. Returns as ``rule`` does."""
        rule = self._rules[at]
        arguments = (request, facts, now_us, limits)
        if self._exemptions.removes(rule, arguments, hits, errors):
            return denied
        hits.append(self._exemptions.match(rule, arguments))
        return denied or rule.verdict == "deny"

    def rule(
        self,
        at: int,
        request: Any,
        facts: FactsView,
        now_us: int | None,
        limits: LimitsView | None,
        denied: bool,  # noqa: FBT001 — as above
        hits: list[Match],
        errors: list[RuleErrorInfo],
    ) -> bool:
        """The condition of rule *at* erred. Returns whether a deny is among the matches now."""
        rule = self._rules[at]
        arguments = (request, facts, now_us, limits)
        message = self._message(_fallible([rule.condition]), arguments)
        return self._fail(rule, message, denied, arguments, hits=hits, errors=errors)

    def match(
        self,
        request: Any,
        facts: FactsView,
        now_us: int | None,
        limits: LimitsView | None,
        denied: bool,  # noqa: FBT001 — the arguments of a compiled function, handed on
        hits: list[Match],
        errors: list[RuleErrorInfo],
    ) -> bool:
        """The policy's ``match`` erred: each of its rules that would have run has erred."""
        arguments = (request, facts, now_us, limits)
        message = "match: " + self._message(self._match, arguments)
        for rule in self._rules:
            if request.phase in rule.phases and not (denied and rule.verdict != "deny"):
                denied = self._fail(rule, message, denied, arguments, hits=hits, errors=errors)
        return denied

    def unless(
        self,
        request: Any,
        facts: FactsView,
        now_us: int | None,
        limits: LimitsView | None,
        denied: bool,  # noqa: FBT001 — the arguments of a compiled function, handed on
        hits: list[Match],
        errors: list[RuleErrorInfo],
    ) -> bool:
        """The policy's ``unless`` erred. It does not exempt; the decision lists it."""
        del hits
        message = "unless: " + self._message(self._unless, (request, facts, now_us, limits))
        errors.append(RuleErrorInfo(self._policy, "", EVALUATION_ERROR, message))
        return denied

    def _fail(
        self,
        rule: RuleCode,
        message: str,
        denied: bool,  # noqa: FBT001 — handed on
        arguments: Arguments,
        *,
        hits: list[Match],
        errors: list[RuleErrorInfo],
    ) -> bool:
        errors.append(RuleErrorInfo(self._policy, rule.id, EVALUATION_ERROR, message))
        if rule.failure is None:
            return denied
        if self._exemptions.removes(rule, arguments, hits, errors):
            return denied
        hits.append(rule.failure)
        return True

    def _explained(self, leaf: Leaf, arguments: Arguments) -> str | None:
        """Why a leaf errs on a request; None where it does not. Its function is made when it first errs."""
        read = self._values.get(leaf)
        if read is None:
            read = self._values[leaf] = compile_value(leaf)
        try:
            value = read(*arguments)
        except ERRORS as error:
            return noted_error(error).message
        return None if isinstance(value, bool) else "the expression came to no bool"

    def _message(self, fallible: tuple[Test | Leaf, ...], arguments: Arguments) -> str:
        for atom in fallible:
            if isinstance(atom, Test):
                said = describe(atom, *arguments[:3])
            else:
                said = self._explained(atom, arguments)
            if said is not None:
                return said
        return "a value has a type that the condition cannot compare"


def _fallible(expressions: Iterable[Expr]) -> tuple[Test | Leaf, ...]:
    return tuple(atom for each in expressions for atom in atoms(each) if atom.can_err)
