"""
Names: what an identifier, a chain of fields or a function's name stands for.

The rules are the specification's: within container ``a.b`` the name ``x`` is ``a.b.x``, else ``a.x``, else
``x``; with a dot before it, ``x`` alone. The longest dotted name that is a variable wins over a field.
A variable of a macro hides every other name, dotted ones too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from enforcer.cel.functions.arithmetic import EXTREMES
from enforcer.cel.registry import Function
from enforcer.cel.standard import TYPES, function_of
from enforcer.cel.syntax import Call, Ident, Literal, Node, Select

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from enforcer.cel.registry import Overload
    from enforcer.cel.types import Type


@dataclass(frozen=True, slots=True)
class Environment:
    """
    What an expression may name.

    ``variables`` may have dotted names. ``functions`` are declared beyond the standard ones; to call one
    that has no code is an error. ``container`` is where names are looked up first.
    """

    variables: Mapping[str, Type] = field(default_factory=dict)
    functions: tuple[Overload, ...] = ()
    container: str = ""

    def candidates(self, name: str, *, absolute: bool) -> Iterator[str]:
        """The full names that *name* may stand for, the most specific first."""
        if not absolute:
            prefix = self.container
            while prefix:
                yield f"{prefix}.{name}"
                prefix = prefix.rpartition(".")[0]
        yield name

    def variable(self, name: str, *, absolute: bool) -> str | None:
        """The declared variable that *name* stands for."""
        for full in self.candidates(name, absolute=absolute):
            if full in self.variables:
                return full
        return None

    def function_code(self, name: str, *, is_member: bool) -> Function | None:
        """The function of a full name, with its declared overloads."""
        standard = function_of(name, is_member=is_member)
        declared = [o for o in self.functions if o.name == name and o.is_member == is_member]
        if not declared:
            return standard
        joined = Function(name, is_member=is_member)
        for overload in (*(standard.overloads if standard is not None else ()), *declared):
            joined.add(overload)
        return joined

    def type_named(self, name: str, *, absolute: bool) -> str | None:
        """The type that *name* stands for."""
        for full in self.candidates(name, absolute=absolute):
            if full in TYPES:
                return full
        return None

    def function(self, name: str, *, absolute: bool) -> str | None:
        """The function without receiver that *name* stands for."""
        declared = {overload.name for overload in self.functions if not overload.is_member}
        for full in self.candidates(name, absolute=absolute):
            if full in EXTREMES or full in declared or function_of(full, is_member=False):
                return full
        return None


def dotted(node: Node) -> tuple[str, bool] | None:
    """``a.b.c`` as one name, and whether it has a dot before it; None for what is no such chain."""
    fields: list[str] = []
    while isinstance(node, Select) and not node.optional:
        fields.append(node.name)
        node = node.operand
    if not isinstance(node, Ident):
        return None
    return ".".join([node.name, *reversed(fields)]), node.absolute


def variable_named(
    environment: Environment, node: Ident | Select, hidden: Container[str]
) -> str | None:
    """The declared variable that *node* as a whole stands for; *hidden* are the macros' variables."""
    name = dotted(node)
    if name is None or _is_hidden(name, hidden):
        return None
    return environment.variable(name[0], absolute=name[1])


def presence_named(environment: Environment, select: Select, hidden: Container[str]) -> str | None:
    """
    The declared variable that ``has(select)`` or ``a.?b`` asks for.

    Only where no part of the name is a variable: else it is a field of that one.
    """
    variable = variable_named(environment, Select(select.operand, select.name), hidden)
    operand: Node = select.operand
    while variable is not None and isinstance(operand, Ident | Select):
        if variable_named(environment, operand, hidden) is not None:
            return None
        operand = operand.operand if isinstance(operand, Select) else Literal(None)
    return variable


def type_named(
    environment: Environment, node: Ident | Select, hidden: Container[str]
) -> str | None:
    """The type that *node* as a whole stands for."""
    name = dotted(node)
    if name is None or _is_hidden(name, hidden):
        return None
    return environment.type_named(name[0], absolute=name[1])


def function_named(environment: Environment, call: Call, hidden: Container[str]) -> str | None:
    """The function without receiver that *call* calls: ``f(x)``, or ``math.abs(x)``."""
    if call.target is None:
        return environment.function(call.function, absolute=call.absolute)
    name = dotted(call.target)
    if name is None or _is_hidden(name, hidden):
        return None
    return environment.function(f"{name[0]}.{call.function}", absolute=name[1])


def _is_hidden(name: tuple[str, bool], hidden: Container[str]) -> bool:
    return not name[1] and name[0].partition(".")[0] in hidden
