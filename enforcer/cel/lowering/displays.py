"""Lowering of list and map displays: what is literal throughout becomes one constant."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from enforcer.cel.errors import EvaluationError
from enforcer.cel.lowering.code import Value, assign, call, expression, load, method, when
from enforcer.cel.operators import make_map
from enforcer.cel.syntax import ListDisplay, Literal, MapDisplay, Node

if TYPE_CHECKING:
    from enforcer.cel.lowering.nodes import Lowering


class _NotConstantError(Exception):
    """A display with something in it that is computed."""


def _constant(node: Node) -> Any:
    """
    The value of a node that is literal throughout.

    Raises: _NotConstantError; EvaluationError, for a map that cannot be.
    """
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, ListDisplay) and not node.optionals:
        return [_constant(each) for each in node.elements]
    if isinstance(node, MapDisplay) and not node.optionals:
        return make_map([(_constant(key), _constant(value)) for key, value in node.entries])
    raise _NotConstantError


def _as_constant(to: Lowering, node: ListDisplay | MapDisplay, kind: str) -> Value | None:
    try:
        return Value(to.out.constant(_constant(node)), kind, True)
    except _NotConstantError:
        return None
    except EvaluationError as error:
        return to.fail(error.code, error.message)


def lower_list(to: Lowering, node: ListDisplay) -> Value:
    """``[a, ?b]``."""
    constant = _as_constant(to, node, "list")
    if constant is not None:
        return constant
    if not node.optionals:
        values = [to.value(each) for each in node.elements]
        return to.made(ast.List([each.code for each in values], ast.Load()), "list", *values)
    result = to.out.temporary()
    to.out.assign(result, ast.List([], ast.Load()))
    certain = True
    for at, each in enumerate(node.elements):
        value = to.value(each)
        if at in node.optionals:
            certain = False
            item, present = _optional(to, value)
            to.out.emit(when(present, [expression(method(load(result), "append", item))]))
        else:
            certain = certain and value.certain
            to.out.emit(expression(method(load(result), "append", value.code)))
    return Value(load(result), "list", certain)


def _optional(to: Lowering, value: Value) -> tuple[ast.expr, ast.expr]:
    """The value of an optional operand, and whether there is one."""
    name = to.out.temporary()
    to.out.emit(assign(name, call("optional_value", value.code)))
    return (
        ast.Attribute(load(name), "value", ast.Load()),
        ast.Attribute(load(name), "is_present", ast.Load()),
    )


def lower_map(to: Lowering, node: MapDisplay) -> Value:
    """``{key: value, ?key: value}``."""
    constant = _as_constant(to, node, "map")
    if constant is not None:
        return constant
    keys = [key.value for key, _ in node.entries if isinstance(key, Literal)]
    texts = {key for key in keys if key.__class__ is str}
    if len(texts) == len(node.entries) and not node.optionals:
        values = [to.value(value) for _, value in node.entries]
        display = ast.Dict([ast.Constant(key) for key in keys], [each.code for each in values])
        return to.made(display, "map", *values)
    result = to.out.temporary()
    to.out.assign(result, ast.Dict([], []))
    for at, (key_node, value_node) in enumerate(node.entries):
        key, value = to.value(key_node), to.value(value_node)
        if at in node.optionals:
            item, present = _optional(to, value)
            put = expression(call("put", load(result), key.code, item))
            to.out.emit(when(present, [put]))
        else:
            to.out.emit(expression(call("put", load(result), key.code, value.code)))
    return Value(load(result), "map", False)
