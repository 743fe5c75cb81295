"""
The intermediate form of a condition: what every notation is lowered to and the compiler compiles from.

A ``Test`` compares a field with a literal: what a structured condition says, and what CEL says where the two
agree to the letter (skeleton.py). A ``Leaf`` is any other expression of CEL, compiled as one.

Three values flow through it: true, false, and *error*. ``All`` and ``AnyOf`` absorb errors as CEL does:
false and error is false, true or error is true, in either order. So the terms of a chain commute, and the
compiler may test the cheap ones first.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from enforcer.policy.fields import Cost, Field, Kind, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.cel import Node
    from enforcer.errors import Span
    from enforcer.policy.environment import Fact
    from enforcer.policy.expressions import Condition

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
    the epoch. ``is_strict``: an absent field is an error, as in CEL, and not false.
    """

    op: Op
    field: Field
    value: Any
    span: Span
    is_strict: bool = False

    @property
    def can_err(self) -> bool:
        """
        Whether it may be an error on some request.

        It is where the type shows only at run time and the operator minds, and where a detector may not
        be able to tell the fact.
        """
        if self.field.type.kind is Kind.TIME or self.is_detected or self.minds_absence:
            return True
        return self.op in _CAN_ERR and self.field.type.kind in _UNTYPED

    @property
    def minds_absence(self) -> bool:
        """Whether the field may be absent, and that is an error."""
        return self.is_strict and self.field.optional

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
class Leaf:
    """
    An expression of CEL that is no comparison of a field with a literal.

    Two leaves are equal if they print the same and the same fields are known to be there. *condition* has the
    tree, which is that of ``root``; *present* are names of facts.
    """

    text: str
    present: frozenset[str]
    root: Node = dataclasses.field(compare=False, repr=False)
    condition: Condition = dataclasses.field(compare=False, repr=False)
    facts: tuple[Fact, ...] = dataclasses.field(compare=False, repr=False)
    can_err: bool = dataclasses.field(compare=False, default=True)

    @property
    def span(self) -> Span:
        """Where it begins."""
        return self.condition.place(self.root.span[0])

    @property
    def fields(self) -> list[Field]:
        """The fields that it reads."""
        return [fact.field for fact in self.facts if fact.field is not None]

    @property
    def cost(self) -> Cost:
        """The class of what it reads."""
        return max((fact.cost for fact in self.facts), default=Cost.FIELD)


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


Expr = Test | Leaf | All | AnyOf | Not

ALWAYS = All(())
NEVER = AnyOf(())


def atoms(expression: Expr) -> Iterator[Test | Leaf]:
    """Every comparison and leaf in *expression*, from left to right."""
    stack: list[Expr] = [expression]
    while stack:
        node = stack.pop()
        if isinstance(node, Test | Leaf):
            yield node
        elif isinstance(node, Not):
            stack.append(node.term)
        else:
            stack.extend(reversed(node.terms))


def tests(expression: Expr) -> Iterator[Test]:
    """Every comparison in *expression*, from left to right."""
    return (atom for atom in atoms(expression) if isinstance(atom, Test))


def fields_of(expression: Expr) -> Iterator[Field]:
    """Every field that *expression* reads, as often as it does."""
    for atom in atoms(expression):
        if isinstance(atom, Test):
            yield atom.field
        else:
            yield from atom.fields


def cost(expression: Expr) -> Cost:
    """The class of the costliest part of *expression*."""
    return max((atom.cost for atom in atoms(expression)), default=Cost.FIELD)


def can_err(expression: Expr) -> bool:
    """Whether evaluating *expression* can end in an error."""
    return any(atom.can_err for atom in atoms(expression))
