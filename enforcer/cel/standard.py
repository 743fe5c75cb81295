"""
The standard environment: every function there is, the operators' types, and the types that have a name.

Importing it registers the functions of all modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from enforcer.cel import operators
from enforcer.cel.functions import (
    arithmetic,
    containers,
    conversions,
    network,
    patterns,
    texts,
    times,
)
from enforcer.cel.registry import FUNCTIONS, Function, read_signature
from enforcer.cel.types import Type, read_type

if TYPE_CHECKING:
    from collections.abc import Callable

MODULES: Final = (arithmetic, containers, conversions, network, patterns, texts, times)
"""Where functions are declared, so that they are by now."""

OPERATORS: Final[dict[str, Callable[..., Any]]] = {
    "==": operators.equal,
    "!=": operators.unequal,
    "<": operators.less,
    "<=": operators.less_or_equal,
    ">": operators.greater,
    ">=": operators.greater_or_equal,
    "in": operators.contained,
    "+": operators.add,
    "-": operators.subtract,
    "*": operators.multiply,
    "/": operators.divide,
    "%": operators.modulo,
}
"""Operators between two values whose types show at run time."""

ORDERED: Final = ("bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration")
_NUMBERS: Final = ("int", "uint", "double")


def _operator(name: str, *signatures: str) -> Function:
    function = Function(name, is_member=False)
    for text in signatures:
        function.add(read_signature(f"{name}{text}"))
    return function


def _orders(name: str) -> Function:
    same = [f"({each}, {each}) -> bool" for each in ORDERED]
    mixed = [f"({a}, {b}) -> bool" for a in _NUMBERS for b in _NUMBERS if a != b]
    return _operator(name, *same, *mixed)


def _on_numbers(name: str, *more: str, kinds: tuple[str, ...] = _NUMBERS) -> Function:
    return _operator(name, *(f"({each}, {each}) -> {each}" for each in kinds), *more)


OPERATOR_TYPES: Final[dict[str, Function]] = {
    "==": _operator("==", "(A, A) -> bool"),
    "!=": _operator("!=", "(A, A) -> bool"),
    "<": _orders("<"),
    "<=": _orders("<="),
    ">": _orders(">"),
    ">=": _orders(">="),
    "in": _operator("in", "(A, list(A)) -> bool", "(A, map(A, B)) -> bool"),
    "+": _on_numbers(
        "+",
        "(string, string) -> string",
        "(bytes, bytes) -> bytes",
        "(list(A), list(A)) -> list(A)",
        "(timestamp, duration) -> timestamp",
        "(duration, timestamp) -> timestamp",
        "(duration, duration) -> duration",
    ),
    "-": _on_numbers(
        "-",
        "(timestamp, timestamp) -> duration",
        "(timestamp, duration) -> timestamp",
        "(duration, duration) -> duration",
    ),
    "*": _on_numbers("*"),
    "/": _on_numbers("/"),
    "%": _on_numbers("%", kinds=("int", "uint")),
    "unary -": _operator("-", "(int) -> int", "(double) -> double"),
    "unary !": _operator("!", "(bool) -> bool"),
    "?:": _operator("choose", "(bool, A, A) -> A"),
    "[]": _operator(
        "index",
        "(list(A), int) -> A",
        "(map(A, B), A) -> B",
        "(optional(list(A)), int) -> optional(A)",
        "(optional(map(A, B)), A) -> optional(B)",
    ),
    "[?]": _operator(
        "index",
        "(list(A), int) -> optional(A)",
        "(map(A, B), A) -> optional(B)",
        "(optional(list(A)), int) -> optional(A)",
        "(optional(map(A, B)), A) -> optional(B)",
    ),
}
"""The signatures of the operators, for the checker."""

TYPES: Final[dict[str, Type]] = {
    "bool": read_type("bool"),
    "int": read_type("int"),
    "uint": read_type("uint"),
    "double": read_type("double"),
    "string": read_type("string"),
    "bytes": read_type("bytes"),
    "null_type": read_type("null"),
    "list": read_type("list(dyn)"),
    "map": read_type("map(dyn, dyn)"),
    "type": read_type("type(dyn)"),
    "google.protobuf.Timestamp": read_type("timestamp"),
    "google.protobuf.Duration": read_type("duration"),
    "optional_type": read_type("optional(dyn)"),
    "net.IP": read_type("net.IP"),
    "net.CIDR": read_type("net.CIDR"),
}
"""Names that stand for a type."""


def function_of(name: str, *, is_member: bool) -> Function | None:
    """A function by its name, or None."""
    return FUNCTIONS.get((name, is_member))
