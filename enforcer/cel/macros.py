"""
Macros: calls whose arguments are not values, recognised by name and number of arguments.

``has(e.f)``, ``e.all(x, p)``, ``cel.bind(x, v, e)`` and their like become nodes of their own. A call that
has a macro's name but not its number of arguments is an ordinary call, as in other implementations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from enforcer.cel.syntax import (
    Bind,
    Block,
    Call,
    Has,
    Ident,
    ListDisplay,
    Literal,
    Macro,
    Node,
    Select,
)

if TYPE_CHECKING:
    from enforcer.cel.source import Source

# Kind: how many variables and bodies it may have.
SHAPES: Final[dict[str, frozenset[tuple[int, int]]]] = {
    "all": frozenset({(1, 1), (2, 1)}),
    "exists": frozenset({(1, 1), (2, 1)}),
    "exists_one": frozenset({(1, 1), (2, 1)}),
    "existsOne": frozenset({(1, 1), (2, 1)}),
    "map": frozenset({(1, 1), (1, 2)}),
    "filter": frozenset({(1, 1)}),
    "sortBy": frozenset({(1, 1)}),
    "transformList": frozenset({(2, 1), (2, 2)}),
    "transformMap": frozenset({(2, 1), (2, 2)}),
    "transformMapEntry": frozenset({(2, 1), (2, 2)}),
    "optMap": frozenset({(1, 1)}),
    "optFlatMap": frozenset({(1, 1)}),
}
INDEX: Final = "@index"
_SYNTHETIC: Final = {"iterVar": "@it", "accuVar": "@ac"}


def expanded(source: Source, call: Call) -> Node | None:
    """
    The node of a macro, or None if *call* is an ordinary call.

    Raises: CelSyntaxError, where a macro's argument is not of the form it must have.
    """
    target, arguments = call.target, call.arguments
    if target is None:
        return _has(source, call) if call.function == "has" and len(arguments) == 1 else None
    if isinstance(target, Ident) and target.name == "cel" and not target.absolute:
        return _of_cel(source, call)
    shapes = SHAPES.get(call.function)
    if shapes is None:
        return None
    for variables, bodies in shapes:
        if variables + bodies == len(arguments) and _fits(call, variables):
            names = _names(source, arguments[:variables])
            return Macro(call.function, target, names, arguments[variables:], call.span)
    if any(sum(shape) == len(arguments) for shape in shapes):
        _names(source, arguments[:1])
        _names(source, arguments[1:2])
    return None


def _fits(call: Call, variables: int) -> bool:
    """``map(x, p, t)`` has one variable, ``all(i, v, p)`` two; both have three arguments."""
    return all(isinstance(each, Ident) for each in call.arguments[:variables])


def _names(source: Source, arguments: tuple[Node, ...]) -> tuple[str, ...]:
    names: list[str] = []
    for argument in arguments:
        if not isinstance(argument, Ident) or argument.absolute:
            raise source.error("the variable of a macro is a simple name", *argument.span)
        if argument.name in names:
            raise source.error("the variables of a macro have different names", *argument.span)
        names.append(argument.name)
    return tuple(names)


def _has(source: Source, call: Call) -> Node:
    (argument,) = call.arguments
    if not isinstance(argument, Select):
        raise source.error("`has` takes a field, as in `has(a.b)`", *argument.span)
    return Has(argument, call.span)


def _of_cel(source: Source, call: Call) -> Node | None:
    arguments = call.arguments
    if call.function == "bind" and len(arguments) == 3:
        (name,) = _names(source, arguments[:1])
        return Bind(name, arguments[1], arguments[2], call.span)
    if call.function == "block" and len(arguments) == 2:
        slots = arguments[0]
        if not isinstance(slots, ListDisplay) or slots.optionals:
            raise source.error("`cel.block` takes a list of expressions", *slots.span)
        return Block(slots.elements, arguments[1], call.span)
    if call.function == "index" and len(arguments) == 1:
        return Ident(f"{INDEX}{_small(source, arguments[0])}", span=call.span)
    if call.function in _SYNTHETIC and len(arguments) == 2:
        first, second = (_small(source, each) for each in arguments)
        return Ident(f"{_SYNTHETIC[call.function]}:{first}:{second}", span=call.span)
    return None


def _small(source: Source, argument: Node) -> int:
    if isinstance(argument, Literal) and argument.value.__class__ is int and argument.value >= 0:
        return int(argument.value)
    raise source.error("expected a literal integer, 0 or more", *argument.span)


def written(name: str) -> str:
    """A variable as an author writes it: ``cel.index(0)`` for ``@index0``."""
    if name.startswith(INDEX):
        return f"cel.index({name.removeprefix(INDEX)})"
    for function, prefix in _SYNTHETIC.items():
        if name.startswith(f"{prefix}:"):
            first, second = name.removeprefix(f"{prefix}:").split(":")
            return f"cel.{function}({first}, {second})"
    return name
