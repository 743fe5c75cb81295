"""What is known at a place of an expression: of one value, and of the values that conditions spoke of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel.types import DYN, Type
from enforcer.cel.values import INT_MAX, INT_MIN, UINT_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.policy import fields

Number = int | float


@dataclass(frozen=True, slots=True)
class Range:
    """All numbers from ``low`` to ``high``, both included; infinite where nothing is known."""

    low: Number = -math.inf
    high: Number = math.inf

    def within(self, other: Range) -> bool:
        """Whether all of it lies in *other*."""
        return other.low <= self.low and self.high <= other.high

    def holds(self, number: Number) -> bool:
        """Whether *number* may be it."""
        return self.low <= number <= self.high

    def cut(self, other: Range) -> Range:
        """What is in both; where nothing is, the place is never reached, and *other* is as good."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return Range(low, high) if low <= high else other

    def joined(self, other: Range) -> Range:
        """The least range with both in it."""
        return Range(min(self.low, other.low), max(self.high, other.high))


ANY: Final = Range()
INTS: Final = Range(INT_MIN, INT_MAX)
UINTS: Final = Range(0, UINT_MAX)
LENGTHS: Final = Range(0, 16 * 1024 * 1024)


def _product(left: Number, right: Number) -> Number:
    return 0 if 0 in (left, right) else left * right


def computed(operator: str, left: Range, right: Range) -> Range:
    """Where ``left operator right`` lies, of integers without bounds; a divisor of zero is left out."""
    if operator == "+":
        return Range(left.low + right.low, left.high + right.high)
    if operator == "-":
        return Range(left.low - right.high, left.high - right.low)
    if operator == "*":
        corners = [_product(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
        return Range(min(corners), max(corners))
    if operator == "/":
        most = max(abs(left.low), abs(left.high))
        if left.low >= 0 and right.low > 0:
            return Range(0, left.high)
        return Range(-most, most if right.holds(-1) or left.high > 0 else 0)
    most = max(abs(right.low), abs(right.high)) - 1
    return Range(0 if left.low >= 0 else -most, most)


def compared(operator: str, bound: Range) -> Range:
    """Where a number lies of which ``number operator bound`` is true."""
    if operator in {"<", "<="}:
        return Range(high=bound.high)
    if operator in {">", ">="}:
        return Range(low=bound.low)
    return bound if operator == "==" else ANY


UNKNOWN: Final = object()
"""In place of a value that shows at run time only."""

NUMBER: Final = Type("number")
"""An int, a uint or a double: which one is not known."""


@dataclass(frozen=True, slots=True)
class Known:
    """
    What is known of a value.

    Args:
        type: Its type; ``dyn`` where it shows at run time.
        shape: Of a record or a list of them: its fields.
        range: Of a number or time: where it lies.
        size: Of a text, list or map: how long it is.
        key: What names it, the same for the same value; None of what is computed.
        is_declared: Whether it comes from declared fields, and not from ``attributes`` or ``raw``.
        value: The value itself, in CEL's representation, where the author wrote it.
    """

    type: Type = DYN
    shape: fields.Type | None = None
    range: Range = ANY
    size: Range = LENGTHS
    key: str | None = None
    is_declared: bool = True
    value: Any = UNKNOWN

    @property
    def is_dyn(self) -> bool:
        """Whether its type shows at run time only."""
        return self.type.name in {"dyn", "error"}

    def joined(self, other: Known) -> Known:
        """What is known of a value that is one of two."""
        return Known(
            self.type if self.type == other.type else DYN,
            self.shape if self.shape is other.shape else None,
            self.range.joined(other.range),
            self.size.joined(other.size),
            is_declared=self.is_declared and other.is_declared,
        )


@dataclass(frozen=True, slots=True)
class State:
    """
    What conditions around a place say.

    Args:
        true: Statements that hold, in the words of ``assumptions``: keys that are there, ``isIP(key)``.
        types: Key to type.
        ranges: Key to where its number lies; ``size(key)`` to how long it is.
    """

    true: frozenset[str] = frozenset()
    types: Mapping[str, Type] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)

    def says(self, *statements: str) -> State:
        """With more statements."""
        return replace(self, true=self.true.union(statements))

    def typed(self, key: str, type_: Type) -> State:
        """With the type of a key; that it is some number says nothing of one whose type is known."""
        if type_ == NUMBER and key in self.types:
            return self
        return replace(self, types={**self.types, key: type_})

    def within(self, key: str, range_: Range) -> State:
        """With a number that lies in *range_* too."""
        known = self.ranges.get(key, ANY)
        return replace(self, ranges={**self.ranges, key: known.cut(range_)})

    def either(self, other: State) -> State:
        """What both say."""
        ranges = self.ranges.keys() & other.ranges.keys()
        types = self.types.items() & other.types.items()
        return State(
            self.true & other.true,
            dict(types),
            {key: self.ranges[key].joined(other.ranges[key]) for key in ranges},
        )

    def of(self, known: Known) -> Known:
        """*known* with what conditions say of its key."""
        key = known.key
        if key is None:
            return known
        type_ = self.types.get(key)
        return replace(
            known,
            type=type_
            if type_ is not None and (known.is_dyn or known.type == NUMBER)
            else known.type,
            range=known.range.cut(self.ranges.get(key, ANY)),
            size=known.size.cut(self.ranges.get(f"size({key})", ANY)),
        )
