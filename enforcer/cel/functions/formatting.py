"""``"…".format([…])``: a string with its clauses filled in."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel.errors import EvaluationError
from enforcer.cel.functions.conversions import show_double
from enforcer.cel.functions.times import show_duration, show_timestamp
from enforcer.cel.limits import FORMAT_PRECISION_MAX, TEXT_LENGTH_MAX
from enforcer.cel.values import (
    Cidr,
    Duration,
    Ip,
    Optional,
    Timestamp,
    TypeValue,
    UInt,
    type_name,
    unwrap_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_CLAUSE = re.compile(r"%(?:(%)|(?:\.([0-9]{1,9}))?([a-zA-Z])?)")
_PRECISION_DEFAULT: Final = 6
_INTEGERS: Final = frozenset({int, UInt})


def formatted(text: str, values: list[Any]) -> str:
    """
    Fill in the clauses of *text*: %s %d %f %e %b %o %x %X, with a precision for %f and %e.

    Raises: EvaluationError, for an unknown clause, a missing value, or one of a wrong type.
    """
    parts: list[str] = []
    at = taken = length = 0
    for match in _CLAUSE.finditer(text):
        parts.append(text[at : match.start()])
        at = match.end()
        if match[1]:
            parts.append("%")
            continue
        clause = _CLAUSES.get(match[3] or "")
        if clause is None:
            raise EvaluationError(
                "invalid_argument", f'unrecognized formatting clause "{match[3] or ""}"'
            )
        if taken >= len(values):
            raise EvaluationError("invalid_argument", f"index {taken} out of range")
        precision = int(match[2]) if match[2] else _PRECISION_DEFAULT
        if precision > FORMAT_PRECISION_MAX:
            raise EvaluationError("limit", "the precision is too large")
        parts.append(clause(values[taken], precision))
        taken += 1
        length += len(parts[-1])
        if length > TEXT_LENGTH_MAX:
            raise EvaluationError("limit", "the result is too long")
    parts.append(text[at:])
    return "".join(parts)


def shown(value: Any) -> str:
    """A value as %s writes it."""
    kind = value.__class__
    if kind is str:
        return str(value)
    if kind is list:
        return f"[{', '.join(map(shown, value))}]"
    if kind is dict:
        entries = sorted((shown(unwrap_key(key)), shown(each)) for key, each in value.items())
        return f"{{{', '.join(f'{key}: {each}' for key, each in entries)}}}"
    simple = _SHOWN.get(kind)
    if simple is not None:
        return simple(value)
    if kind is Optional:
        return f"optional({shown(value.value)})" if value.is_present else "optional.none()"
    raise _refused("string", value)


def _refused(clause: str, value: Any) -> EvaluationError:
    return EvaluationError(
        "invalid_argument", f"the {clause} clause cannot format {type_name(value)}"
    )


def _special(value: Any) -> str | None:
    """NaN and the infinities, which every clause for numbers knows."""
    if value.__class__ is float and not math.isfinite(value):
        return show_double(value)
    return None


def _decimal(value: Any, _precision: int) -> str:
    if value.__class__ in _INTEGERS:
        return str(int(value))
    special = _special(value)
    if special is None:
        raise _refused("decimal", value)
    return special


def _double(clause: str, value: Any) -> float:
    if value.__class__ is float or value.__class__ in _INTEGERS:
        number: Any = value
        return float(number)
    raise _refused(clause, value)


def _named(value: Any) -> str | None:
    """As ``_special``; the clauses for doubles know their names as strings too."""
    if value.__class__ is str and value in {"NaN", "Infinity", "-Infinity"}:
        return str(value)
    return _special(value)


def _fixed(value: Any, precision: int) -> str:
    return _named(value) or f"{_double('fixed-point', value):.{precision}f}"


def _scientific(value: Any, precision: int) -> str:
    return _named(value) or f"{_double('scientific', value):.{precision}e}"


def _binary(value: Any, _precision: int) -> str:
    if value.__class__ is bool or value.__class__ in _INTEGERS:
        return f"{int(value):b}"
    raise _refused("binary", value)


def _octal(value: Any, _precision: int) -> str:
    if value.__class__ in _INTEGERS:
        return f"{int(value):o}"
    raise _refused("octal", value)


def _hexadecimal(value: Any, _precision: int) -> str:
    if value.__class__ in _INTEGERS:
        return f"{int(value):x}"
    if value.__class__ is str:
        return str(value.encode("utf-8", "replace").hex())
    if value.__class__ is bytes:
        return str(value.hex())
    raise _refused("hexadecimal", value)


_SHOWN: Final[dict[type, Callable[[Any], str]]] = {
    type(None): lambda _: "null",
    bool: lambda value: "true" if value else "false",
    int: str,
    UInt: lambda value: str(int(value)),
    float: show_double,
    bytes: lambda value: value.decode("utf-8", "replace"),
    Timestamp: show_timestamp,
    Duration: show_duration,
    TypeValue: lambda value: value.name,
    Ip: lambda value: str(value.address),
    Cidr: lambda value: f"{value.address}/{value.prefix}",
}
_CLAUSES: Final[dict[str, Callable[[Any, int], str]]] = {
    "s": lambda value, _: shown(value),
    "d": _decimal,
    "f": _fixed,
    "e": _scientific,
    "b": _binary,
    "o": _octal,
    "x": _hexadecimal,
    "X": lambda value, precision: _hexadecimal(value, precision).upper(),
}
