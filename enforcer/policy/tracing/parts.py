"""
The sub-expressions of a leaf, each compiled by the compiler of the leaf, over the same facts.

A part that names a macro's variable has no value of its own and is not shown; of ``?:`` only the test is. Values
that hold words of a message, tool or attribute, or name a person, are shown by their size alone.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel import EvaluationError, Node, show, walk
from enforcer.cel.syntax import (
    NOWHERE,
    Bind,
    Block,
    Conditional,
    Has,
    Literal,
    Macro,
    Select,
    children,
)
from enforcer.errors import RequestError
from enforcer.policy import variables
from enforcer.policy.environment import fact_of_node
from enforcer.policy.lowering import Code, finish
from enforcer.policy.tracing.traces import TermTrace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from enforcer import cel
    from enforcer.policy.ir import Leaf
    from enforcer.policy.tracing.program import Asked

PARTS_MAX: Final = 64
"""Of one leaf: a trace is read by people."""
_ARGUMENTS: Final = ("request", "facts", "now_us", "limits")


class Part:
    """A sub-expression ready to be evaluated by itself."""

    __slots__ = ("_function", "_is_open", "children", "leaf", "span", "text")

    def __init__(self, leaf: Leaf, node: Node) -> None:
        condition = leaf.condition
        self.leaf = replace(leaf, root=node)
        start, end = node.span
        self.text = condition.expression.source.text[start:end] or show(node)
        self.span = condition.place(start)
        facts = {name for below in walk(node) if (name := fact_of_node(below)) is not None}
        taints = {condition.environment.fact(name).taint for name in facts}
        self._is_open = not any(taints)
        self._function: Callable[..., Any] | None = None
        self.children = parts_of(leaf, node)

    def trace(self, asked: Asked) -> TermTrace:
        """What it comes to."""
        if self._function is None:
            self._function = _compiled(self.leaf)
        try:
            value = self._function(asked.request, asked.facts, asked.now_us, asked.limits)
        except (EvaluationError, KeyError, RequestError):
            return self._traced("error", asked)
        if value is True or value is False:
            return self._traced("true" if value else "false", asked)
        traced = self._traced("value", asked)
        traced.result = value if self._is_open and _is_plain(value) else hidden(value)
        return traced

    def _traced(self, value: Any, asked: Asked) -> TermTrace:
        terms = [child.trace(asked) for child in self.children]
        return TermTrace(self.text, self.span, value, terms=terms)


def parts_of(leaf: Leaf, node: Node) -> tuple[Part, ...]:
    """The parts right below *node* that have a value of their own."""
    if fact_of_node(node) is not None or isinstance(node, Has | Bind | Block):
        return ()
    found: list[Node] = []
    for below in _below(node):
        # The tree of a policy's variable stands in the place of its name, and has no text of its own below that.
        if below.span == node.span != NOWHERE:
            continue
        # What cannot be evaluated alone may hold something that can.
        found += [below] if not isinstance(below, Literal) else []
    return tuple(Part(leaf, each) for each in found[:PARTS_MAX])


def _below(node: Node) -> Iterator[Node]:
    if isinstance(node, Conditional):
        yield node.test
    elif isinstance(node, Macro):
        yield node.operand
    elif isinstance(node, Select):
        yield from (() if node.optional else children(node))
    else:
        yield from (each for each in children(node) if not _is_namespace(each))


def _is_namespace(node: Node) -> bool:
    """``math`` of ``math.abs(x)`` is no value."""
    return not isinstance(node, Literal) and type(node).__name__ == "Ident"


class _Value(Code):
    """A body that returns what a leaf's root comes to, of whatever type."""

    def write(self, leaf: Leaf) -> None:
        """Write it."""

        def reading(name: str, constant: Callable[[Any], ast.expr]) -> cel.Variable:
            fact = leaf.condition.environment.fact(name)
            value = self._leaf_value(fact)
            return variables.variable_of(fact, value, constant, is_present=name in leaf.present)

        parameters = (*self._arguments, *self._fields.values())
        lowered = variables.lowered(leaf, reading, parameters)
        self.globals.update(lowered.constants)
        self.functions.extend(lowered.functions)
        self.body += [*self._costly_reads(leaf), *lowered.body, ast.Return(lowered.value.code)]


def _compiled(leaf: Leaf) -> Callable[..., Any]:
    code = _Value(_ARGUMENTS)
    code.load(leaf)
    code.write(leaf)
    function: Callable[..., Any] = finish(code, "part", _ARGUMENTS)
    return function


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))


def hidden(value: Any) -> Any:
    """Numbers and flags as they are; of texts, their length; of collections, their size."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return f"<text, {len(value)} characters>"
    if isinstance(value, (list, tuple, dict)):
        return f"<{'map' if isinstance(value, dict) else 'list'}, {len(value)} elements>"
    return f"<{type(value).__name__}>"
