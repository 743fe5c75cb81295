"""The math extension."""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel.errors import EvaluationError
from enforcer.cel.operators import int_of, less
from enforcer.cel.registry import declare, no_overload
from enforcer.cel.values import UINT_MAX, UInt

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBERS: Final = frozenset({int, UInt, float})
_BITS: Final = 64
_NUMBER_TYPES: Final = ("int", "uint", "double")


def _operands(name: str, arguments: tuple[Any, ...]) -> list[Any]:
    if len(arguments) == 1 and arguments[0].__class__ is list:
        arguments = tuple(arguments[0])
    if not arguments:
        raise EvaluationError("invalid_argument", f"{name} of nothing")
    for each in arguments:
        if each.__class__ not in _NUMBERS:
            raise no_overload(name, *arguments)
    return list(arguments)


def greatest(*arguments: Any) -> Any:
    """The largest of some numbers, or of a list of them; of equal ones the first."""
    return reduce(lambda a, b: b if less(a, b) else a, _operands("math.greatest", arguments))


def least(*arguments: Any) -> Any:
    """The smallest of some numbers, or of a list of them; of equal ones the first."""
    return reduce(lambda a, b: b if less(b, a) else a, _operands("math.least", arguments))


EXTREMES: Final[dict[str, Callable[..., Any]]] = {"math.greatest": greatest, "math.least": least}
"""Functions with any number of arguments, which no signature can say."""


def _unary(name: str, function: Callable[[float], float]) -> None:
    def rounded(value: float) -> float:
        return function(value) if math.isfinite(value) else value

    declare(f"math.{name}(double) -> double", certain=True)(rounded)


def _away_from_zero(value: float) -> float:
    # floor(x + 0.5) is wrong just below a half, and for large odd numbers.
    whole = float(math.trunc(value))
    return whole + math.copysign(1.0, value) if abs(value - whole) >= 0.5 else whole


_unary("ceil", lambda value: float(math.ceil(value)))
_unary("floor", lambda value: float(math.floor(value)))
_unary("trunc", lambda value: float(math.trunc(value)))
_unary("round", _away_from_zero)


@declare("math.sqrt(double) -> double", "math.sqrt(int) -> double", certain=True)
@declare("math.sqrt(uint) -> double", certain=True)
def _sqrt(value: float) -> float:
    return math.sqrt(value) if value >= 0 else math.nan


@declare("math.abs(int) -> int")
def _abs_int(value: int) -> int:
    return int_of(abs(value))


@declare("math.abs(double) -> double", certain=True)
def _abs_double(value: float) -> float:
    return abs(value)


@declare("math.abs(uint) -> uint", certain=True)
def _abs_uint(value: UInt) -> UInt:
    return value


@declare("math.sign(int) -> int", certain=True)
def _sign_int(value: int) -> int:
    return (value > 0) - (value < 0)


@declare("math.sign(uint) -> uint", certain=True)
def _sign_uint(value: UInt) -> UInt:
    return UInt(value > 0)


@declare("math.sign(double) -> double", certain=True)
def _sign_double(value: float) -> float:
    return value if math.isnan(value) else float((value > 0) - (value < 0))


declare("math.isNaN(double) -> bool", certain=True)(math.isnan)
declare("math.isInf(double) -> bool", certain=True)(math.isinf)
declare("math.isFinite(double) -> bool", certain=True)(math.isfinite)


def _signed(bits: int) -> int:
    bits &= UINT_MAX
    return bits - 2**_BITS if bits >> (_BITS - 1) else bits


def _bitwise(name: str, function: Callable[[int, int], int]) -> None:
    declare(f"math.{name}(int, int) -> int", certain=True)(function)

    def unsigned(left: UInt, right: UInt) -> UInt:
        return UInt(function(int(left), int(right)))

    declare(f"math.{name}(uint, uint) -> uint", certain=True)(unsigned)


_bitwise("bitAnd", lambda left, right: left & right)
_bitwise("bitOr", lambda left, right: left | right)
_bitwise("bitXor", lambda left, right: left ^ right)


@declare("math.bitNot(int) -> int", certain=True)
def _not_int(value: int) -> int:
    return ~value


@declare("math.bitNot(uint) -> uint", certain=True)
def _not_uint(value: UInt) -> UInt:
    return UInt(~int(value) & UINT_MAX)


def _shift(bits: int) -> int:
    if bits < 0:
        raise EvaluationError("invalid_argument", "math.bitShift by a negative offset")
    return min(bits, _BITS)


@declare("math.bitShiftLeft(int, int) -> int")
def _left_int(value: int, bits: int) -> int:
    return _signed(value << _shift(bits))


@declare("math.bitShiftLeft(uint, int) -> uint")
def _left_uint(value: UInt, bits: int) -> UInt:
    return UInt(int(value) << _shift(bits) & UINT_MAX)


@declare("math.bitShiftRight(int, int) -> int")
def _right_int(value: int, bits: int) -> int:
    # Zeros come in from the left, for negative numbers too.
    return _signed((value & UINT_MAX) >> _shift(bits))


@declare("math.bitShiftRight(uint, int) -> uint")
def _right_uint(value: UInt, bits: int) -> UInt:
    return UInt(int(value) >> _shift(bits))
