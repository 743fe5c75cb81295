"""Functions of lists, sets and optionals."""

from __future__ import annotations

from functools import cmp_to_key
from typing import Any

from enforcer.cel.errors import EvaluationError
from enforcer.cel.limits import LIST_LENGTH_MAX
from enforcer.cel.operators import contained, is_zero, less
from enforcer.cel.registry import declare, no_overload
from enforcer.cel.values import NONE, Optional

_DISTINCT_MAX = 10_000


# --- optionals ----------------------------------------------------------------------------------


@declare("optional.of(A) -> optional(A)", certain=True)
def _of(value: Any) -> Optional:
    return Optional(value, True)


@declare("optional.none() -> optional(A)", certain=True)
def _none() -> Optional:
    return NONE


@declare("optional.ofNonZeroValue(A) -> optional(A)", certain=True)
def _of_non_zero(value: Any) -> Optional:
    return NONE if is_zero(value) else Optional(value, True)


@declare("optional(A):hasValue() -> bool")
def _has_value(value: Optional) -> bool:
    return value.is_present


@declare("optional(A):value() -> A")
def _value(value: Optional) -> Any:
    if not value.is_present:
        raise EvaluationError("invalid_argument", "optional.none() has no value")
    return value.value


@declare("optional(A):or(optional(A)) -> optional(A)")
def _or(value: Optional, other: Optional) -> Optional:
    return value if value.is_present else other


@declare("optional(A):orValue(A) -> A")
def _or_value(value: Optional, other: Any) -> Any:
    return value.value if value.is_present else other


@declare("optional.unwrap(list(optional(A))) -> list(A)")
@declare("list(optional(A)):unwrapOpt() -> list(A)")
def _unwrap(values: list[Any]) -> list[Any]:
    for value in values:
        if value.__class__ is not Optional:
            raise no_overload("optional.unwrap", value)
    return [value.value for value in values if value.is_present]


# --- lists --------------------------------------------------------------------------------------


@declare("lists.range(int) -> list(int)")
def _range(count: int) -> list[int]:
    if count > LIST_LENGTH_MAX:
        raise EvaluationError("limit", "the list is too long")
    return list(range(count))


@declare("list(A):slice(int, int) -> list(A)")
def _slice(values: list[Any], start: int, end: int) -> list[Any]:
    if not 0 <= start <= end <= len(values):
        raise EvaluationError("index_out_of_range", f"cannot slice from {start} to {end}")
    return values[start:end]


@declare("list(A):first() -> optional(A)", certain=True)
def _first(values: list[Any]) -> Optional:
    return Optional(values[0], True) if values else NONE


@declare("list(A):last() -> optional(A)", certain=True)
def _last(values: list[Any]) -> Optional:
    return Optional(values[-1], True) if values else NONE


@declare("list(A):reverse() -> list(A)", certain=True)
def _reverse(values: list[Any]) -> list[Any]:
    return values[::-1]


@declare("list(list(A)):flatten() -> list(A)", "list(dyn):flatten() -> list(dyn)")
def _flatten(values: list[Any]) -> list[Any]:
    return _flatten_to(values, 1)


@declare("list(dyn):flatten(int) -> list(dyn)")
def _flatten_to(values: list[Any], depth: int) -> list[Any]:
    if depth < 0:
        raise EvaluationError("invalid_argument", "flatten to a negative depth")
    for _ in range(depth):
        if not any(each.__class__ is list for each in values):
            break
        flat: list[Any] = []
        for each in values:
            flat.extend(each if each.__class__ is list else [each])
            if len(flat) > LIST_LENGTH_MAX:
                raise EvaluationError("limit", "the list is too long")
        values = flat
    return values


@declare("list(A):distinct() -> list(A)")
def _distinct(values: list[Any]) -> list[Any]:
    if all(each.__class__ is str for each in values):
        return list(dict.fromkeys(values))
    # Equality of CEL is no equality of Python, so there is no shorter way than to compare all.
    if len(values) > _DISTINCT_MAX:
        raise EvaluationError("limit", "the list is too long")
    found: list[Any] = []
    for value in values:
        if not contained(value, found):
            found.append(value)
    return found


@declare("list(A):sort() -> list(A)")
def _sort(values: list[Any]) -> list[Any]:
    return sort_by(values, values)


def sort_by(values: list[Any], keys: list[Any]) -> list[Any]:
    """*values* in the order of *keys*, which are all of one type that has an order; stable."""
    kinds = {key.__class__ for key in keys}
    if len(kinds) > 1:
        raise no_overload("sort", *keys[:2])
    for key in keys[:1]:
        less(key, key)

    def compare(left: int, right: int) -> int:
        if less(keys[left], keys[right]):
            return -1
        return 1 if less(keys[right], keys[left]) else 0

    return [values[place] for place in sorted(range(len(values)), key=cmp_to_key(compare))]


# --- sets ---------------------------------------------------------------------------------------


@declare("sets.contains(list(A), list(A)) -> bool", certain=True)
def _contains(values: list[Any], wanted: list[Any]) -> bool:
    return all(contained(each, values) for each in wanted)


@declare("sets.equivalent(list(A), list(A)) -> bool", certain=True)
def _equivalent(left: list[Any], right: list[Any]) -> bool:
    return _contains(left, right) and _contains(right, left)


@declare("sets.intersects(list(A), list(A)) -> bool", certain=True)
def _intersects(left: list[Any], right: list[Any]) -> bool:
    return any(contained(each, right) for each in left)
