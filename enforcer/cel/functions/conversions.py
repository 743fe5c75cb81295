"""Conversions between types, and a number as a text."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from enforcer.cel.errors import EvaluationError
from enforcer.cel.functions.times import (
    parse_duration,
    parse_timestamp,
    show_duration,
    show_timestamp,
)
from enforcer.cel.operators import timestamp_of
from enforcer.cel.registry import declare
from enforcer.cel.values import (
    INT_MAX,
    INT_MIN,
    SECOND_NS,
    UINT_MAX,
    Duration,
    Timestamp,
    TypeValue,
    UInt,
    type_name,
)

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL: Final = {
    "nan": math.nan,
    "inf": math.inf,
    "+inf": math.inf,
    "-inf": -math.inf,
    "infinity": math.inf,
    "+infinity": math.inf,
    "-infinity": -math.inf,
}
_BOOLS: Final = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
_NUMBER_CHARACTERS_MAX: Final = 400


def out_of_range() -> EvaluationError:
    """The error of a number that the wanted type does not have."""
    return EvaluationError("out_of_range", "the number is out of range")


def show_double(value: float) -> str:
    """The shortest text that reads back as *value*, with an exponent from 1e21 and below 1e-6."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = repr(value)
    if "e" not in text:
        return text.removesuffix(".0")
    return _plain(text) if 1e-6 <= abs(value) < 1e21 else text


def _plain(text: str) -> str:
    """A number's text with its exponent worked in."""
    digits, _, exponent_text = text.partition("e")
    sign = "-" if digits.startswith("-") else ""
    whole, _, rest = digits.removeprefix("-").partition(".")
    exponent = int(exponent_text)
    if exponent > 0:
        return sign + whole + rest.removesuffix("0").ljust(exponent, "0")
    return f"{sign}0.{'0' * (-exponent - 1)}{whole}{rest}"


# --- to a number --------------------------------------------------------------------------------


@declare("int(int) -> int", "uint(uint) -> uint", "double(double) -> double", certain=True)
@declare("string(string) -> string", "bytes(bytes) -> bytes", "bool(bool) -> bool", certain=True)
@declare("timestamp(timestamp) -> timestamp", "duration(duration) -> duration", certain=True)
@declare("dyn(A) -> dyn", certain=True)
def _same(value: Any) -> Any:
    return value


@declare("int(uint) -> int")
def _int_of_uint(value: UInt) -> int:
    if value > INT_MAX:
        raise out_of_range()
    return int(value)


@declare("int(double) -> int")
def _int_of_double(value: float) -> int:
    # Both bounds are excluded, for the nearest doubles are beyond the range or not exact.
    if not INT_MIN < value < INT_MAX or value >= 2.0**63:
        raise out_of_range()
    return int(value)


@declare("int(string) -> int")
def _int_of_text(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise EvaluationError("invalid_argument", "the string is no integer")
    value = int(text)
    if not INT_MIN <= value <= INT_MAX:
        raise out_of_range()
    return value


@declare("int(timestamp) -> int", certain=True)
def _int_of_timestamp(at: Timestamp) -> int:
    return at.ns // SECOND_NS


@declare("int(duration) -> int", certain=True)
def _int_of_duration(span: Duration) -> int:
    return abs(span.ns) // SECOND_NS * (-1 if span.ns < 0 else 1)


@declare("uint(int) -> uint")
def _uint_of_int(value: int) -> UInt:
    if value < 0:
        raise out_of_range()
    return UInt(value)


@declare("uint(double) -> uint")
def _uint_of_double(value: float) -> UInt:
    if not 0.0 <= value < 2.0**64:
        raise out_of_range()
    return UInt(value)


@declare("uint(string) -> uint")
def _uint_of_text(text: str) -> UInt:
    if not _INTEGER.fullmatch(text) or text[0] in "+-":
        raise EvaluationError("invalid_argument", "the string is no unsigned integer")
    value = int(text)
    if value > UINT_MAX:
        raise out_of_range()
    return UInt(value)


@declare("double(int) -> double", "double(uint) -> double", certain=True)
def _double_of_integer(value: int) -> float:
    return float(value)


@declare("double(string) -> double")
def _double_of_text(text: str) -> float:
    if len(text) <= _NUMBER_CHARACTERS_MAX:
        special = _SPECIAL.get(text.lower())
        if special is not None:
            return special
        if _DECIMAL.fullmatch(text):
            return float(text)
    raise EvaluationError("invalid_argument", "the string is no number")


# --- to anything else ---------------------------------------------------------------------------


@declare("string(int) -> string", "string(uint) -> string", certain=True)
def _text_of_integer(value: int) -> str:
    return str(int(value))


declare("string(double) -> string", certain=True)(show_double)
declare("string(timestamp) -> string", certain=True)(show_timestamp)
declare("string(duration) -> string", certain=True)(show_duration)
declare("timestamp(string) -> timestamp")(parse_timestamp)
declare("duration(string) -> duration")(parse_duration)


@declare("string(bool) -> string", certain=True)
def _text_of_bool(value: bool) -> str:  # noqa: FBT001 — the operand
    return "true" if value else "false"


@declare("string(bytes) -> string")
def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EvaluationError("invalid_argument", "the bytes are not valid UTF-8") from None


@declare("bytes(string) -> bytes")
def _bytes_of_text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise EvaluationError("invalid_argument", "the string is not valid Unicode") from None


@declare("bool(string) -> bool")
def _bool_of_text(text: str) -> bool:
    value = _BOOLS.get(text)
    if value is None:
        raise EvaluationError("invalid_argument", "the string is no bool")
    return value


@declare("timestamp(int) -> timestamp")
def _timestamp_of_int(seconds: int) -> Timestamp:
    return timestamp_of(seconds * SECOND_NS)


@declare("duration(int) -> duration")
def _duration_of_int(seconds: int) -> Duration:
    ns = seconds * SECOND_NS
    if not INT_MIN <= ns <= INT_MAX:
        raise out_of_range()
    return Duration(ns)


@declare("type(A) -> type(A)", certain=True)
def _type(value: Any) -> TypeValue:
    return TypeValue(type_name(value))
