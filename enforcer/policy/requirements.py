"""
What a request must have for a condition to hold: read off the form, for the index of policies.

Exact under absorption: a chain with a false term is false whatever else in it errs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer.policy.fields import Kind, Origin, is_direct
from enforcer.policy.ir import All, AnyOf, Expr, Test

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from enforcer.policy.paths import Path


def requirements_of(expression: Expr) -> dict[Path, frozenset[str]]:
    """Per field, the values one of which a request must have for *expression* to be true."""
    if isinstance(expression, Test):
        return _of_test(expression)
    if isinstance(expression, All):
        return both(requirements_of(term) for term in expression.terms)
    if isinstance(expression, AnyOf):
        return either([requirements_of(term) for term in expression.terms])
    return {}


def _of_test(test: Test) -> dict[Path, frozenset[str]]:
    """Of a text field or an attribute against texts: other values of an attribute equal none of them."""
    field = test.field
    is_text = field.origin is Origin.RECORD and is_direct(field) and field.type.kind is Kind.STRING
    is_attribute = field.origin is Origin.ATTRIBUTES and len(field.path) == 2
    if test.op not in {"eq", "in"} or not (is_text or is_attribute):
        return {}
    values = [test.value] if test.op == "eq" else test.value
    texts = frozenset(value for value in values if isinstance(value, str))
    if is_attribute and len(texts) < len(values):
        return {}
    return {field.path: texts}


def both(parts: Iterable[Mapping[Path, frozenset[str]]]) -> dict[Path, frozenset[str]]:
    """What all of *parts* require together."""
    merged: dict[Path, frozenset[str]] = {}
    for part in parts:
        for path, texts in part.items():
            merged[path] = merged[path] & texts if path in merged else texts
    return merged


def either(parts: list[dict[Path, frozenset[str]]]) -> dict[Path, frozenset[str]]:
    """What each of *parts* requires, so that one of them can hold; of none, nothing."""
    if not parts:
        return {}
    shared = [path for path in parts[0] if all(path in part for part in parts)]
    return {path: frozenset().union(*(part[path] for part in parts)) for path in shared}
