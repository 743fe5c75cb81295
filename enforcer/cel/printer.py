"""The printer: a tree as its canonical text. To parse what is printed gives the same tree."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel.macros import written
from enforcer.cel.syntax import (
    Bind,
    Block,
    Call,
    Chain,
    Conditional,
    Has,
    Ident,
    Index,
    ListDisplay,
    Literal,
    Logic,
    Macro,
    MapDisplay,
    Message,
    Node,
    Select,
    Unary,
)
from enforcer.cel.values import UInt

if TYPE_CHECKING:
    from collections.abc import Callable

_CONDITIONAL, _OR, _AND, _RELATION, _SUM, _PRODUCT, _UNARY, _MEMBER = range(8)
_STEP_LEVELS: Final = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT}
_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*\Z")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_KEYWORDS: Final = frozenset({"true", "false", "null", "in"})


def show(node: Node) -> str:
    """The text of *node*: one line, only the parentheses it needs, double quotes."""
    return _SHOW[node.__class__](node)


def level_of(node: Node) -> int:
    """How tightly the outermost operator of *node* binds."""
    match node:
        case Conditional():
            return _CONDITIONAL
        case Logic():
            return _OR if node.operator == "||" else _AND
        case Chain():
            return _STEP_LEVELS.get(node.steps[0][0], _RELATION)
        case Unary():
            return _UNARY
    return _MEMBER


def _at(node: Node, level: int) -> str:
    text = show(node)
    return text if level_of(node) >= level else f"({text})"


def _literal(node: Literal) -> str:
    value: Any = node.value
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if value.__class__ is str:
        return quoted(value)
    if value.__class__ is bytes:
        return 'b"' + "".join(_byte(each) for each in value) + '"'
    if value.__class__ is UInt:
        return repr(value)
    if value.__class__ is float:
        # A double is never without its point or exponent, for it would read as an integer.
        assert math.isfinite(value), value
        return repr(value)
    return str(value)


def quoted(text: str) -> str:
    """A string literal; what does not print is escaped."""
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    point = ord(character)
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"


def _byte(byte: int) -> str:
    if 0x20 <= byte < 0x7F:
        return _ESCAPES.get(chr(byte), chr(byte))
    return f"\\x{byte:02x}"


def _ident(node: Ident) -> str:
    return ("." if node.absolute else "") + written(node.name)


def _field(name: str) -> str:
    return name if _NAME.match(name) and name not in _KEYWORDS else f"`{name}`"


def _operand(node: Node) -> str:
    text = _at(node, _MEMBER)
    # `-1.foo` is `(-1).foo`, but says so; and `1.foo` would begin like a double.
    is_number = isinstance(node, Literal) and node.value.__class__ in {int, float, UInt}
    return f"({text})" if is_number else text


def _select(node: Select) -> str:
    return f"{_operand(node.operand)}.{'?' if node.optional else ''}{_field(node.name)}"


def _index(node: Index) -> str:
    return f"{_operand(node.operand)}[{'?' if node.optional else ''}{show(node.index)}]"


def _call(node: Call) -> str:
    arguments = ", ".join(map(show, node.arguments))
    if node.target is None:
        return f"{'.' if node.absolute else ''}{node.function}({arguments})"
    return f"{_operand(node.target)}.{node.function}({arguments})"


def _unary(node: Unary) -> str:
    operand = node.operand
    inner = _at(operand, _UNARY)
    number = isinstance(operand, Literal) and operand.value.__class__ in {int, float}
    # `-1` is a literal, and signs of two kinds in a row are no CEL.
    if number or (isinstance(operand, Unary) and operand.operator != node.operator):
        inner = f"({inner})"
    return f"{node.operator}{inner}"


def _logic(node: Logic) -> str:
    level = level_of(node) + 1
    return f" {node.operator} ".join(_at(each, level) for each in node.operands)


def _chain(node: Chain) -> str:
    level = level_of(node) + 1
    parts = [_at(node.first, level)]
    parts += [f"{operator} {_at(right, level)}" for operator, right in node.steps]
    return " ".join(parts)


def _conditional(node: Conditional) -> str:
    return f"{_at(node.test, _OR)} ? {_at(node.then, _OR)} : {show(node.otherwise)}"


def _list(node: ListDisplay) -> str:
    shown = (("?" if i in node.optionals else "") + show(e) for i, e in enumerate(node.elements))
    return f"[{', '.join(shown)}]"


def _map(node: MapDisplay) -> str:
    shown = (
        f"{'?' if i in node.optionals else ''}{show(key)}: {show(value)}"
        for i, (key, value) in enumerate(node.entries)
    )
    return f"{{{', '.join(shown)}}}"


def _message(node: Message) -> str:
    shown = (
        f"{'?' if i in node.optionals else ''}{_field(name)}: {show(value)}"
        for i, (name, value) in enumerate(node.fields)
    )
    return f"{'.' if node.absolute else ''}{node.name}{{{', '.join(shown)}}}"


def _macro(node: Macro) -> str:
    arguments = [*map(written, node.variables), *map(show, node.bodies)]
    return f"{_operand(node.operand)}.{node.kind}({', '.join(arguments)})"


def _has(node: Has) -> str:
    return f"has({show(node.select)})"


def _bind(node: Bind) -> str:
    return f"cel.bind({written(node.variable)}, {show(node.value)}, {show(node.body)})"


def _block(node: Block) -> str:
    return f"cel.block([{', '.join(map(show, node.slots))}], {show(node.body)})"


_SHOW: Final[dict[type, Callable[[Any], str]]] = {
    Literal: _literal,
    Ident: _ident,
    Select: _select,
    Has: _has,
    Index: _index,
    Call: _call,
    Unary: _unary,
    Logic: _logic,
    Chain: _chain,
    Conditional: _conditional,
    ListDisplay: _list,
    MapDisplay: _map,
    Message: _message,
    Macro: _macro,
    Bind: _bind,
    Block: _block,
}
