"""
CEL in policies, written down as plainly as it goes: the compiler's oracle for ``when``, ``match`` and ``unless``.

Takes the parser's tree and nothing else of the product: no facts resolved, no types, no skeleton. A name is looked up
in the request's JSON when it is reached; what is absent equals nothing and is an error to every other reader.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import naive_evaluator as naive

from enforcer import cel
from enforcer.cel import syntax

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
ABSENT, Error = naive.ABSENT, naive.Error
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """What an expression reads: the request, its facts, the policy's variables, time, macros' variables."""

    request: dict
    facts: dict
    variables: dict[str, str] = field(default_factory=dict)
    now_us: int | None = None
    names: dict[str, Any] = field(default_factory=dict)

    def bound(self, **names: Any) -> World:
        """With variables of a macro."""
        return replace(self, names={**self.names, **names})


def holds(text: str, world: World) -> bool:
    """Whether a condition holds. Raises Error where it errs."""
    value = known(cel.parse(text).root, world)
    if not isinstance(value, bool):
        raise Error
    return value


def known(node: Any, world: World) -> Any:
    """The value of a node; an error where it is absent."""
    value = walk(node, world)
    if value is ABSENT:
        raise Error
    return value


def walk(node: Any, world: World) -> Any:  # noqa: C901 — one arm for each node
    """The value of a node, or ABSENT for a field that is not there."""
    match node:
        case syntax.Literal(value=value):
            return value
        case syntax.Ident() | syntax.Select(optional=False) | syntax.Index(optional=False):
            return path(node, world)
        case syntax.Has(select=select):
            return walk(select, world) is not ABSENT
        case syntax.Unary(operator="!"):
            return not boolean(known(node.operand, world))
        case syntax.Unary():
            value = known(node.operand, world)
            return ranged(-value) if naive.is_number(value) else error()
        case syntax.Logic():
            return logic(node, world)
        case syntax.Conditional():
            chosen = node.then if boolean(known(node.test, world)) else node.otherwise
            return known(chosen, world)
        case syntax.Chain():
            return chain(node, world)
        case syntax.ListDisplay():
            return [known(each, world) for each in node.elements]
        case syntax.Macro():
            return macro(node, world)
        case syntax.Bind():
            return known(node.body, world.bound(**{node.variable: known(node.value, world)}))
        case syntax.Call():
            return call(node, world)
    raise AssertionError(node)


def error() -> Any:
    """Never returns."""
    raise Error


def boolean(value: Any) -> bool:
    """Only true and false are truths."""
    return value if isinstance(value, bool) else error()


def ranged(value: Any) -> Any:
    """Whole numbers have 64 bits."""
    if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
        raise Error
    return value


def path(node: Any, world: World) -> Any:
    """A chain of names and literal keys, from a macro's variable, a variable of the policy, or the request."""
    keys: list[Any] = []
    while not isinstance(node, syntax.Ident):
        is_select = isinstance(node, syntax.Select)
        if not isinstance(node, syntax.Select | syntax.Index):
            break
        keys.insert(0, node.name if is_select else node.index)
        node = node.operand
    if not isinstance(node, syntax.Ident):
        return descended(known(node, world), keys, world)
    if node.name in world.names:
        return descended(world.names[node.name], keys, world)
    if node.name in world.variables:
        inner = replace(world, names={})
        value = walk(cel.parse(world.variables[node.name]).root, inner)
        if not keys:
            return value
        return error() if value is ABSENT else descended(value, keys, world)
    if node.name == "now":
        return error() if world.now_us is None else EPOCH + timedelta(microseconds=world.now_us)
    return of_request(node.name, keys, world)


def of_request(name: str, keys: list[Any], world: World) -> Any:
    """A field; what is asked of it by a key that is not written down is asked of its value."""
    text = name
    for at, key in enumerate(keys):
        if isinstance(key, str):
            text += f".{key}"
        elif isinstance(key, syntax.Literal):
            text += f"[{key.value}]" if isinstance(key.value, int) else f'["{key.value}"]'
        else:
            value = naive.read(text, world.request, world.facts)
            return error() if value is ABSENT else descended(value, keys[at:], world)
    return naive.read(text, world.request, world.facts)


def descended(value: Any, keys: list[Any], world: World) -> Any:
    """Keys and positions of a value that is no field: what is not there is an error."""
    for key in keys:
        at = key if isinstance(key, str) else known(key, world)
        is_key = isinstance(value, dict) and isinstance(at, str) and at in value
        is_place = isinstance(value, list) and type(at) is int and 0 <= at < len(value)
        value = value[at] if is_key or is_place else error()
    return value


def logic(node: Any, world: World) -> bool:
    """``&&`` and ``||``: what decides wins over errors, in any order."""
    decides, has_error = node.operator == "||", False
    for operand in node.operands:
        try:
            if boolean(known(operand, world)) is decides:
                return decides
        except Error:
            has_error = True
    return error() if has_error else not decides


def chain(node: Any, world: World) -> Any:
    """Relations and arithmetic, from left to right; absent equals nothing."""
    left = walk(node.first, world)
    for operator, right_node in node.steps:
        right = walk(right_node, world)
        if operator in {"==", "!="}:
            is_same = left is not ABSENT and right is not ABSENT and naive.equal(left, right)
            left = is_same is (operator == "==")
            continue
        if operator == "in" and left is ABSENT:
            left = False
            continue
        if left is ABSENT or right is ABSENT:
            raise Error
        left = (
            RELATIONS[operator](left, right)
            if operator in RELATIONS
            else sum_of(operator, left, right)
        )
    return left  # fmt: skip


def contained(item: Any, container: Any) -> bool:
    if isinstance(container, list):
        return any(naive.equal(item, each) for each in container)
    return item in container if isinstance(container, dict) and isinstance(item, str) else error()


def ordered(sign: str) -> Any:
    def compare(left: Any, right: Any) -> bool:
        both_numbers = naive.is_number(left) and naive.is_number(right)
        alike = type(left) is type(right) and isinstance(left, (str, bool, datetime))
        if not (both_numbers or alike):
            raise Error
        return bool(naive.ORDER[sign](left, right))

    return compare


RELATIONS = {
    "in": contained, "<": ordered("lt"), "<=": ordered("lte"), ">": ordered("gt"), ">=": ordered("gte"),
}  # fmt: skip


def sum_of(operator: str, left: Any, right: Any) -> Any:
    """Arithmetic of two values of one type."""
    if type(left) is not type(right) or isinstance(left, bool):
        raise Error
    if operator == "+" and isinstance(left, (str, list)):
        return left + right
    if type(left) not in {int, float}:
        raise Error
    if operator in {"/", "%"} and type(left) is int:
        if right == 0:
            raise Error
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return ranged(quotient if operator == "/" else left - right * quotient)
    if operator in {"/", "%"}:
        raise AssertionError("doubles are added and multiplied here")
    return ranged({"+": left + right, "-": left - right, "*": left * right}[operator])


def macro(node: Any, world: World) -> Any:
    """One variable over a list."""
    elements = known(node.operand, world)
    if not isinstance(elements, list):
        raise Error
    (name,) = node.variables
    turns = [world.bound(**{name: each}) for each in elements]
    if node.kind in {"exists", "all"}:
        decides, has_error = node.kind == "exists", False
        for turn in turns:
            try:
                if boolean(known(node.bodies[0], turn)) is decides:
                    return decides
            except Error:
                has_error = True
        return error() if has_error else not decides
    found = [known(node.bodies[0], turn) for turn in turns]
    if node.kind == "map":
        return found
    kept = [each for each, is_kept in zip(elements, found, strict=True) if boolean(is_kept)]
    return kept if node.kind == "filter" else len(kept) == 1


def call(node: Any, world: World) -> Any:
    """Functions, by name."""
    if node.function == "orValue" and isinstance(node.target, syntax.Select):
        asked = replace(node.target, optional=False)
        value = walk(asked, world)
        return known(node.arguments[0], world) if value is ABSENT else value
    arguments = [known(each, world) for each in node.arguments]
    if node.target is not None:
        is_namespace = isinstance(node.target, syntax.Ident) and node.target.name == "math"
        arguments = arguments if is_namespace else [known(node.target, world), *arguments]
    return FUNCTIONS[node.function](*arguments)


def text(value: Any) -> str:
    return value if isinstance(value, str) else error()


def whole(value: Any) -> int:
    if isinstance(value, str):
        found = re.fullmatch(r"[+-]?[0-9]+", value)
        return ranged(int(value)) if found else error()
    return value if type(value) is int else error()


def size(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, dict)) else error()


def part(value: str, start: int, end: int | None = None) -> str:
    end = len(text(value)) if end is None else end
    return value[start:end] if 0 <= start <= end <= len(value) else error()


def written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, str)) else error()


FUNCTIONS = {
    "size": size,
    "contains": lambda value, part: text(part) in text(value),
    "startsWith": lambda value, part: text(value).startswith(text(part)),
    "endsWith": lambda value, part: text(value).endswith(text(part)),
    "matches": lambda value, pattern: re.search(pattern, text(value)) is not None,
    "lowerAscii": lambda value: "".join(c.lower() if c.isascii() else c for c in text(value)),
    "split": lambda value, by: text(value).split(by) if by else list(text(value)),
    "replace": lambda value, old, new: text(value).replace(old, new),
    "indexOf": lambda value, part: text(value).find(text(part)),
    "substring": part,
    "int": whole,
    "string": written,
    "abs": lambda value: ranged(abs(value)) if naive.is_number(value) else error(),
    "getHours": lambda value: value.hour if isinstance(value, datetime) else error(),
    "timestamp": datetime.fromisoformat,
}
