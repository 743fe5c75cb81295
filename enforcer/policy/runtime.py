"""
What compiled conditions call: comparisons whose operand's type shows only at run time.

Each answers True, False, or None for an evaluation error. They hold the laws of LANGUAGE.md, "Absent,
typed, erring": equality is typed and never errs, ordering and containment mind their types.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from enforcer.policy.reading import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
}


def same(left: Any, right: Any) -> bool:
    """
    Typed, structural equality: bool is no number, integer and double compare by value.

    Depth is bounded by the literal's, for the walk ends where the two shapes differ.
    """
    kind, other = left.__class__, right.__class__
    if kind is bool or other is bool:
        return left is right
    if kind is dict and other is dict:
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if kind is list and other is list:
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def element_of(value: Any, elements: list[Any]) -> bool:
    """Whether *value* equals one of *elements*."""
    return any(same(value, each) for each in elements)


def text_in(value: Any, texts: frozenset[str]) -> bool:
    """``element_of`` for texts: most lists are of texts, and a set answers at once."""
    return value.__class__ is str and value in texts


def order_number(compare: Callable[[Any, Any], bool], value: Any, bound: float) -> bool | None:
    """A value of unknown type against a number."""
    kind = value.__class__
    if kind is int or kind is float:
        return compare(value, bound)
    return False if value is ABSENT else None


def order_text(compare: Callable[[Any, Any], bool], value: Any, bound: str) -> bool | None:
    """A value of unknown type against a text, by code points."""
    if value.__class__ is str:
        return compare(value, bound)
    return False if value is ABSENT else None


def order_time(compare: Callable[[Any, Any], bool], value: int | None, bound: int) -> bool | None:
    """Event time against a moment; an error where the caller has given no time."""
    return None if value is None else compare(value, bound)


def contains(value: Any, item: Any) -> bool | None:
    """A text in a text, an element in a list, a value in a map."""
    kind = value.__class__
    if kind is str:
        return item in value if item.__class__ is str else None
    if kind is list:
        return any(same(each, item) for each in value)
    if kind is dict:
        return any(same(each, item) for each in value.values())
    return False if value is ABSENT else None


def matches(value: Any, search: Callable[[str], bool]) -> bool | None:
    """A regular expression in a value of unknown type."""
    if value.__class__ is str:
        return search(value)
    return False if value is ABSENT else None


def negated(result: bool | None) -> bool | None:  # noqa: FBT001 — the operand
    """The contrary; of an error, an error."""
    return None if result is None else not result
