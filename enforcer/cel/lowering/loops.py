"""Lowering of macros: loops, and variables that may hold an error until they are read."""

from __future__ import annotations

import ast
from contextlib import contextmanager
from typing import TYPE_CHECKING

from enforcer.cel.lowering import nodes
from enforcer.cel.lowering.code import (
    Value,
    assign,
    attempt,
    call,
    compare,
    expression,
    load,
    loop,
    method,
    negated,
    note_error,
    raise_unless_bool,
    store,
    when,
)
from enforcer.cel.macros import INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.cel.lowering.nodes import Local, Lowering
    from enforcer.cel.syntax import Bind, Block, Macro, Node


@contextmanager
def _scoped(to: Lowering, variables: dict[str, Local]) -> Iterator[None]:
    outer, to.scope = to.scope, {**to.scope, **variables}
    try:
        yield
    finally:
        to.scope = outer


def lower_macro(to: Lowering, node: Macro) -> Value:
    """Any macro that runs over a list, a map or an optional."""
    if node.kind in {"optMap", "optFlatMap"}:
        return _optional(to, node)
    run = _Loop(to, node)
    if node.kind in {"all", "exists"}:
        return run.quantified()
    if node.kind in {"exists_one", "existsOne"}:
        return run.counted()
    if node.kind == "sortBy":
        return run.sorted()
    return run.collected()


class _Loop:
    """One macro as a ``for`` statement."""

    def __init__(self, to: Lowering, node: Macro) -> None:
        self.to = to
        self.node = node
        operand = to.value(node.operand)
        self.certain = operand.certain and operand.kind == "list"
        self.is_map = operand.kind != "list"
        names = [to.out.temporary() for _ in node.variables]
        if to.loops:
            operand = self._counted(operand)
        self.range, self.target = self._range(operand, names)
        self.names = names
        self.variables = {
            author: nodes.Local(name, None)
            for author, name in zip(node.variables, names, strict=True)
        }

    def _range(self, operand: Value, names: list[str]) -> tuple[ast.expr, ast.expr]:
        if len(names) == 1:
            code = operand.code if operand.kind == "list" else call("elements", operand.code)
            return code, store(names[0])
        # A map's dict cannot be run over as it stands, for its bool keys are wrapped.
        walk = "enumerate" if operand.kind == "list" else "pairs"
        return call(walk, operand.code), ast.Tuple([store(each) for each in names], ast.Store())

    def _counted(self, operand: Value) -> Value:
        """What a macro within a macro runs over, its steps taken off the budget."""
        to = self.to
        to.budget = to.budget or to.out.temporary()
        operand = to.out.spilled(operand)
        to.out.emit(expression(call("spend", load(to.budget), operand.code)))
        self.certain = False
        return operand

    def body(self, node: Node, *, deeper: int = 2) -> tuple[list[ast.stmt], Value]:
        """One of the macro's expressions, in a body of its own."""
        self.to.loops += 1
        with _scoped(self.to, self.variables), self.to.out.block(deeper) as statements:
            value = self.to.value(node)
        self.to.loops -= 1
        return statements, value

    def condition(self, node: Node) -> tuple[list[ast.stmt], ast.expr, bool]:
        """A condition of the macro: its statements, its truth, and whether it cannot raise."""
        statements, value = self.body(node)
        return statements, self.to.truth(value), value.certain and value.kind == "bool"

    def emit(self, statements: list[ast.stmt]) -> None:
        self.to.out.emit(loop(self.target, self.range, statements))

    def quantified(self) -> Value:
        """``all`` and ``exists`` absorb errors, as a chain does."""
        ends = self.node.kind == "exists"
        statements, truth, certain = self.condition(self.node.bodies[0])
        result = self.to.out.temporary()
        self.to.out.assign(result, ast.Constant(not ends))
        decided = [assign(result, ast.Constant(ends)), ast.Break()]
        statements.append(when(truth if ends else negated(truth), decided))
        if not certain:
            error = self.to.out.temporary()
            statements = [note_error(statements, error, result)]
        self.emit(statements)
        if not certain:
            self.to.out.emit(raise_unless_bool(result))
        return Value(load(result), "bool", self.certain and certain)

    def counted(self) -> Value:
        """``exists_one`` looks at every element, and absorbs nothing."""
        statements, truth, certain = self.condition(self.node.bodies[0])
        count = self.to.out.temporary()
        self.to.out.assign(count, ast.Constant(0))
        one_more = ast.BinOp(load(count), ast.Add(), ast.Constant(1))
        self.emit([*statements, when(truth, [assign(count, one_more)])])
        is_one = compare(load(count), ast.Eq(), ast.Constant(1))
        return Value(is_one, "bool", self.certain and certain, 2)

    def collected(self) -> Value:
        """``map``, ``filter`` and the transforms gather what their steps give."""
        kind = self.node.kind
        makes_map = kind in {"transformMap", "transformMapEntry"}
        result = self.to.out.temporary()
        empty = ast.Dict([], []) if makes_map else ast.List([], ast.Load())
        self.to.out.assign(result, empty)
        filters = self.node.bodies if kind == "filter" else self.node.bodies[:-1]
        certain = self.certain and not makes_map
        if kind == "filter":
            step = [expression(method(load(result), "append", load(self.names[0])))]
        else:
            step, value = self.body(self.node.bodies[-1])
            certain = certain and value.certain
            step.append(expression(self._gathered(kind, result, value.code)))
        for each in filters:
            statements, truth, filter_certain = self.condition(each)
            certain = certain and filter_certain
            step = [*statements, when(truth, step)]
        self.emit(step)
        return Value(load(result), "map" if makes_map else "list", certain)

    def _gathered(self, kind: str, result: str, value: ast.expr) -> ast.expr:
        if kind == "transformMap":
            return call("put", load(result), load(self.names[0]), value)
        if kind == "transformMapEntry":
            return call("put_all", load(result), value)
        return method(load(result), "append", value)

    def sorted(self) -> Value:
        """``sortBy`` computes all keys first."""
        keys = self.to.out.temporary()
        values = self.to.out.temporary()
        self.to.out.assign(values, self.range)
        self.to.out.assign(keys, ast.List([], ast.Load()))
        self.range = load(values)
        statements, value = self.body(self.node.bodies[0])
        self.emit([*statements, expression(method(load(keys), "append", value.code))])
        return Value(call("sort_by", load(values), load(keys)), "list", False, 2)


def _optional(to: Lowering, node: Macro) -> Value:
    """``optMap`` and ``optFlatMap``: the body, if there is a value."""
    operand = to.value(node.operand)
    optional, variable, result = (to.out.temporary() for _ in range(3))
    to.out.assign(optional, call("optional_value", operand.code))
    scope = {node.variables[0]: nodes.Local(variable, None)}
    with _scoped(to, scope), to.out.block(1) as body:
        to.out.assign(variable, ast.Attribute(load(optional), "value", ast.Load()))
        value = to.value(node.bodies[0])
        if node.kind == "optMap":
            to.out.assign(result, call("Optional", value.code, ast.Constant(True)))
        else:
            to.out.assign(result, call("optional_value", value.code))
    present = ast.Attribute(load(optional), "is_present", ast.Load())
    to.out.emit(when(present, body, [assign(result, load("NONE"))]))
    return Value(load(result), None, False)


def _slot(to: Lowering, node: Node) -> Local:
    """A variable with a node's value; an error waits in it until somebody reads it."""
    name = to.out.temporary()
    with to.out.block(1) as body:
        value = to.value(node)
        to.out.assign(name, value.code)
    if value.certain:
        to.out.body.extend(body)
        return nodes.Local(name, value.kind)
    error = to.out.temporary()
    to.out.emit(attempt(body, error, [assign(name, call("Failure", call("noted", load(error))))]))
    return nodes.Local(name, value.kind, may_fail=True)


def lower_bind(to: Lowering, node: Bind) -> Value:
    """``cel.bind(x, value, body)``."""
    local = _slot(to, node.value)
    with _scoped(to, {node.variable: local}):
        return to.value(node.body)


def lower_block(to: Lowering, node: Block) -> Value:
    """``cel.block([…], body)``: each slot may read those before it."""
    slots: dict[str, Local] = {}
    for at, slot in enumerate(node.slots):
        with _scoped(to, slots):
            slots[f"{INDEX}{at}"] = _slot(to, slot)
    with _scoped(to, slots):
        return to.value(node.body)
