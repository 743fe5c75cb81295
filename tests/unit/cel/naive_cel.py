"""
CEL once more, as small and as slow as can be: a walk over the tree, errors as values.

The oracle of the compiled code. It shares the tree and the representation of values with it, and no code
that computes: not the operators, not the order of evaluation, not one shortcut.
"""

from __future__ import annotations

import math

from enforcer.cel.syntax import (
    Bind,
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
    Select,
    Unary,
)
from enforcer.cel.values import BoolKey, UInt

ERROR = object()
RANGES = {int: (-(2**63), 2**63 - 1), UInt: (0, 2**64 - 1)}
NUMBERS = (int, UInt, float)


def naive(node, variables):
    """The value of *node*, or ERROR."""
    return WALK[type(node)](node, variables)


def literal(node, _):
    return node.value


def ident(node, variables):
    return variables.get(node.name, ERROR)


def select(node, variables):
    operand = naive(node.operand, variables)
    return operand.get(node.name, ERROR) if type(operand) is dict else ERROR


def has(node, variables):
    operand = naive(node.select.operand, variables)
    return node.select.name in operand if type(operand) is dict else ERROR


def index(node, variables):
    operand, at = naive(node.operand, variables), naive(node.index, variables)
    if at is ERROR:
        return ERROR
    if type(operand) is list:
        if type(at) not in NUMBERS or not float(at).is_integer():
            return ERROR
        return operand[int(at)] if 0 <= at < len(operand) else ERROR
    if type(operand) is dict:
        found = [v for k, v in operand.items() if same(plain_key(k), at)]
        return found[0] if found else ERROR
    return ERROR


def plain_key(key):
    return key is BoolKey.TRUE if isinstance(key, BoolKey) else key


def same(left, right):
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return float(left) == float(right) if float in (type(left), type(right)) else left == right
    if type(left) is not type(right):
        return False
    if type(left) is list:
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if type(left) is dict:
        return len(left) == len(right) and all(
            any(same(plain_key(k), plain_key(j)) and same(v, w) for j, w in right.items())
            for k, v in left.items()
        )
    return left == right


def ordered(operator, left, right):
    kinds = (type(left), type(right))
    if kinds[0] in NUMBERS and kinds[1] in NUMBERS:
        if float in kinds:
            left, right = float(left), float(right)
    elif kinds[0] is not kinds[1] or kinds[0] not in (str, bytes, bool):
        return ERROR
    return {
        "<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right,
    }[operator]  # fmt: skip


def whole(kind, value):
    low, high = RANGES[kind]
    return kind(value) if low <= value <= high else ERROR


def arithmetic(operator, left, right):
    kind = type(left)
    if kind is not type(right):
        return ERROR
    if operator == "+" and kind in (str, bytes, list):
        return left + right
    if kind is float:
        return doubles(operator, left, right)
    if kind not in RANGES:
        return ERROR
    left, right = int(left), int(right)
    if operator in "/%" and right == 0:
        return ERROR
    if operator == "/":
        quotient = abs(left) // abs(right)
        return whole(kind, quotient if (left < 0) == (right < 0) else -quotient)
    if operator == "%":
        return whole(kind, int(math.copysign(abs(left) % abs(right), left)) if left else 0)
    return whole(kind, {"+": left + right, "-": left - right, "*": left * right}[operator])


def doubles(operator, left, right):
    if operator == "%":
        return ERROR
    if operator == "/":
        if right == 0:
            if left == 0 or math.isnan(left):
                return math.nan
            return math.inf * math.copysign(1, left) * math.copysign(1, right)
        return left / right
    return {"+": left + right, "-": left - right, "*": left * right}[operator]


def chain(node, variables):
    left = naive(node.first, variables)
    for operator, right_node in node.steps:
        right = naive(right_node, variables)
        if ERROR in (left, right) if left is ERROR or right is ERROR else False:
            left = ERROR
        elif operator in ("==", "!="):
            left = same(left, right) is (operator == "==")
        elif operator == "in":
            left = contained(left, right)
        elif operator in ("<", "<=", ">", ">="):
            left = ordered(operator, left, right)
        else:
            left = arithmetic(operator, left, right)
    return left


def contained(item, container):
    if type(container) is list:
        return any(same(item, each) for each in container)
    if type(container) is dict:
        return any(same(item, plain_key(key)) for key in container)
    return ERROR


def unary(node, variables):
    value = naive(node.operand, variables)
    if node.operator == "!":
        return (not value) if type(value) is bool else ERROR
    if type(value) is float:
        return -value
    return whole(int, -value) if type(value) is int else ERROR


def absorbed(results, decides):
    """The whole of ``&&`` and ``||``: what decides wins, then errors."""
    if any(result is decides for result in results):
        return decides
    return not decides if all(result is (not decides) for result in results) else ERROR


def logic(node, variables):
    return absorbed([naive(each, variables) for each in node.operands], node.operator == "||")


def conditional(node, variables):
    test = naive(node.test, variables)
    if type(test) is not bool:
        return ERROR
    return naive(node.then if test else node.otherwise, variables)


def list_display(node, variables):
    values = [naive(each, variables) for each in node.elements]
    return ERROR if any(value is ERROR for value in values) else values


def map_display(node, variables):
    made = {}
    for key_node, value_node in node.entries:
        key, value = naive(key_node, variables), naive(value_node, variables)
        if key is ERROR or value is ERROR or type(key) not in (bool, int, UInt, str):
            return ERROR
        if any(same(plain_key(old), key) for old in made):
            return ERROR
        made[(BoolKey.TRUE if key else BoolKey.FALSE) if type(key) is bool else key] = value
    return made


def bind(node, variables):
    return naive(node.body, {**variables, node.variable: naive(node.value, variables)})


def macro(node, variables):
    operand = naive(node.operand, variables)
    if type(operand) is dict:
        operand = [plain_key(key) for key in operand]
    if type(operand) is not list:
        return ERROR
    (name,) = node.variables
    results = [naive(node.bodies[0], {**variables, name: each}) for each in operand]
    if node.kind in ("all", "exists"):
        return absorbed(results, node.kind == "exists")
    if any(result is ERROR for result in results):
        return ERROR
    if node.kind == "map":
        return results
    if any(type(result) is not bool for result in results):
        return ERROR
    if node.kind == "filter":
        return [each for each, result in zip(operand, results, strict=True) if result]
    assert node.kind == "exists_one"
    return sum(results) == 1


WALK = {
    Literal: literal, Ident: ident, Select: select, Has: has, Index: index, Chain: chain,
    Unary: unary, Logic: logic, Conditional: conditional, ListDisplay: list_display,
    MapDisplay: map_display, Bind: bind, Macro: macro,
}  # fmt: skip
