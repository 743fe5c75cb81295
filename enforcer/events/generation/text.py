"""Names and annotations that the generators share."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from enforcer.events.generation.schemas import (
    Array,
    Enum,
    Field,
    Fixed,
    Map,
    Primitive,
    Record,
    Type,
    Union,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_ANNOTATIONS = {
    "null": "None",
    "boolean": "bool",
    "long": "int",
    "double": "float",
    "string": "str",
    "bytes": "bytes",
}


def snake(name: str) -> str:
    """``BudgetRow`` as ``budget_row``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def annotation(type_: Type) -> str:
    """The Python type of a value."""
    match type_:
        case Primitive(name, _):
            return _ANNOTATIONS[name]
        case Fixed():
            return "bytes"
        case Enum():
            return "str"
        case Array(items):
            return f"list[{annotation(items)}]"
        case Map(values):
            return f"dict[str, {annotation(values)}]"
        case Record(name, _, _):
            return name
        case Union(branches):
            rest = [annotation(b) for b in branches if b != Primitive("null")]
            return " | ".join([*rest, *(["None"] if len(rest) < len(branches) else [])])


def default_expression(field: Field) -> str:
    """The default as an expression that makes a fresh value each time."""
    assert field.default is not None, field
    value = json.loads(field.default)
    if value in ([], {}):
        return f"{field.type.name}()" if isinstance(field.type, Record) else repr(value)
    return repr(value)


def indent(lines: Iterable[str], by: int = 1) -> list[str]:
    """Lines, moved to the right."""
    return [("    " * by + line) if line else line for line in lines]
