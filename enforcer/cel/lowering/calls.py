"""Lowering of calls: the overload that the static types choose, or a choice at run time."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from enforcer.cel import names
from enforcer.cel.errors import EvaluationError
from enforcer.cel.functions.arithmetic import EXTREMES
from enforcer.cel.functions.patterns import searcher
from enforcer.cel.lowering.code import Value, call, compare, method
from enforcer.cel.registry import CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.cel.lowering.nodes import Lowering
    from enforcer.cel.registry import Function, Overload
    from enforcer.cel.syntax import Call

_SIZED: Final = frozenset({"string", "bytes", "list", "map"})


def lower_call(to: Lowering, node: Call) -> Value:
    """A call of a function, with a receiver or without."""
    name = names.function_named(to.environment, node, to.scope)
    is_member = name is None and node.target is not None
    function = to.environment.function_code(name or node.function, is_member=is_member)
    if function is None and name not in EXTREMES:
        return to.fail("unbound", f"undeclared reference to '{node.function}'")
    operands = [node.target, *node.arguments] if is_member else list(node.arguments)
    arguments = [to.value(each) for each in operands if each is not None]
    if function is None:
        assert name is not None
        code = ast.Call(to.out.constant(EXTREMES[name]), [each.code for each in arguments], [])
        return to.made(code, None, *arguments, certain=False)
    if all(overload.function is None for overload in function.overloads):
        return to.fail("unbound", f"'{node.function}' is declared and has no code")
    inline = _INLINE.get(function.name)
    value = inline(to, arguments) if inline is not None else None
    return value if value is not None else _called(to, function, arguments)


def _called(to: Lowering, function: Function, arguments: list[Value]) -> Value:
    codes = [each.code for each in arguments]
    overload = _chosen(function, arguments)
    if overload is None:
        return to.made(
            ast.Call(to.out.constant(function), codes, []), None, *arguments, certain=False
        )
    code = ast.Call(to.out.constant(overload.function), codes, [])
    kind = overload.result.name if overload.result.name in CLASSES else None
    trusted = kind if kind not in {"null", "timestamp", "duration", "optional", "type"} else None
    return to.made(code, trusted, *arguments, certain=overload.is_certain)


def _chosen(function: Function, arguments: list[Value]) -> Overload | None:
    """The overload, if the kinds of the arguments leave no other."""
    for overload in function.overloads:
        wanted = overload.classes
        if len(wanted) != len(arguments) or overload.function is None:
            continue
        have = [CLASSES[each.kind] if each.kind else None for each in arguments]
        if all(want is object or want is kind for want, kind in zip(wanted, have, strict=True)):
            return overload
    return None


def _texts(arguments: list[Value], count: int = 2) -> bool:
    return len(arguments) == count and all(each.kind == "string" for each in arguments)


def _size(to: Lowering, arguments: list[Value]) -> Value | None:
    if len(arguments) != 1 or arguments[0].kind not in _SIZED:
        return None
    return to.made(call("len", arguments[0].code), "int", *arguments)


def _contains(to: Lowering, arguments: list[Value]) -> Value | None:
    if not _texts(arguments):
        return None
    code = compare(arguments[1].code, ast.In(), arguments[0].code)
    return to.made(code, "bool", *arguments)


def _affix(name: str) -> Callable[[Lowering, list[Value]], Value | None]:
    def lower(to: Lowering, arguments: list[Value]) -> Value | None:
        if not _texts(arguments):
            return None
        return to.made(method(arguments[0].code, name, arguments[1].code), "bool", *arguments)

    return lower


def _matches(to: Lowering, arguments: list[Value]) -> Value | None:
    """A pattern that stands in the expression is compiled with it."""
    if not _texts(arguments):
        return None
    pattern = arguments[1].code
    if not isinstance(pattern, ast.Constant):
        return None
    try:
        search = to.out.constant(searcher(pattern.value))
    except EvaluationError as error:
        return to.fail(error.code, error.message)
    return to.made(ast.Call(search, [arguments[0].code], []), "bool", arguments[0])


def _same(_: Lowering, arguments: list[Value]) -> Value | None:
    return arguments[0] if len(arguments) == 1 else None


_INLINE: Final[dict[str, Callable[[Lowering, list[Value]], Value | None]]] = {
    "size": _size,
    "contains": _contains,
    "startsWith": _affix("startswith"),
    "endsWith": _affix("endswith"),
    "matches": _matches,
    "dyn": _same,
}
