"""
The form of a condition with what says nothing taken out: what the compiler compiles.

Both notations come to one code by this. ``has(x) && x > 1`` is, in CEL, what ``{operator: gt, field: x}`` is: absent is
false. Every step is exact in three values: chains in chains of their kind, terms said twice, terms that are always
true or never, ``exists`` beside a comparison that is false of what is absent. Traces, proofs and messages are made
of the form as it was written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from enforcer.policy.ir import ALWAYS, NEGATIONS, NEVER, All, AnyOf, Expr, Leaf, Not, Test
from enforcer.policy.sharing import test_key
from enforcer.policy.skeleton import negated

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable


def simplified(expression: Expr) -> Expr:
    """*expression*, of the same value on every request. Recursion is bounded by the form's depth."""
    if isinstance(expression, Test):
        if expression.field.optional:
            return expression
        return ALWAYS if expression.op == "exists" else replace(expression, is_strict=False)
    if isinstance(expression, Leaf):
        return expression
    if isinstance(expression, Not):
        return _contrary(simplified(expression.term))
    is_all = isinstance(expression, All)
    terms = _distinct(_flattened(map(simplified, expression.terms), is_all=is_all))
    decided, neutral = (NEVER, ALWAYS) if is_all else (ALWAYS, NEVER)
    if decided in terms:
        return decided
    terms = [each for each in terms if each != neutral]
    if is_all:
        terms = _without_presence(terms)
    if len(terms) == 1:
        return terms[0]
    return All(tuple(terms)) if is_all else AnyOf(tuple(terms))


def _contrary(expression: Expr) -> Expr:
    if isinstance(expression, All | AnyOf) and not expression.terms:
        return NEVER if isinstance(expression, All) else ALWAYS
    return negated(expression)


def _flattened(terms: Iterable[Expr], *, is_all: bool) -> list[Expr]:
    found: list[Expr] = []
    for term in terms:
        is_same = isinstance(term, All) if is_all else isinstance(term, AnyOf)
        # A chain of none is a constant, and stays one.
        if is_same and isinstance(term, All | AnyOf) and term.terms:
            found.extend(term.terms)
        else:
            found.append(term)
    return found


def _distinct(terms: list[Expr]) -> list[Expr]:
    """*terms* without the comparisons and leaves that were said before."""
    return list({_key(each): each for each in reversed(terms)}.values())[::-1]


def _key(expression: Expr) -> Hashable:
    if isinstance(expression, Test):
        return test_key(expression), expression.op
    return (expression.text, expression.present) if isinstance(expression, Leaf) else id(expression)


def _without_presence(terms: list[Expr]) -> list[Expr]:
    """Terms of ``All`` without the ``exists`` that a comparison of the same field says too."""
    tests = [each for each in terms if isinstance(each, Test)]
    asked = {str(each.field) for each in tests if each.op == "exists"}
    told = {str(each.field) for each in tests if _says_presence(each)}
    found: list[Expr] = []
    for each in terms:
        if not isinstance(each, Test) or str(each.field) not in asked & told:
            found.append(each)
        elif each.op != "exists":
            # Of an absent field `exists` is false, and where one term is false so is the whole.
            found.append(replace(each, is_strict=False))
    return found


def _says_presence(test: Test) -> bool:
    return test.op != "exists" and test.op not in NEGATIONS
