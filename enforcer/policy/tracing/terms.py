"""
The terms of a condition, each compiled alone.

A sub-expression is compiled by the compiler of whole policies, from the same intermediate form; what it comes
to here is what it comes to there. Which terms of a chain are evaluated, and in what order, follows the
compiler too: cheap before costly, and no further once the chain is decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enforcer.errors import RequestError, Span
from enforcer.policy.compiler import compile_guard
from enforcer.policy.fields import Origin
from enforcer.policy.ir import All, AnyOf, Expr, Leaf, Not, Test, cost
from enforcer.policy.lowering import is_flat
from enforcer.policy.reading import ABSENT, as_plain, reader
from enforcer.policy.tracing.parts import Part, hidden, parts_of
from enforcer.policy.tracing.traces import TermTrace, Truth

if TYPE_CHECKING:
    from enforcer.policy.fields import Field
    from enforcer.policy.model import Guard
    from enforcer.policy.tracing.program import Asked

SHOWN_CHARACTERS_MAX = 60
# Heads of declared paths whose texts are names that operators gave, not what people wrote.
_OPEN_HEADS = frozenset({"team", "project", "phase", "tenant"})
_OPEN_PATHS = frozenset({
    ("llm", "provider"), ("llm", "model"), ("llm", "operation"), ("llm", "reasoning_effort"),
    ("llm", "service_tier"), ("user", "region"), ("user", "roles"), ("user", "permissions"), ("caller", "kind"),
})  # fmt: skip
_SIGNS = {"eq": "==", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Term:
    """A sub-expression ready to be evaluated by itself. Made once a policy."""

    __slots__ = ("_function", "_parts", "children", "expression", "span", "text")

    def __init__(self, expression: Expr, span: Span) -> None:
        self.expression = expression
        children = () if isinstance(expression, Test | Leaf) else _children(expression)
        self.children = tuple(Term(each, span) for each in children)
        self.span = _span(expression) or span
        self.text = describe_term(expression)
        self._function: Guard | None = None
        self._parts: tuple[Part, ...] | None = None

    @property
    def is_leaf(self) -> bool:
        """Whether it is a comparison, and not made of others."""
        return isinstance(self.expression, Test | Leaf)

    def leaves(self) -> list[Term]:
        """The comparisons in it, in the order in which they are evaluated."""
        if self.is_leaf:
            return [self]
        return [leaf for child in self.children for leaf in child.leaves()]

    def value(self, asked: Asked) -> bool | None:
        """True, False, or None for an error."""
        if self._function is None:
            self._function = compile_guard(self.expression, None)
        return self._function(asked.request, asked.facts, asked.now_us, asked.limits)

    def trace(self, asked: Asked) -> TermTrace:
        """Evaluate it as a policy would, and tell what it came to."""
        traced = TermTrace(self.text, self.span, _truth(self.value(asked)))
        if isinstance(self.expression, Test):
            traced.reads = {str(self.expression.field): _shown(self.expression.field, asked)}
        elif isinstance(self.expression, Leaf):
            traced.reads = {str(f): _shown(f, asked) for f in self.expression.fields}
            if self._parts is None:
                self._parts = parts_of(self.expression, self.expression.root)
            traced.terms = [part.trace(asked) for part in self._parts]
            return traced
        traced.terms = self._trace_children(asked)
        return traced

    def _trace_children(self, asked: Asked) -> list[TermTrace]:
        decides: Truth | None = None
        if isinstance(self.expression, (All, AnyOf)):
            decides = "false" if isinstance(self.expression, All) else "true"
        found: list[TermTrace] = []
        is_decided = False
        for child in self.children:
            found.append(child.skipped() if is_decided else child.trace(asked))
            is_decided = is_decided or found[-1].value == decides
        return found

    def skipped(self) -> TermTrace:
        """The trace of a term that was not evaluated."""
        terms = [child.skipped() for child in self.children]
        return TermTrace(self.text, self.span, "skipped", terms=terms)


def _children(expression: All | AnyOf | Not) -> tuple[Expr, ...]:
    """The operands in the order in which they are evaluated."""
    if isinstance(expression, Not):
        return (expression.term,)
    ordered = sorted(expression.terms, key=cost)
    certain = [is_flat(each) for each in ordered]
    pairs = list(zip(ordered, certain, strict=True))
    return (
        *(each for each, first in pairs if first),
        *(each for each, first in pairs if not first),
    )


def _span(expression: Expr) -> Span | None:
    if isinstance(expression, Test | Leaf):
        return expression.span
    if isinstance(expression, Not):
        return _span(expression.term)
    spans = [span for term in expression.terms if (span := _span(term)) is not None]
    return min(spans, key=lambda each: (each.line, each.column), default=None)


def describe_term(expression: Expr) -> str:
    """A term in one short line, as an author would say it."""
    if isinstance(expression, Test):
        sign = _SIGNS.get(expression.op, expression.op)
        if expression.op == "exists":
            return f"{expression.field} exists"
        return f"{expression.field} {sign} {_literal(expression.value)}"
    if isinstance(expression, Leaf):
        start, end = expression.root.span
        return expression.condition.expression.source.text[start:end]
    if isinstance(expression, Not):
        return "not"
    if not expression.terms:
        return "always" if isinstance(expression, All) else "never"
    return "and" if isinstance(expression, All) else "or"


def _literal(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else f'"{value}"'
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"


def _truth(value: bool | None) -> Truth:  # noqa: FBT001 — the value itself
    return "error" if value is None else "true" if value else "false"


def _shown(field: Field, asked: Asked) -> Any:
    """The value of a field as a trace may show it."""
    if field.origin is Origin.NOW:
        return asked.now_us
    if field.origin is Origin.FACT:
        try:
            value = getattr(asked.facts, field.fact)
        except RequestError as error:
            return f"<unknown: {error.code}>"
        if field.path[:2] == ("pii", "counts") and len(field.path) == 3:
            value = value.get(field.path[2], 0)
        return hidden(value) if field.path == ("llm", "prompt") else as_plain(value)
    value = reader(field)(asked.request)
    if value is ABSENT:
        return "<absent>"
    value = as_plain(value)
    is_open = field.path[0] in _OPEN_HEADS or field.path in _OPEN_PATHS
    return value if is_open else hidden(value)
