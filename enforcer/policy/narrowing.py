"""
Presence: which optional fields are known to be there at each place of a condition.

In ``has(user.email) && user.email.endsWith("@acme.com")`` the second term is only looked at where the first is
not false; and where it is looked at nonetheless (terms may be moved), its error is absorbed. So a term of
``All`` may take a field for present if its absence makes another term *false*, and a term of ``AnyOf`` if it
makes another *true*: the whole is then decided whatever the term says. The same holds for a rule and the
guards of its policy. Exact in three values; what is known so is not tested again, and cannot err.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from enforcer.policy.ir import NEGATIONS, All, AnyOf, Expr, Leaf, Not, Test
from enforcer.policy.variables import is_certain

_NOTHING: frozenset[str] = frozenset()


def narrowed(expression: Expr, present: frozenset[str] = _NOTHING) -> Expr:
    """
    *expression* with what is known of presence; of the same value wherever it counts.

    Args:
        expression: Any.
        present: Names of fields that are there wherever the value of *expression* counts.
    """
    if isinstance(expression, Test):
        if expression.is_strict and str(expression.field) in present:
            return replace(expression, is_strict=False)
        return expression
    if isinstance(expression, Leaf):
        known = frozenset(f.name for f in expression.facts if f.is_optional and f.name in present)
        leaf = replace(expression, present=known)
        return replace(leaf, can_err=not is_certain(leaf))
    if isinstance(expression, Not):
        return Not(narrowed(expression.term, present))
    is_all = isinstance(expression, All)
    deciding = [absent_false(t) if is_all else absent_true(t) for t in expression.terms]
    count = Counter(name for names in deciding for name in names)
    everything = present | count.keys()
    terms = tuple(
        narrowed(term, everything - {n for n in own if count[n] == 1 and n not in present})
        for term, own in zip(expression.terms, deciding, strict=True)
    )
    return All(terms) if is_all else AnyOf(terms)


def absent_false(expression: Expr) -> frozenset[str]:
    """The fields whose absence makes *expression* false."""
    if isinstance(expression, Test):
        negative = expression.op in NEGATIONS
        return _NOTHING if negative or not _decides(expression) else _name(expression)
    if isinstance(expression, Not):
        return absent_true(expression.term)
    if isinstance(expression, All):
        return _NOTHING.union(*map(absent_false, expression.terms))
    if isinstance(expression, AnyOf) and expression.terms:
        return frozenset.intersection(*map(absent_false, expression.terms))
    return _NOTHING


def absent_true(expression: Expr) -> frozenset[str]:
    """The fields whose absence makes *expression* true."""
    if isinstance(expression, Test):
        negative = expression.op in NEGATIONS
        return _name(expression) if negative and _decides(expression) else _NOTHING
    if isinstance(expression, Not):
        return absent_false(expression.term)
    if isinstance(expression, AnyOf):
        return _NOTHING.union(*map(absent_true, expression.terms))
    if isinstance(expression, All) and expression.terms:
        return frozenset.intersection(*map(absent_true, expression.terms))
    return _NOTHING


def _decides(test: Test) -> bool:
    # A detector that fails makes an error of it, whether the field is there or not.
    return test.field.optional and not test.is_strict and not test.is_detected


def _name(test: Test) -> frozenset[str]:
    return frozenset((str(test.field),))
