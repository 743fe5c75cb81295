"""
The intermediate form of a condition: what every notation is lowered to and the compiler compiles from.

Three values flow through it: true, false, and *error*. ``All`` and ``AnyOf`` absorb errors as CEL does:
false and error is false, true or error is true, in either order. So the terms of a chain commute, and the
compiler may test the cheap ones first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from enforcer.policy.fields import Cost, Field, Kind, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.errors import Span

Op = Literal[
    "eq", "ne", "gt", "gte", "lt", "lte", "in", "not_in",
    "contains", "not_contains", "matches", "exists",
]  # fmt: skip

ORDERINGS = frozenset({"gt", "gte", "lt", "lte"})
NEGATIONS: dict[str, Op] = {"ne": "eq", "not_in": "in", "not_contains": "contains"}
_CAN_ERR = ORDERINGS | {"contains", "not_contains", "matches"}
_UNTYPED = frozenset({Kind.ANY, Kind.JSON})


@dataclass(frozen=True, slots=True)
class Test:
    """
    One comparison of a field with a literal.

    ``value`` is plain data with floats for decimals; for ``in`` a list; for a time, microseconds since
    the epoch.
    """

    op: Op
    field: Field
    value: Any
    span: Span

    @property
    def can_err(self) -> bool:
        """
        Whether it may be an error on some request.

        It is where the type shows only at run time and the operator minds, and where a detector may not
        be able to tell the fact.
        """
        if self.field.type.kind is Kind.TIME or self.is_detected:
            return True
        return self.op in _CAN_ERR and self.field.type.kind in _UNTYPED

    @property
    def is_detected(self) -> bool:
        """Whether it reads a fact that a detector finds, and may fail to."""
        return self.field.origin is Origin.FACT and self.field.cost is Cost.DETECTOR

    @property
    def cost(self) -> Cost:
        """The class of its cost: a search in a text costs more than a comparison."""
        searches = self.op in {"matches", "contains", "not_contains"}
        if searches and self.field.type.kind is not Kind.LIST:
            return max(self.field.cost, Cost.SEARCH)
        return self.field.cost


@dataclass(frozen=True, slots=True)
class All:
    """True if every term is; of none, true."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True if one of the terms is; of none, false."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary; of an error, an error."""

    term: Expr


Expr = Test | All | AnyOf | Not

ALWAYS = All(())


def tests(expression: Expr) -> Iterator[Test]:
    """Every comparison in *expression*, from left to right."""
    stack: list[Expr] = [expression]
    while stack:
        node = stack.pop()
        if isinstance(node, Test):
            yield node
        elif isinstance(node, Not):
            stack.append(node.term)
        else:
            stack.extend(reversed(node.terms))


def cost(expression: Expr) -> Cost:
    """The class of the costliest comparison in *expression*."""
    return max((test.cost for test in tests(expression)), default=Cost.FIELD)


def can_err(expression: Expr) -> bool:
    """Whether evaluating *expression* can end in an error."""
    return any(test.can_err for test in tests(expression))
