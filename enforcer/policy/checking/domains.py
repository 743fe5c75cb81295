"""
Whether a condition can be true at all, is always true, or follows from another: told without a solver.

Theory of operation
===================

A condition is made a disjunction of conjunctions of literals: a comparison, or an opaque part, that is true or false.
The literals of one conjunction that speak of one field narrow its *domain*: whether it may be absent, the values it
may have, the interval it lies in. A conjunction with an empty domain, or with an opaque part that is both true and
false, holds on no request; a condition all of whose conjunctions are so is never true. What is not understood narrows
nothing, so "never" is sure and its contrary is not. ``may_hold`` is sure in the other direction: it is true only where
all of a conjunction is understood, and every domain has a value in it.

Errors count as neither: ``All`` is false exactly where a term is false, ``AnyOf`` true exactly where one is true.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from enforcer.detect import pii, secrets
from enforcer.policy.environment import fact_of
from enforcer.policy.fields import Field, Kind, Origin
from enforcer.policy.ir import ORDERINGS, All, Expr, Leaf, Not, Test

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Literal: TypeAlias = "tuple[Test | Leaf, bool]"
"""A part of a condition, and what it comes to."""
Conjunction: TypeAlias = "tuple[Literal, ...]"

_CONJUNCTIONS_MAX: Final = 128
_LITERALS_MAX: Final = 64
_CONTRARY: Final = {
    "eq": "ne", "ne": "eq", "in": "not_in", "not_in": "in", "contains": "not_contains",
    "not_contains": "contains", "gt": "lte", "gte": "lt", "lt": "gte", "lte": "gt",
}  # fmt: skip
_INTEGERS: Final = frozenset({Kind.INT, Kind.TIME})
ELEMENTS: Final[dict[str, frozenset[str]]] = {
    "pii_types": frozenset(pii.KINDS),
    "pii_types_at": frozenset(pii.KINDS),
    "secrets_types": frozenset(secrets.KINDS),
}
"""What the elements of a list of kinds can be, by the fact."""
_TYPED: Final = {
    Kind.INT: "number", Kind.DOUBLE: "number", Kind.TIME: "number", Kind.STRING: "other", Kind.BOOL: "word",
}  # fmt: skip


class TooLargeError(Exception):
    """A condition of more conjunctions than are worth a look."""


def conjunctions(expression: Expr, *, truth: bool = True) -> tuple[Conjunction, ...]:
    """
    When *expression* comes to *truth*: one of these must hold; none of them, never.

    Raises: TooLargeError.
    """
    if isinstance(expression, Test | Leaf):
        return (((expression, truth),),)
    if isinstance(expression, Not):
        return conjunctions(expression.term, truth=not truth)
    parts = [conjunctions(term, truth=truth) for term in expression.terms]
    if isinstance(expression, All) is not truth:
        joined = tuple(each for part in parts for each in part)
        if len(joined) > _CONJUNCTIONS_MAX:
            raise TooLargeError
        return joined
    found: tuple[Conjunction, ...] = ((),)
    for part in parts:
        if len(found) * len(part) > _CONJUNCTIONS_MAX:
            raise TooLargeError
        found = tuple((*left, *right) for left in found for right in part)
        if any(len(each) > _LITERALS_MAX for each in found):
            raise TooLargeError
    return found


def is_never(expression: Expr, given: Iterable[Expr] = ()) -> bool:
    """Whether *expression* is true on no request on which all of *given* are true."""
    try:
        found = conjunctions(All((*given, expression)))
    except TooLargeError:
        return False
    return all(_World(each).is_empty for each in found)


def is_always(expression: Expr, given: Iterable[Expr] = ()) -> bool:
    """Whether *expression* is false on no request on which all of *given* are true."""
    return is_never(Not(expression), given)


def may_hold(expression: Expr) -> bool:
    """Whether there is a request, for certain, on which *expression* is true."""
    try:
        found = conjunctions(expression)
    except TooLargeError:
        return False
    return any(_World(each).is_possible for each in found)


def _marked(value: Any) -> tuple[str, Any]:
    """A value that equals others as the language has it: true is no number."""
    if isinstance(value, bool) or value is None:
        return "word", value
    return ("number" if isinstance(value, int | float) else "other"), value


def _is_plain(value: Any) -> bool:
    return not isinstance(value, list | dict)


@dataclass(slots=True)
class _Domain:
    """The values that a field may have."""

    subject: Field
    may_be_absent: bool
    may_be_present: bool = True
    among: frozenset[tuple[str, Any]] | None = None
    """Values one of which it is; None: any."""
    but: set[tuple[str, Any]] = field(default_factory=set)
    low: float = -math.inf
    high: float = math.inf
    is_low_out: bool = False
    is_high_out: bool = False
    is_understood: bool = True

    @staticmethod
    def of(field_: Field) -> _Domain:
        domain = _Domain(field_, field_.optional)
        if field_.origin is Origin.FACT:
            fact = fact_of(field_)
            domain.low = -math.inf if fact.low is None else fact.low
            domain.high = math.inf if fact.high is None else fact.high
        if field_.type.kind is Kind.BOOL:
            domain.among = frozenset({("word", True), ("word", False)})
        return domain

    @property
    def is_empty(self) -> bool:
        """Whether no value, and no absence, is left."""
        return not self.may_be_absent and not self._has_value

    @property
    def _has_value(self) -> bool:
        if not self.may_be_present:
            return False
        if self.among is not None:
            return any(self._holds(each) for each in self.among - self.but)
        low, high = self.low, self.high
        if self.subject.type.kind in _INTEGERS:
            low = math.floor(low) + 1 if self.is_low_out and math.isfinite(low) else low
            high = math.ceil(high) - 1 if self.is_high_out and math.isfinite(high) else high
            low, high = (
                (math.ceil(low) if math.isfinite(low) else low),
                (math.floor(high) if math.isfinite(high) else high),
            )
        elif low == high and (self.is_low_out or self.is_high_out):
            return False
        return low <= high and not (low == high and ("number", low) in self.but)

    def _holds(self, marked: tuple[str, Any]) -> bool:
        kind, value = marked
        is_bounded = math.isfinite(self.low) or math.isfinite(self.high)
        if kind != "number":
            # A text that is compared with a number is an error, and no value of a true comparison.
            return not is_bounded
        if value < self.low or value > self.high:
            return False
        is_out = (value == self.low and self.is_low_out) or (
            value == self.high and self.is_high_out
        )
        return not is_out

    def take(self, test: Test, *, truth: bool) -> None:
        """Narrow it by a comparison that comes to *truth*."""
        op = test.op
        if op == "exists":
            self.may_be_absent &= not truth
            self.may_be_present &= truth
            return
        if not truth:
            if op in ORDERINGS or op in {"contains", "matches"}:
                self.may_be_absent &= not test.is_strict
            op = _CONTRARY.get(op, "")  # type: ignore[assignment]
        elif op not in {"ne", "not_in", "not_contains"}:
            self.may_be_absent = False
        if not truth and test.op in {"ne", "not_in", "not_contains"}:
            self.may_be_absent = False
        self._narrow(op, test.value)

    def _narrow(self, op: str, value: Any) -> None:
        if op in {"eq", "in"}:
            values = value if op == "in" else [value]
            if not isinstance(values, list) or not all(map(_is_plain, values)):
                self.is_understood = False
                return
            wanted = frozenset(map(_marked, values))
            typed = _TYPED.get(self.subject.type.kind)
            if typed is not None:
                wanted = frozenset(each for each in wanted if each[0] == typed)
            if not wanted:
                self.is_understood = False  # ENF0407 tells it.
                return
            self.among = wanted if self.among is None else self.among & wanted
        elif op in {"ne", "not_in"}:
            values = value if op == "not_in" else [value]
            if isinstance(values, list):
                self.but |= {_marked(each) for each in values if _is_plain(each)}
        elif op in ORDERINGS and _marked(value)[0] == "number":
            self._bound(op, value)
        else:
            self.is_understood = False

    def _bound(self, op: str, value: float) -> None:
        is_out = op in {"gt", "lt"}
        if op in {"gt", "gte"} and (value, is_out) > (self.low, self.is_low_out):
            self.low, self.is_low_out = value, is_out
        if op in {"lt", "lte"} and (-value, is_out) > (-self.high, self.is_high_out):
            self.high, self.is_high_out = value, is_out


class _World:
    """The requests on which one conjunction holds."""

    def __init__(self, literals: Sequence[Literal]) -> None:
        self._domains: dict[str, _Domain] = {}
        self._said: dict[Any, bool] = {}
        self._is_torn = False
        self._is_understood = True
        for part, truth in literals:
            if isinstance(part, Leaf):
                self._say(part.text, truth=truth)
                self._is_understood = False
            else:
                self._take(part, truth=truth)

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return self._is_torn or any(each.is_empty for each in self._domains.values())

    @property
    def is_possible(self) -> bool:
        """Whether there is one for certain: all is understood, and no two derived facts are in it, which may depend."""
        derived = sum(1 for each in self._domains.values() if each.subject.origin is Origin.FACT)
        understood = all(each.is_understood for each in self._domains.values())
        return not self.is_empty and self._is_understood and understood and derived <= 1

    def _say(self, what: Any, *, truth: bool) -> None:
        if self._said.setdefault(what, truth) is not truth:
            self._is_torn = True

    def _take(self, test: Test, *, truth: bool) -> None:
        name = str(test.field)
        op = test.op
        if op in {"contains", "not_contains"} and _is_plain(test.value):
            holds = truth is (op == "contains")
            self._say((name, _marked(test.value)), truth=holds)
            elements = ELEMENTS.get(test.field.fact)
            if holds and elements is not None and test.value not in elements:
                self._is_torn = True
            if test.field.type.kind is Kind.LIST:
                self._domain(test.field).may_be_absent &= not holds
                return
        if op == "matches":
            self._say((name, "matches", test.value), truth=truth)
        self._domain(test.field).take(test, truth=truth)

    def _domain(self, found: Field) -> _Domain:
        return self._domains.setdefault(str(found), _Domain.of(found))
