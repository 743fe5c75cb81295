"""
How CEL's values stand in Python.

=============  ================================  ====================================================
CEL            Python                            Why
=============  ================================  ====================================================
null, bool     ``None``, ``bool``
int            ``int``                           Range is checked by the operation that may leave it.
uint           ``UInt``, a thin ``int``          ``1u == 1`` holds, as CEL wants; the class tells them.
double         ``float``
string, bytes  ``str``, ``bytes``                A string is counted in code points.
list           ``list``                          Never changed once made.
map            ``dict``                          Keys 1, 1u and 1.0 are one key, in CEL and in Python.
                                                 But Python holds True and 1 for one key as well, so
                                                 a bool key stands as ``BoolKey.TRUE`` or ``.FALSE``.
timestamp      ``Timestamp(ns)``                 Nanoseconds since the epoch, years 1 to 9999.
duration       ``Duration(ns)``                  Nanoseconds in 64 bits: 292 years.
type           ``TypeValue(name)``
optional       ``Optional(value, present)``
net.IP         ``Ip``                            ``ipaddress`` of the standard library.
net.CIDR       ``Cidr``
=============  ================================  ====================================================

What JSON gives is such a value as it is, so a field of a request is read with no conversion.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel.errors import EvaluationError
from enforcer.cel.limits import VALUE_DEPTH_MAX

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
UINT_MAX: Final = 2**64 - 1
SECOND_NS: Final = 1_000_000_000
TIMESTAMP_MIN_NS: Final = -62_135_596_800 * SECOND_NS
TIMESTAMP_MAX_NS: Final = 253_402_300_800 * SECOND_NS - 1


class UInt(int):
    """An unsigned integer of 64 bits. Arithmetic makes a plain ``int``: wrap its result again."""

    __slots__ = ()

    def __repr__(self) -> str:
        """As CEL writes it."""
        return f"{int(self)}u"


class BoolKey(enum.Enum):
    """A bool as the key of a map; see the module's text."""

    FALSE = "false"
    TRUE = "true"


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment, in nanoseconds since the epoch."""

    ns: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time, in nanoseconds."""

    ns: int


@dataclass(frozen=True, slots=True)
class TypeValue:
    """A type as a value: ``type(1)`` is ``TypeValue("int")``."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Optional:
    """A value or none. Compare with ``operators.equal``, not with ``==``."""

    value: Any
    is_present: bool


@dataclass(frozen=True, slots=True)
class Ip:
    """A network address. An IPv4 address that is mapped into IPv6 is held as IPv4."""

    address: IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Cidr:
    """A block of network addresses, as written: host bits are kept."""

    address: IPv4Address | IPv6Address
    prefix: int


NONE: Final = Optional(None, False)

TYPE_NAMES: Final[dict[type, str]] = {
    type(None): "null_type",
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    dict: "map",
    Timestamp: "google.protobuf.Timestamp",
    Duration: "google.protobuf.Duration",
    TypeValue: "type",
    Optional: "optional_type",
    Ip: "net.IP",
    Cidr: "net.CIDR",
}


def type_name(value: Any) -> str:
    """The name of a value's type, as ``type()`` says it."""
    return TYPE_NAMES[value.__class__]


def unwrap_key(key: Any) -> Any:
    """A key of a ``dict`` as CEL sees it."""
    return key is BoolKey.TRUE if key.__class__ is BoolKey else key


def wrap_key(key: Any) -> Any:
    """A value as a key of a ``dict``; what cannot be a key is left to the caller."""
    if key.__class__ is bool:
        return BoolKey.TRUE if key else BoolKey.FALSE
    return key


def from_host(value: Any, depth: int = 0) -> Any:
    """
    A value of Python's (as JSON gives it) as a value of CEL's; what is one already stays as it is.

    Raises: EvaluationError, for an integer beyond 64 bits, a text that is not Unicode, a key that is
    no string, bool or integer, a value of another class or nested too deep.
    """
    kind = value.__class__
    if kind is str:
        return _checked_text(value)
    if kind is int:
        return _checked_int(value)
    if kind is list or kind is tuple or kind is dict:
        if depth >= VALUE_DEPTH_MAX:
            raise EvaluationError("limit", f"a value nests deeper than {VALUE_DEPTH_MAX}")
        if kind is dict:
            return {_host_key(k): from_host(v, depth + 1) for k, v in value.items()}
        return [from_host(each, depth + 1) for each in value]
    if kind not in TYPE_NAMES:
        raise EvaluationError("invalid_argument", f"CEL has no value for a Python {kind.__name__}")
    return value


def _host_key(key: Any) -> Any:
    if key.__class__ is bool:
        return wrap_key(key)
    if key.__class__ not in {str, int, UInt, BoolKey}:
        raise EvaluationError("invalid_argument", "a map's keys are strings, bools or integers")
    return from_host(key) if key.__class__ is not BoolKey else key


def _checked_text(value: str) -> str:
    # Lone surrogates are no code points of Unicode; RE2 and UTF-8 refuse them.
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise EvaluationError("invalid_argument", "a string is not valid Unicode") from None
    return value


def _checked_int(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    if 0 <= value <= UINT_MAX:
        return UInt(value)
    raise EvaluationError("out_of_range", "an integer has more than 64 bits")
