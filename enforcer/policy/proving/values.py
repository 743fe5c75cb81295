"""
Values of the solver: what an expression may come to, kind by kind, and when.

A value is a union: each alternative has a kind, a condition under which it is the one, and a term of the
solver. None of them: the value is absent. A ``Truth`` is a condition of three values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import z3

TRUE: Final = z3.BoolVal(val=True)
FALSE: Final = z3.BoolVal(val=False)
NUMBERS: Final = frozenset({"int", "double"})


class UndecidableError(Exception):
    """Something that is not decided here, with the words for it."""


@dataclass(frozen=True, slots=True)
class Truth:
    """True under ``holds``, an error under ``errs``, else false. Never both."""

    holds: z3.BoolRef
    errs: z3.BoolRef = FALSE

    @property
    def fails(self) -> z3.BoolRef:
        """When it is false."""
        return z3.And(z3.Not(self.holds), z3.Not(self.errs))

    def negated(self) -> Truth:
        """The contrary."""
        return Truth(self.fails, self.errs)


def all_of(terms: list[Truth]) -> Truth:
    """``&&``: one that is false makes it false, whatever errs."""
    holds = z3.And(*(each.holds for each in terms))
    fails = z3.Or(*(each.fails for each in terms))
    return Truth(holds, z3.And(z3.Not(holds), z3.Not(fails)))


def any_of(terms: list[Truth]) -> Truth:
    """``||``: one that is true makes it true, whatever errs."""
    holds = z3.Or(*(each.holds for each in terms))
    fails = z3.And(*(each.fails for each in terms))
    return Truth(holds, z3.And(z3.Not(holds), z3.Not(fails)))


@dataclass(frozen=True, slots=True)
class Members:
    """A list of texts that is known by its members: which texts are in it, and how many elements it has."""

    name: str
    contains: z3.FuncDeclRef
    size: z3.ArithRef


@dataclass(frozen=True, slots=True)
class Alternative:
    """One kind that a value may be of: string, int, double, bool, null, members, list, map, timestamp."""

    kind: str
    when: z3.BoolRef
    term: Any


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression may come to. ``errs``: it comes to nothing, and that is an error."""

    alternatives: tuple[Alternative, ...]
    errs: z3.BoolRef = FALSE

    @property
    def is_present(self) -> z3.BoolRef:
        """When it is there."""
        return z3.Or(*(each.when for each in self.alternatives))

    def of(self, *kinds: str) -> list[Alternative]:
        """The alternatives of some kinds."""
        return [each for each in self.alternatives if each.kind in kinds]

    def strict(self) -> Value:
        """The same where absence is an error."""
        return Value(self.alternatives, z3.Or(self.errs, z3.Not(self.is_present)))


def scalar(kind: str, term: Any, when: z3.BoolRef = TRUE) -> Value:
    """A value of one kind."""
    return Value((Alternative(kind, when, term),))


def constant(value: Any) -> Value:
    """
    A literal.

    Raises: UndecidableError.
    """
    if value is None:
        return scalar("null", None)
    if value.__class__ is bool:
        return scalar("bool", z3.BoolVal(value))
    if value.__class__ is int:
        return scalar("int", z3.IntVal(value))
    if value.__class__ is float:
        return scalar("double", real(value))
    if value.__class__ is str:
        return scalar("string", text(value))
    if isinstance(value, list):
        return scalar("list", [constant(each) for each in value])
    if isinstance(value, dict):
        return scalar("map", {key: constant(each) for key, each in value.items()})
    raise UndecidableError(f"a literal of type {type(value).__name__}")


def text(value: str) -> z3.SeqRef:
    """A text literal."""
    if any(ord(each) > 0x2FFFF for each in value):
        raise UndecidableError("a character beyond the solver's")
    return z3.StringVal(
        "".join(
            each if " " <= each <= "~" and each != "\\" else f"\\u{{{ord(each):x}}}"
            for each in value
        )
    )


def real(value: float) -> z3.RatNumRef:
    """A double as the rational that its author wrote."""
    return z3.RealVal(repr(value))


def as_real(of: Alternative) -> z3.ArithRef:
    """A number as a rational."""
    return z3.ToReal(of.term) if of.kind == "int" else of.term


def equal(left: Value, right: Value) -> z3.BoolRef:
    """``==`` without errors: absent equals nothing, other kinds differ, numbers compare by value."""
    return z3.Or(
        *(
            z3.And(a.when, b.when, _same(a, b))
            for a in left.alternatives
            for b in right.alternatives
            if _comparable(a, b)
        )
    )


def _comparable(a: Alternative, b: Alternative) -> bool:
    if {a.kind, b.kind} == {"members", "list"}:
        raise UndecidableError("the equality of lists")
    return a.kind == b.kind or {a.kind, b.kind} <= NUMBERS


def _same(a: Alternative, b: Alternative) -> z3.BoolRef:
    if a.kind == "null":
        return TRUE
    if a.kind == "list":
        if len(a.term) != len(b.term):
            return FALSE
        return z3.And(*(equal(x, y) for x, y in zip(a.term, b.term, strict=True)))
    if a.kind in {"map", "members"}:
        raise UndecidableError(f"the equality of {'maps' if a.kind == 'map' else 'lists'}")
    if a.kind != b.kind:
        return as_real(a) == as_real(b)
    return a.term == b.term


def member(value: Value, container: Value) -> Truth:
    """``in``: of lists and maps; an absent value is in nothing."""
    holds = []
    for each in container.alternatives:
        if each.kind == "list":
            holds += [z3.And(each.when, equal(value, element)) for element in each.term]
        elif each.kind == "map":
            holds += [z3.And(each.when, equal(value, constant(key))) for key in each.term]
        elif each.kind == "members":
            texts = value.of("string")
            holds += [z3.And(each.when, a.when, each.term.contains(a.term)) for a in texts]
        else:
            raise UndecidableError("`in` of something that is no list")
    return Truth(z3.Or(*holds))
