"""Lowering of operators: Python's own where the types are certain, else the helper that looks at the values."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from enforcer.cel import names
from enforcer.cel.lowering.code import (
    HEIGHT_MAX,
    Value,
    Variable,
    call,
    compare,
    load,
    negated,
    when,
)
from enforcer.cel.syntax import Ident, Select
from enforcer.cel.values import INT_MAX, INT_MIN

if TYPE_CHECKING:
    from enforcer.cel.lowering.nodes import Lowering
    from enforcer.cel.syntax import Chain, Node, Unary

_INTEGERS: Final = frozenset({"int", "uint"})
_NUMBERS: Final = frozenset({"int", "uint", "double"})
_DIRECT: Final = frozenset({"bool", "int", "uint", "double", "string", "bytes"})
_COMPARISONS: Final[dict[str, type[ast.cmpop]]] = {
    "<": ast.Lt,
    "<=": ast.LtE,
    ">": ast.Gt,
    ">=": ast.GtE,
}
_INT_OPERATORS: Final[dict[str, type[ast.operator]]] = {
    "+": ast.Add,
    "-": ast.Sub,
    "*": ast.Mult,
}
_OPERATORS: Final = {
    "==": "equal",
    "!=": "unequal",
    "<": "less",
    "<=": "less_or_equal",
    ">": "greater",
    ">=": "greater_or_equal",
    "in": "contained",
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "%": "modulo",
}


def lower_unary(to: Lowering, node: Unary) -> Value:
    """``!`` and ``-``."""
    operand = to.value(node.operand)
    if node.operator == "!":
        if operand.kind == "bool":
            return to.made(negated(operand.code), "bool", operand)
        return to.made(call("invert", operand.code), "bool", operand, certain=False)
    if operand.kind == "double":
        return to.made(ast.UnaryOp(ast.USub(), operand.code), "double", operand)
    kind = operand.kind if operand.kind == "int" else None
    return to.made(call("negate", operand.code), kind, operand, certain=False)


def lower_chain(to: Lowering, node: Chain) -> Value:
    """A chain of one precedence, from left to right."""
    tolerant = _tolerant(to, node)
    if tolerant is not None:
        return tolerant
    left = to.value(node.first)
    for operator, right_node in node.steps:
        left = operation(to, operator, left, to.value(right_node))
        if left.height > HEIGHT_MAX:
            left = to.out.spilled(left)
    return left


def _tolerant(to: Lowering, node: Chain) -> Value | None:
    """``==``, ``!=`` and ``in`` over variables that may be absent, which equal nothing then."""
    (operator, right), *others = node.steps
    if others or operator not in {"==", "!=", "in"}:
        return None
    found = [_may_be_absent(to, each) for each in (node.first, right)]
    presents = [each[0] for each in found if each is not None]
    if not presents:
        return None
    values = [
        _settled(to, to.value(each))
        if variable is None
        else Value(variable[0].code, variable[1], variable[0].certain, 2)
        for each, variable in zip((node.first, right), found, strict=True)
    ]
    result = operation(to, "in" if operator == "in" else "==", *values)
    code: ast.expr = ast.BoolOp(ast.And(), [*(each.present for each in presents), to.truth(result)])
    if operator == "!=":
        code = negated(code)
    certain = all(each.presence_certain for each in presents)
    return to.made(code, "bool", result, certain=certain)


def _settled(to: Lowering, value: Value) -> Value:
    """An operand that may err, computed before absence decides: its error is one whatever it is compared with."""
    return value if value.certain else to.out.spilled(value)


def _may_be_absent(to: Lowering, node: Node) -> tuple[Variable, str | None] | None:
    """The variable that *node* reads, if its absence is a case of its own."""
    if not isinstance(node, Ident | Select) or (isinstance(node, Select) and node.optional):
        return None
    name = names.variable_named(to.environment, node, to.scope)
    found = None if name is None else to.variable(name)
    return found if found is not None and found[0].is_tolerant else None


def operation(to: Lowering, operator: str, left: Value, right: Value) -> Value:
    """One operator on two values."""
    if operator in {"==", "!="}:
        return _equality(to, operator, left, right)
    if operator in _COMPARISONS:
        return _order(to, operator, left, right)
    if operator == "in":
        return _membership(to, left, right)
    if left.kind == right.kind == "int" and operator in _INT_OPERATORS:
        return _int_arithmetic(to, operator, left, right)
    if left.kind == right.kind == "double" and operator in _INT_OPERATORS:
        return to.made(
            ast.BinOp(left.code, _INT_OPERATORS[operator](), right.code), "double", left, right
        )
    if left.kind == right.kind and left.kind in {"string", "bytes", "list"} and operator == "+":
        return to.made(call("joined", left.code, right.code), left.kind, left, right, certain=False)
    kind = left.kind if left.kind == right.kind and left.kind in _NUMBERS else None
    code = call(_OPERATORS[operator], left.code, right.code)
    return to.made(code, kind, left, right, certain=False)


def _int_arithmetic(to: Lowering, operator: str, left: Value, right: Value) -> Value:
    result = to.out.temporary()
    to.out.assign(result, ast.BinOp(left.code, _INT_OPERATORS[operator](), right.code))
    within = ast.Compare(
        ast.Constant(INT_MIN), [ast.LtE(), ast.LtE()], [load(result), ast.Constant(INT_MAX)]
    )
    to.out.emit(when(negated(within), [ast.Raise(call("overflow"), None)]))
    return Value(load(result), "int", False)


def _equality(to: Lowering, operator: str, left: Value, right: Value) -> Value:
    kinds = {left.kind, right.kind}
    is_null = [each for each in (left, right) if _is_null(each)]
    literal = isinstance(left.code, ast.Constant) and isinstance(right.code, ast.Constant)
    # Python warns where two literals are compared, for nobody writes that.
    if is_null and not literal:
        same: tuple[ast.cmpop, ast.cmpop] = (ast.Is(), ast.IsNot())
    elif not literal and (
        "string" in kinds or kinds <= _INTEGERS or (len(kinds) == 1 and kinds <= _DIRECT)
    ):
        same = (ast.Eq(), ast.NotEq())
    else:
        code: ast.expr = call(_OPERATORS[operator], left.code, right.code)
        return to.made(code, "bool", left, right)
    code = compare(left.code, same[operator == "!="], right.code)
    return to.made(code, "bool", left, right)


def _order(to: Lowering, operator: str, left: Value, right: Value) -> Value:
    kinds = {left.kind, right.kind}
    direct = (len(kinds) == 1 and kinds <= _DIRECT) or kinds <= _INTEGERS
    if direct or (kinds <= _NUMBERS and None not in kinds):
        codes = [
            each.code if direct or each.kind == "double" else call("float", each.code)
            for each in (left, right)
        ]
        code: ast.expr = compare(codes[0], _COMPARISONS[operator](), codes[1])
        return to.made(code, "bool", left, right)
    code = call(_OPERATORS[operator], left.code, right.code)
    return to.made(code, "bool", left, right, certain=False)


def _membership(to: Lowering, left: Value, right: Value) -> Value:
    members = None
    if isinstance(right.code, ast.Name):
        members = to.out.globals.get(right.code.id)
    classes = {each.__class__ for each in members} if members.__class__ is list else set()
    if classes == {str} and left.kind in {None, "string"}:
        texts = to.out.constant(frozenset(members or ()))
        if left.kind is None:
            return to.made(call("text_in", left.code, texts), "bool", left)
        return to.made(compare(left.code, ast.In(), texts), "bool", left)
    if classes == {int} and left.kind == "int":
        numbers = to.out.constant(frozenset(members or ()))
        return to.made(compare(left.code, ast.In(), numbers), "bool", left)
    if left.kind == "string" and right.kind in {"list", "map"}:
        return to.made(compare(left.code, ast.In(), right.code), "bool", left, right)
    certain = right.kind in {"list", "map"}
    return to.made(call("contained", left.code, right.code), "bool", left, right, certain=certain)


def _is_null(value: Value) -> bool:
    return isinstance(value.code, ast.Constant) and value.code.value is None
