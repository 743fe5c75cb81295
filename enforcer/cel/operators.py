"""
Operators on values whose types show at run time: equality, order, arithmetic, indexing, presence.

Where static types are known the compiler writes the operation itself; these are what it falls back to.
"""

from __future__ import annotations

import math
from typing import Any, Final

from enforcer.cel.errors import EvaluationError
from enforcer.cel.limits import LIST_LENGTH_MAX, TEXT_LENGTH_MAX
from enforcer.cel.registry import no_overload
from enforcer.cel.values import (
    INT_MAX,
    INT_MIN,
    NONE,
    TIMESTAMP_MAX_NS,
    TIMESTAMP_MIN_NS,
    UINT_MAX,
    BoolKey,
    Cidr,
    Duration,
    Ip,
    Optional,
    Timestamp,
    UInt,
    unwrap_key,
    wrap_key,
)

_NUMBERS: Final = frozenset({int, UInt, float})
_TEXTS: Final = frozenset({str, bytes})
_ORDERED: Final = frozenset({bool, int, UInt, float, str, bytes, Timestamp, Duration})
_TIMES: Final = frozenset({Timestamp, Duration})
_KEYS: Final = frozenset({str, int, UInt, BoolKey})


# --- equality and order -------------------------------------------------------------------------


def equal(left: Any, right: Any) -> bool:
    """``==``: values of different types differ, but numbers compare by value. It never errs."""
    kind, other = left.__class__, right.__class__
    if kind is str or other is str:
        return bool(left == right)
    if kind is bool or other is bool:
        return left is right
    if kind is list and other is list:
        return len(left) == len(right) and all(map(equal, left, right))
    if kind is dict and other is dict:
        return _equal_maps(left, right)
    if kind is float or other is float:
        return kind in _NUMBERS and other in _NUMBERS and float(left) == float(right)
    if kind is Optional and other is Optional:
        if left.is_present and right.is_present:
            return equal(left.value, right.value)
        return left.is_present is right.is_present
    return bool(left == right)


def unequal(left: Any, right: Any) -> bool:
    """``!=``."""
    return not equal(left, right)


def _equal_maps(left: dict[Any, Any], right: dict[Any, Any]) -> bool:
    if left.keys() != right.keys():
        return False
    return all(equal(value, right[key]) for key, value in left.items())


def less(left: Any, right: Any) -> bool:
    """``<``."""
    kind, other = left.__class__, right.__class__
    if kind is other and kind in _ORDERED:
        return bool(left < right)
    if kind in _NUMBERS and other in _NUMBERS:
        if kind is float or other is float:
            # As other implementations do: the integer is rounded to the nearest double.
            return float(left) < float(right)
        return bool(left < right)
    raise no_overload("_<_", left, right)


def less_or_equal(left: Any, right: Any) -> bool:
    """``<=``."""
    kind, other = left.__class__, right.__class__
    if kind is other and kind in _ORDERED:
        return bool(left <= right)
    if kind in _NUMBERS and other in _NUMBERS:
        if kind is float or other is float:
            return float(left) <= float(right)
        return bool(left <= right)
    raise no_overload("_<=_", left, right)


def greater(left: Any, right: Any) -> bool:
    """``>``."""
    return less(right, left)


def greater_or_equal(left: Any, right: Any) -> bool:
    """``>=``."""
    return less_or_equal(right, left)


# --- arithmetic ---------------------------------------------------------------------------------


def overflow() -> EvaluationError:
    """The error of an integer, time or duration that leaves its range."""
    return EvaluationError("overflow", "the result is out of range")


def int_of(value: int) -> int:
    """*value*, if it is an int of 64 bits."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise overflow()


def uint_of(value: int) -> UInt:
    """*value* as a uint, if it is one."""
    if 0 <= value <= UINT_MAX:
        return UInt(value)
    raise overflow()


def timestamp_of(ns: int) -> Timestamp:
    """A moment, if it lies in the years 1 to 9999."""
    if TIMESTAMP_MIN_NS <= ns <= TIMESTAMP_MAX_NS:
        return Timestamp(ns)
    raise EvaluationError("out_of_range", "the timestamp is out of range")


def duration_of(ns: int) -> Duration:
    """A span, if it has 64 bits of nanoseconds."""
    if INT_MIN <= ns <= INT_MAX:
        return Duration(ns)
    raise EvaluationError("out_of_range", "the duration is out of range")


def joined(left: Any, right: Any) -> Any:
    """Two strings, bytes or lists as one, within bounds."""
    limit = LIST_LENGTH_MAX if left.__class__ is list else TEXT_LENGTH_MAX
    if len(left) + len(right) > limit:
        raise EvaluationError("limit", "the result is too long")
    return left + right


def add(left: Any, right: Any) -> Any:
    """``+``."""
    kind, other = left.__class__, right.__class__
    if kind is other:
        if kind is int:
            return int_of(left + right)
        if kind is float:
            return left + right
        if kind in _TEXTS or kind is list:
            return joined(left, right)
        if kind is UInt:
            return uint_of(left + right)
        if kind is Duration:
            return duration_of(left.ns + right.ns)
    elif kind in _TIMES and other in _TIMES:
        return timestamp_of(left.ns + right.ns)
    raise no_overload("_+_", left, right)


def subtract(left: Any, right: Any) -> Any:
    """``-`` between two."""
    kind, other = left.__class__, right.__class__
    if kind is other:
        if kind is int:
            return int_of(left - right)
        if kind is float:
            return left - right
        if kind is UInt:
            return uint_of(int(left) - int(right))
        if kind in _TIMES:
            return duration_of(left.ns - right.ns)
    elif kind is Timestamp and other is Duration:
        return timestamp_of(left.ns - right.ns)
    raise no_overload("_-_", left, right)


def multiply(left: Any, right: Any) -> Any:
    """``*``."""
    kind = left.__class__
    if kind is right.__class__:
        if kind is int:
            return int_of(left * right)
        if kind is float:
            return left * right
        if kind is UInt:
            return uint_of(left * right)
    raise no_overload("_*_", left, right)


def divide(left: Any, right: Any) -> Any:
    """``/``: integers round toward zero, doubles know infinity."""
    kind = left.__class__
    if kind is right.__class__ and kind in _NUMBERS:
        if kind is float:
            return _divide_doubles(left, right)
        if right == 0:
            raise EvaluationError("divide_by_zero", "division by zero")
        quotient = abs(int(left)) // abs(int(right))
        if kind is UInt:
            return UInt(quotient)
        return int_of(quotient if (left < 0) is (right < 0) else -quotient)
    raise no_overload("_/_", left, right)


def _divide_doubles(left: float, right: float) -> float:
    if right != 0.0:
        return left / right
    if left == 0.0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def modulo(left: Any, right: Any) -> Any:
    """``%``: the sign of the left operand; integers only."""
    kind = left.__class__
    if kind is right.__class__ and (kind is int or kind is UInt):
        if right == 0:
            raise EvaluationError("divide_by_zero", "modulus by zero")
        rest = abs(int(left)) % abs(int(right))
        if kind is UInt:
            return UInt(rest)
        return -rest if left < 0 else rest
    raise no_overload("_%_", left, right)


def negate(value: Any) -> Any:
    """``-`` before one."""
    if value.__class__ is int:
        return int_of(-value)
    if value.__class__ is float:
        return -value
    raise no_overload("-_", value)


def invert(value: Any) -> bool:
    """``!``."""
    if value is True:
        return False
    if value is False:
        return True
    raise no_overload("!_", value)


def truth(value: Any) -> bool:
    """A condition, which must be a bool."""
    if value is True or value is False:
        return bool(value)
    raise no_overload("condition", value)


# --- containers ---------------------------------------------------------------------------------


def no_key(key: Any) -> EvaluationError:
    """The error of a key that a map does not have. It names the key only where an author wrote it."""
    name = f": {key}" if key.__class__ is str and len(key) <= 64 and key.isidentifier() else ""
    return EvaluationError("no_such_key", f"no such key{name}")


def contained(item: Any, container: Any) -> bool:
    """``in``: an element of a list, or a key of a map."""
    if container.__class__ is list:
        if item.__class__ is str:
            return item in container
        return any(equal(item, each) for each in container)
    if container.__class__ is dict:
        key = wrap_key(item)
        return (key.__class__ in _KEYS or key.__class__ is float) and key in container
    raise no_overload("_in_", item, container)


def text_in(item: Any, texts: frozenset[str]) -> bool:
    """``in`` a list of nothing but strings, which an author wrote out."""
    return item.__class__ is str and item in texts


def select(value: Any, name: str) -> Any:
    """``value.name``."""
    if value.__class__ is dict:
        try:
            return value[name]
        except KeyError:
            raise no_key(name) from None
    if value.__class__ is Optional:
        return select_optional(value, name)
    raise EvaluationError("no_such_overload", f"no field `{name}`: the value is no map")


def select_optional(value: Any, name: str) -> Optional:
    """``value.?name``."""
    if value.__class__ is Optional:
        if not value.is_present:
            return NONE
        value = value.value
    if value.__class__ is dict:
        return Optional(value[name], True) if name in value else NONE
    raise EvaluationError("no_such_overload", f"no field `{name}`: the value is no map")


def has(value: Any, name: str) -> bool:
    """``has(value.name)``."""
    if value.__class__ is Optional:
        if not value.is_present:
            return False
        value = value.value
    if value.__class__ is dict:
        return name in value
    raise EvaluationError("no_such_overload", f"no field `{name}`: the value is no map")


def index(value: Any, at: Any) -> Any:
    """``value[at]``."""
    if value.__class__ is dict and at.__class__ is str:
        return select(value, at)
    if value.__class__ is list and at.__class__ is int and 0 <= at < len(value):
        return value[at]
    if value.__class__ is Optional:
        return index_optional(value, at)
    found = _find(value, at)
    if found.is_present:
        return found.value
    if value.__class__ is list:
        raise EvaluationError("index_out_of_range", f"index out of range: {position(at)}")
    raise no_key(at)


def index_optional(value: Any, at: Any) -> Optional:
    """``value[?at]``."""
    if value.__class__ is Optional:
        return _find(value.value, at) if value.is_present else NONE
    return _find(value, at)


def _find(value: Any, at: Any) -> Optional:
    if value.__class__ is dict:
        key = wrap_key(at)
        if key.__class__ in _KEYS or key.__class__ is float:
            return Optional(value[key], True) if key in value else NONE
        raise EvaluationError("no_such_key", f"no such key: {at.__class__.__name__} is no key")
    if value.__class__ is list:
        place = position(at)
        return Optional(value[place], True) if 0 <= place < len(value) else NONE
    raise no_overload("_[_]", value, at)


def position(at: Any) -> int:
    """An index of a list: an int, or a number that is one."""
    if at.__class__ is int:
        return int(at)
    if at.__class__ is UInt or (at.__class__ is float and at.is_integer()):
        return int(at)
    raise EvaluationError("invalid_argument", "an index of a list is an integer")


def make_map(entries: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A map from its entries; a key of a wrong type or twice is an error."""
    made: dict[Any, Any] = {}
    for key, value in entries:
        put(made, key, value)
    return made


def put(made: dict[Any, Any], key: Any, value: Any) -> None:
    """Add an entry to a map in the making."""
    wrapped = wrap_key(key)
    if wrapped.__class__ not in _KEYS:
        raise EvaluationError("invalid_argument", "unsupported key type")
    if wrapped in made:
        raise EvaluationError("invalid_argument", "a key stands twice in a map")
    made[wrapped] = value


def put_all(made: dict[Any, Any], entries: Any) -> None:
    """Add the entries that one step of ``transformMapEntry`` gave."""
    if entries.__class__ is not dict:
        raise no_overload("transformMapEntry", entries)
    for key, value in entries.items():
        put(made, unwrap_key(key), value)


def optional_value(value: Any) -> Optional:
    """The operand of ``[?x]`` and ``{?k: x}``."""
    if value.__class__ is Optional:
        found: Optional = value
        return found
    raise no_overload("optional element", value)


def elements(value: Any) -> list[Any]:
    """What a macro with one variable runs over: elements, or keys."""
    if value.__class__ is list:
        found: list[Any] = value
        return found
    if value.__class__ is dict:
        return [unwrap_key(key) for key in value]
    raise no_overload("comprehension", value)


def pairs(value: Any) -> list[tuple[Any, Any]]:
    """What a macro with two variables runs over: positions and elements, or keys and values."""
    if value.__class__ is list:
        return list(enumerate(value))
    if value.__class__ is dict:
        return [(unwrap_key(key), each) for key, each in value.items()]
    raise no_overload("comprehension", value)


def spend(budget: list[int], range_: Any) -> None:
    """Take the steps of a macro within a macro off what an evaluation has left."""
    if range_.__class__ is list or range_.__class__ is dict:
        budget[0] -= len(range_)
    if budget[0] < 0:
        raise EvaluationError("limit", "the expression takes too many steps")


def is_zero(value: Any) -> bool:
    """Whether a value is its type's zero: false, 0, empty, null, the epoch."""
    if value is None or value.__class__ in {bool, int, UInt, float, str, bytes, list, dict}:
        return not value
    if isinstance(value, Timestamp | Duration):
        return value.ns == 0
    if value.__class__ is Optional:
        return not value.is_present
    return value.__class__ not in {Ip, Cidr}
