"""
Lowering: from a tree to Python's own ``ast``.

Theory of operation
===================

1. **Three values.** An expression has a value or raises an evaluation error. ``&&`` and ``||`` absorb
   errors whatever the order, so operands that cannot raise go first, as one flat ``and`` or ``or``; each
   other stands in a ``try`` that notes its error, but for the last, whose error nothing can absorb any more:

       t1 = a == 'x' and b in k1            # operands that cannot raise
       if t1 is not False:
           try:
               if not less(c, 5): t1 = False
           except ERRORS as t2: t1 = noted(t2)   # t1 is True, False or an error
       if t1 is not False:
           if not f(d): t1 = False
       if t1.__class__ is not bool: raise again(t1)

   A ``try`` costs nothing where nothing is raised. An error is noted without its traceback and raised again
   as another object: else it would hold the frame whose variable holds it, for the collector to find.

2. **Types are used where they are certain.** With a checked tree, ``x == 'a'`` on a string is ``x == 'a'``;
   without, it is ``equal(x, 'a')``, for True is 1 to Python and not to CEL. A result may leave the range
   of its type: int arithmetic is written out with its bounds. Timestamps, durations and optionals are never
   taken on trust, for null may stand for them.

3. **No nesting that follows the author's.** Python's compiler recurses over nested expressions and blocks,
   and counts blocks. An expression that nests deeper than ``HEIGHT_MAX`` goes through a variable; what
   would stand deeper than ``BLOCKS_MAX`` blocks becomes a function of its own, which takes the variables
   that it reads. Chains of one precedence stay flat however long.

4. **Macros within macros are counted.** What one evaluation may spend on them is bounded; a macro alone
   is bounded by its list.

5. **Only our own names.** A macro's variable is ``t7``; literals are constants.

The same tree gives the same code.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from enforcer.cel import names
from enforcer.cel.lowering import calls, displays, loops, operations
from enforcer.cel.lowering.code import (
    HEIGHT_MAX,
    Value,
    Variable,
    Writer,
    assign,
    call,
    compare,
    load,
    negated,
    note_error,
    raise_unless_bool,
    when,
)
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
from enforcer.cel.values import TypeValue, UInt

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.cel.types import Type

BLOCKS_MAX: Final = 8
TRUSTED: Final = frozenset({"bool", "int", "uint", "double", "string", "bytes", "list", "map"})

Reading: TypeAlias = "Callable[[str, Callable[[Any], ast.expr]], Variable]"
"""From a variable's name, and what makes a constant of a value, to how it is read."""

_KINDS: Final = {
    bool: "bool",
    int: "int",
    UInt: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
}


@dataclass(frozen=True, slots=True)
class Local:
    """A macro's variable; ``may_fail`` if it may hold an error in place of a value."""

    name: str
    kind: str | None
    may_fail: bool = False


class Lowering:
    """
    One tree on its way to code.

    Args:
        environment: What its names stand for.
        types: Of its nodes, by identity, if it checked and the variables are of their types; else none.
        reading: How a variable is read.
        writer: Where the code goes.
        part: How a node is read whose value is computed elsewhere; None of all others.
    """

    def __init__(
        self,
        environment: names.Environment,
        types: dict[int, Type],
        *,
        reading: Reading,
        writer: Writer,
        part: Callable[[Node], ast.expr | None] | None = None,
    ) -> None:
        self.environment = environment
        self.types = types
        self.reading = reading
        self.out = writer
        self._part = part
        self.scope: dict[str, Local] = {}
        self.variables: dict[str, None] = {}
        self.loops = 0
        self.budget: str | None = None

    # --- what is known --------------------------------------------------------------------------

    def kind_of(self, node: Node) -> str | None:
        """The type of *node*, where it can be relied upon."""
        known = self.types.get(id(node))
        return known.name if known is not None and known.name in TRUSTED else None

    def value(self, node: Node) -> Value:
        """Write what *node* needs; the expression it comes to."""
        if self._part is not None:
            found = self._part(node)
            if found is not None:
                return Value(found, self.kind_of(node), False, 2)
        if self.out.depth >= BLOCKS_MAX and not isinstance(node, Literal | Ident):
            return self._split_off(node)
        value = _LOWER[node.__class__](self, node)
        if value.kind is None:
            kind = self.kind_of(node)
            if kind is not None:
                value = Value(value.code, kind, value.certain, value.height)
        return self.out.spilled(value) if value.height > HEIGHT_MAX else value

    def _split_off(self, node: Node) -> Value:
        with self.out.function() as body:
            value = self.value(node)
            self.out.emit(ast.Return(value.code))
        return Value(self.out.split_off(body), value.kind, value.certain, 2)

    def made(self, code: ast.expr, kind: str | None, *parts: Value, certain: bool = True) -> Value:
        """A value made of *parts*: certain if they all are."""
        return Value(
            code,
            kind,
            certain and all(part.certain for part in parts),
            1 + max((part.height for part in parts), default=0),
        )

    def fail(self, code: str, message: str) -> Value:
        """A value that is always an error."""
        return Value(call("fail", ast.Constant(code), ast.Constant(message)), None, False)

    def truth(self, value: Value) -> ast.expr:
        """*value* as a condition; an error if it is no bool."""
        return value.code if value.kind == "bool" else call("truth", value.code)

    # --- leaves ---------------------------------------------------------------------------------

    def literal(self, node: Literal) -> Value:
        return Value(self.out.constant(node.value), _KINDS.get(node.value.__class__), True)

    def ident(self, node: Ident) -> Value:
        local = None if node.absolute else self.scope.get(node.name)
        if local is not None:
            name = load(local.name)
            if local.may_fail:
                return Value(call("unfailed", name), local.kind, False, 2)
            return Value(name, local.kind, True)
        found = self.named(node)
        if found is not None:
            return found
        return self.fail("unbound", f"undeclared reference to '{written(node.name)}'")

    def named(self, node: Ident | Select) -> Value | None:
        """A variable or a type, if the whole of *node* names one."""
        variable = names.variable_named(self.environment, node, self.scope)
        if variable is not None:
            found, kind = self.variable(variable)
            if not found.is_tolerant:
                return Value(found.code, kind, found.certain, 2)
            absent = call("fail", ast.Constant("absent"), ast.Constant(found.absent))
            return Value(ast.IfExp(found.present, found.code, absent), kind, False, 3)
        type_name = names.type_named(self.environment, node, self.scope)
        if type_name is not None:
            return Value(self.out.constant(TypeValue(type_name)), None, True)
        return None

    def variable(self, name: str) -> tuple[Variable, str | None]:
        """How a variable is read, and its type where it can be relied upon."""
        self.variables.setdefault(name, None)
        kind = None
        if self.types:
            declared = self.environment.variables[name].name
            kind = declared if declared in TRUSTED else None
        return self.reading(name, self.out.constant), kind

    # --- fields and indexes ---------------------------------------------------------------------

    def select(self, node: Select) -> Value:
        found = self._optional_variable(node) if node.optional else self.named(node)
        if found is not None:
            return found
        operand = self.value(node.operand)
        name = ast.Constant(node.name)
        if node.optional:
            return self.made(
                call("select_optional", operand.code, name),
                None,
                operand,
                certain=operand.kind == "map",
            )
        if operand.kind == "map":
            code: ast.expr = ast.Subscript(operand.code, name, ast.Load())
        else:
            code = call("select", operand.code, name)
        return self.made(code, None, operand, certain=False)

    def _presence(self, node: Select) -> Variable | None:
        """A declared variable that *node* asks for."""
        name = names.presence_named(self.environment, node, self.scope)
        return None if name is None else self.variable(name)[0]

    def _optional_variable(self, node: Select) -> Value | None:
        found = self._presence(node)
        if found is None:
            return None
        some = call("Optional", found.code, ast.Constant(True))
        return Value(ast.IfExp(found.present, some, load("NONE")), None, found.certain, 3)

    def has(self, node: Has) -> Value:
        variable = self._presence(node.select)
        if variable is not None:
            return Value(variable.present, "bool", variable.presence_certain, 2)
        operand = self.value(node.select.operand)
        name = ast.Constant(node.select.name)
        if operand.kind == "map":
            return self.made(compare(name, ast.In(), operand.code), "bool", operand)
        return self.made(call("has", operand.code, name), "bool", operand, certain=False)

    def index(self, node: Index) -> Value:
        operand, at = self.value(node.operand), self.value(node.index)
        if not node.optional and operand.kind == "map" and at.kind == "string":
            code: ast.expr = ast.Subscript(operand.code, at.code, ast.Load())
        else:
            code = call("index_optional" if node.optional else "index", operand.code, at.code)
        return self.made(code, None, operand, at, certain=False)

    # --- branches -------------------------------------------------------------------------------

    def conditional(self, node: Conditional) -> Value:
        test = self.value(node.test)
        with self.out.block(1) as then_body:
            then = self.value(node.then)
        with self.out.block(1) as otherwise_body:
            otherwise = self.value(node.otherwise)
        kind = then.kind if then.kind == otherwise.kind else None
        certain = test.kind == "bool"
        if not then_body and not otherwise_body:
            code = ast.IfExp(self.truth(test), then.code, otherwise.code)
            return self.made(code, kind, test, then, otherwise, certain=certain)
        result = self.out.temporary()
        then_body.append(assign(result, then.code))
        otherwise_body.append(assign(result, otherwise.code))
        self.out.emit(when(self.truth(test), then_body, otherwise_body))
        certain = certain and test.certain and then.certain and otherwise.certain
        return Value(load(result), kind, certain)

    def logic(self, node: Logic) -> Value:
        ends = node.operator == "||"
        plain: list[Value] = []
        others: list[tuple[list[ast.stmt], Value]] = []
        for operand in node.operands:
            with self.out.block(2) as body:
                value = self.value(operand)
            if not body and value.certain and value.kind == "bool":
                plain.append(value)
            else:
                others.append((body, value))
        start = self._flat(plain, ends=ends)
        if not others:
            return start
        result = self.out.temporary()
        self.out.assign(result, start.code)
        for at, (body, value) in enumerate(others):
            self._fold(result, body, value, ends=ends, first=at == 0 and not plain,
                       last=at == len(others) - 1)  # fmt: skip
        certain = [value.certain and value.kind == "bool" for _, value in others]
        if not all(certain[:-1]):
            self.out.emit(raise_unless_bool(result))
        return Value(load(result), "bool", all(certain))

    def _flat(self, plain: list[Value], *, ends: bool) -> Value:
        if not plain:
            return Value(ast.Constant(not ends), "bool", True)
        if len(plain) == 1:
            return plain[0]
        operator = ast.Or() if ends else ast.And()
        return self.made(ast.BoolOp(operator, [each.code for each in plain]), "bool", *plain)

    def _fold(
        self,
        result: str,
        body: list[ast.stmt],
        value: Value,
        *,
        ends: bool,
        first: bool,
        last: bool,
    ) -> None:
        """Join one operand into the result of a chain; *ends* is the truth that decides it."""
        truth = self.truth(value)
        decided = [assign(result, ast.Constant(ends))]
        body.append(when(truth if ends else negated(truth), decided))
        if not last and not (value.certain and value.kind == "bool"):
            error = self.out.temporary()
            body = [note_error(body, error, result)]
        if first:
            self.out.body.extend(body)
        else:
            self.out.emit(when(compare(load(result), ast.IsNot(), ast.Constant(ends)), body))

    def message(self, node: Message) -> Value:
        return self.fail("unbound", f"there is no message type '{node.name}'")


_LOWER: Final[dict[type, Callable[[Lowering, Any], Value]]] = {
    Literal: Lowering.literal,
    Ident: Lowering.ident,
    Select: Lowering.select,
    Has: Lowering.has,
    Index: Lowering.index,
    Call: calls.lower_call,
    Unary: operations.lower_unary,
    Logic: Lowering.logic,
    Chain: operations.lower_chain,
    Conditional: Lowering.conditional,
    ListDisplay: displays.lower_list,
    MapDisplay: displays.lower_map,
    Message: Lowering.message,
    Macro: loops.lower_macro,
    Bind: loops.lower_bind,
    Block: loops.lower_block,
}
