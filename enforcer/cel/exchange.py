"""
Values and types in JSON: plain, and as the protobuf JSON of ``cel.expr.Value`` and ``cel.expr.Type``.

Plain JSON has no form for everything: bytes are base64, doubles that are not finite are ``NaN``,
``Infinity`` or ``-Infinity``, timestamps are RFC 3339, durations ``1.5s``, types their names, an optional is
its value or null, and the keys of maps are strings.
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel.errors import EvaluationError
from enforcer.cel.functions.conversions import show_double
from enforcer.cel.functions.formatting import shown
from enforcer.cel.functions.times import (
    parse_duration,
    parse_timestamp,
    show_duration,
    show_timestamp,
)
from enforcer.cel.operators import make_map
from enforcer.cel.registry import Overload
from enforcer.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    ERROR,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    list_of,
    map_of,
    type_of,
)
from enforcer.cel.values import (
    NONE,
    Cidr,
    Duration,
    Ip,
    Optional,
    Timestamp,
    TypeValue,
    UInt,
    from_host,
    unwrap_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TIMESTAMP_URL: Final = "type.googleapis.com/google.protobuf.Timestamp"
_DURATION_URL: Final = "type.googleapis.com/google.protobuf.Duration"
_PRIMITIVES: Final[dict[str, Type]] = {
    "BOOL": BOOL,
    "INT64": INT,
    "UINT64": UINT,
    "DOUBLE": DOUBLE,
    "STRING": STRING,
    "BYTES": BYTES,
}
_PRIMITIVE_NAMES: Final = {type_: name for name, type_ in _PRIMITIVES.items()}
_WELL_KNOWN: Final[dict[str, Type]] = {"ANY": DYN, "TIMESTAMP": TIMESTAMP, "DURATION": DURATION}
_WELL_KNOWN_NAMES: Final = {TIMESTAMP: "TIMESTAMP", DURATION: "DURATION"}
_MESSAGES: Final[dict[str, Type]] = {
    "google.protobuf.Timestamp": TIMESTAMP,
    "google.protobuf.Duration": DURATION,
    "google.protobuf.Any": DYN,
    "google.protobuf.Value": DYN,
    "google.protobuf.Struct": map_of(STRING, DYN),
    "google.protobuf.ListValue": list_of(DYN),
}


def bad(what: str) -> EvaluationError:
    """The error of JSON that is no value or type."""
    return EvaluationError("invalid_argument", what)


# --- plain JSON ---------------------------------------------------------------------------------


def to_plain(value: Any) -> Any:
    """*value* as plain JSON."""
    kind = value.__class__
    if kind is float:
        return value if math.isfinite(value) else show_double(value)
    if kind is UInt:
        return int(value)
    if kind is bytes:
        return base64.b64encode(value).decode()
    if kind is list:
        return [to_plain(each) for each in value]
    if kind is dict:
        return {shown(unwrap_key(key)): to_plain(each) for key, each in value.items()}
    if kind is Optional:
        return to_plain(value.value)
    if kind in {Timestamp, Duration, TypeValue, Ip, Cidr}:
        return shown(value)
    return value


# --- cel.expr.Value -----------------------------------------------------------------------------


def to_typed(value: Any) -> dict[str, Any]:
    """*value* in the protobuf JSON of ``cel.expr.Value``."""
    return _TO_TYPED[value.__class__](value)


def _double_to_json(value: float) -> dict[str, Any]:
    return {"double_value": to_plain(value)}


def _list_to_json(value: list[Any]) -> dict[str, Any]:
    return {"list_value": {"values": [to_typed(each) for each in value]} if value else {}}


def _map_to_json(value: dict[Any, Any]) -> dict[str, Any]:
    entries = [
        {"key": to_typed(unwrap_key(key)), "value": to_typed(each)} for key, each in value.items()
    ]
    return {"map_value": {"entries": entries} if entries else {}}


def _object(url: str, text: str) -> dict[str, Any]:
    return {"object_value": {"@type": url, "value": text}}


def _optional_to_json(value: Optional) -> dict[str, Any]:
    # The specification has no form for an optional; other implementations do as this.
    inner = {"value": to_typed(value.value)} if value.is_present else {}
    return {"object_value": {"@type": "type.googleapis.com/cel.expr.OptionalValue", **inner}}


_TO_TYPED: Final[dict[type, Callable[[Any], dict[str, Any]]]] = {
    type(None): lambda _: {"null_value": None},
    bool: lambda value: {"bool_value": value},
    int: lambda value: {"int64_value": str(value)},
    UInt: lambda value: {"uint64_value": str(int(value))},
    float: _double_to_json,
    str: lambda value: {"string_value": value},
    bytes: lambda value: {"bytes_value": base64.b64encode(value).decode()},
    list: _list_to_json,
    dict: _map_to_json,
    Timestamp: lambda value: _object(_TIMESTAMP_URL, show_timestamp(value)),
    Duration: lambda value: _object(_DURATION_URL, show_duration(value)),
    TypeValue: lambda value: {"type_value": value.name},
    Optional: _optional_to_json,
    Ip: lambda value: _object("type.googleapis.com/net.IP", shown(value)),
    Cidr: lambda value: _object("type.googleapis.com/net.CIDR", shown(value)),
}


def from_typed(json: Any) -> Any:
    """
    A value from the protobuf JSON of ``cel.expr.Value``.

    Raises: EvaluationError, for what is no such JSON, or a message other than a timestamp or duration.
    """
    if not isinstance(json, dict) or len(json) != 1:
        raise bad("a value is an object with one field")
    ((field, value),) = json.items()
    read = _FROM_TYPED.get(field)
    if read is None:
        raise bad(f"`{field}` is no kind of value")
    try:
        return read(value)
    except (TypeError, ValueError, LookupError, AttributeError, binascii.Error):
        raise bad(f"`{field}` does not hold what its name says") from None


def _of_class(wanted: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value.__class__ is not wanted:
            raise TypeError(value)
        return from_host(value)

    return read


def _double(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    return float(value)


def _int(value: Any) -> int:
    found = from_host(int(str(value)))
    if found.__class__ is not int:
        raise ValueError(value)
    return int(found)


def _uint(value: Any) -> UInt:
    found = int(str(value))
    from_host(found)
    if found < 0:
        raise ValueError(value)
    return UInt(found)


def _map(value: dict[str, Any]) -> dict[Any, Any]:
    entries = value.get("entries", [])
    return make_map([(from_typed(each["key"]), from_typed(each["value"])) for each in entries])


def _message(value: dict[str, Any]) -> Any:
    if value["@type"] == _TIMESTAMP_URL:
        return parse_timestamp(value["value"])
    if value["@type"] == _DURATION_URL:
        return parse_duration(value["value"])
    if value["@type"].endswith("/cel.expr.OptionalValue"):
        return Optional(from_typed(value["value"]), True) if "value" in value else NONE
    raise bad("there are no messages here")


_FROM_TYPED: Final[dict[str, Callable[[Any], Any]]] = {
    "null_value": lambda _: None,
    "bool_value": _of_class(bool),
    "int64_value": _int,
    "uint64_value": _uint,
    "double_value": _double,
    "string_value": _of_class(str),
    "bytes_value": lambda value: base64.b64decode(value, validate=True),
    "list_value": lambda value: [from_typed(each) for each in value.get("values", [])],
    "map_value": _map,
    "type_value": lambda value: TypeValue(str(value)),
    "object_value": _message,
}


# --- cel.expr.Type and declarations -------------------------------------------------------------


def type_to_json(type_: Type) -> dict[str, Any]:
    """*type_* in the protobuf JSON of ``cel.expr.Type``."""
    if type_ in _PRIMITIVE_NAMES:
        return {"primitive": _PRIMITIVE_NAMES[type_]}
    if type_ in _WELL_KNOWN_NAMES:
        return {"well_known": _WELL_KNOWN_NAMES[type_]}
    if type_ in {DYN, ERROR}:
        return {type_.name: {}}
    if type_ == NULL:
        return {"null": None}
    below = [type_to_json(each) for each in type_.parameters]
    if type_.name == "list":
        return {"list_type": {"elem_type": below[0]}}
    if type_.name == "map":
        return {"map_type": {"key_type": below[0], "value_type": below[1]}}
    if type_.name == "type":
        return {"type": below[0]}
    name = "optional_type" if type_.name == "optional" else type_.name
    return {"abstract_type": {"name": name, "parameter_types": below} if below else {"name": name}}


def type_from_json(json: Any) -> Type:
    """
    A type from the protobuf JSON of ``cel.expr.Type``.

    Raises: EvaluationError.
    """
    try:
        ((kind, inner),) = json.items()
        return _TYPE_FROM_JSON[kind](inner)
    except (AttributeError, ValueError, LookupError, TypeError):
        raise bad("a declared type is none of cel.expr.Type") from None


def _abstract(json: dict[str, Any]) -> Type:
    name = "optional" if json["name"] == "optional_type" else str(json["name"])
    return Type(name, tuple(map(type_from_json, json.get("parameter_types", []))))


def _message_type(name: str) -> Type:
    return _MESSAGES.get(name, Type(name))


_TYPE_FROM_JSON: Final[dict[str, Callable[[Any], Type]]] = {
    "primitive": lambda name: _PRIMITIVES[name],
    # A wrapper is its primitive or null, and null is of no primitive type.
    "wrapper": lambda _: DYN,
    "well_known": lambda name: _WELL_KNOWN[name],
    "list_type": lambda inner: list_of(type_from_json(inner["elem_type"])),
    "map_type": lambda inner: map_of(
        type_from_json(inner["key_type"]), type_from_json(inner["value_type"])
    ),
    "abstract_type": _abstract,
    "message_type": _message_type,
    "type_param": lambda name: Type(f"@{name}"),
    "type": lambda inner: type_of(type_from_json(inner) if inner else DYN),
    "dyn": lambda _: DYN,
    "null": lambda _: NULL,
    "error": lambda _: ERROR,
}


def overloads_from_json(declaration: Mapping[str, Any]) -> list[Overload]:
    """
    The overloads of a declared function.

    Raises: EvaluationError.
    """
    try:
        return [
            Overload(
                declaration["name"],
                bool(each.get("is_instance_function", False)),
                tuple(map(type_from_json, each.get("params", []))),
                type_from_json(each["result_type"]),
                None,
                False,
            )
            for each in declaration["function"]["overloads"]
        ]
    except (AttributeError, LookupError, TypeError):
        raise bad("a declared function is none of cel.expr.Decl") from None
