"""Conditions as code: the statements of one function, while it is written. ``compiler`` has the theory."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from enforcer import cel
from enforcer.cel.errors import EvaluationError
from enforcer.cel.lowering.code import function
from enforcer.cel.program import noted
from enforcer.errors import RequestError
from enforcer.policy import runtime, variables
from enforcer.policy.comparing import comparison
from enforcer.policy.fields import CONTAINS_PII, Field, Origin, is_direct
from enforcer.policy.ir import (
    NEGATIONS,
    All,
    AnyOf,
    Expr,
    Leaf,
    Not,
    Test,
    can_err,
    cost,
    fields_of,
)
from enforcer.policy.reading import ABSENT, descend, read_record
from enforcer.policy.sharing import Sharing, test_key

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from enforcer.cel import Node
    from enforcer.policy.environment import Fact
    from enforcer.policy.model import FactsView, LimitsView
    from enforcer.policy.paths import Path

UNSET = object()
"""Stands in the variable of a field that was not read yet."""


# What can end an evaluation without a value: an error of CEL's, a map's missing key, a detector that fails.
ERRORS = (EvaluationError, KeyError, RequestError)


def noted_error(error: Exception) -> EvaluationError:
    """An error as a value of the code: without its traceback."""
    if isinstance(error, RequestError):
        return EvaluationError("unknown", f"a fact cannot be known: {error.message}")
    return noted(error)


_HELPERS: dict[str, Any] = {
    **cel.HELPERS,
    **variables.VARIABLE_HELPERS,
    "ERRORS": ERRORS,
    "noted": noted_error,
    "ABSENT": ABSENT,
    "UNSET": UNSET,
    "contains": runtime.contains,
    "descend": descend,
    "element_of": runtime.element_of,
    "matches": runtime.matches,
    "negated": runtime.negated,
    "order_number": runtime.order_number,
    "order_text": runtime.order_text,
    "order_time": runtime.order_time,
    "read_record": read_record,
    "same": runtime.same,
    "text_in": runtime.text_in,
    "unknown": RequestError,
}


class Code:
    """
    One function while it is written.

    Args:
        arguments: Of the function; leaves may read them.
        sharing: What its conditions have in common; nothing unless given.

    ``body`` are its statements, ``functions`` stand beside it, ``globals`` are constants and helpers.
    """

    def __init__(self, arguments: tuple[str, ...], sharing: Sharing | None = None) -> None:
        self.globals: dict[str, Any] = dict(_HELPERS)
        self.body: list[ast.stmt] = []
        self.functions: list[ast.FunctionDef] = []
        self._arguments = tuple(each.partition("=")[0] for each in arguments)
        self._leaves = 0
        self._temporaries = 0
        self._constants = 0
        self._fields: dict[Path, str] = {}
        self._sharing = sharing or Sharing()
        self._memos: dict[Hashable, str] = {}
        self._parts: dict[int, ast.expr] = {}
        self._is_in_leaf = False

    # --- pieces ---------------------------------------------------------------------------------

    def constant(self, value: Any) -> ast.expr:
        """A literal: scalars stand in the code, all else is a global under a generated name."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return ast.Constant(value)
        name = f"k{self._constants}"
        self._constants += 1
        self.globals[name] = value
        return local(name)

    def temporary(self) -> str:
        """A fresh local name."""
        self._temporaries += 1
        return f"t{self._temporaries}"

    def emit(self, statement: ast.stmt, guard: str | None = None) -> None:
        """Append a statement, under its guard if it has one."""
        self.body.append(when(local(guard), [statement]) if guard else statement)

    # --- reading --------------------------------------------------------------------------------

    def load(self, expression: Expr) -> None:
        """Read the fields of *expression* that were not read yet."""
        for field in fields_of(expression):
            if field.origin in {Origin.FACT, Origin.NOW} or field.path in self._fields:
                continue
            name = f"v{len(self._fields)}"
            self._fields[field.path] = name
            self.emit(assign(name, local("UNSET") if _is_costly(field) else self._read(field)))

    def _read(self, field: Field) -> ast.expr:
        path = field.path
        if is_direct(field):
            return attribute(local("request"), path)
        if field.origin is Origin.ATTRIBUTES:
            attributes = attribute(local("request"), ("attributes",))
            if len(path) == 2:
                get = ast.Attribute(attributes, "get", ast.Load())
                return ast.Call(get, [self.constant(path[1]), local("ABSENT")], [])
            return call("descend", attributes, self.constant(path[1:]))
        if field.origin is Origin.RAW:
            raw = attribute(local("request"), ("raw",))
            return call("descend", raw, self.constant(path[1:]))
        return call("read_record", local("request"), self.constant(path))

    def value(self, field: Field) -> ast.expr:
        """The expression that stands for a field."""
        if field.origin is Origin.NOW:
            return local("now_us")
        if field.origin is not Origin.FACT:
            name = self._fields[field.path]
            if not _is_costly(field):
                return local(name)
            read = ast.NamedExpr(ast.Name(name, ast.Store()), self._read(field))
            return ast.IfExp(_is_unset(name), read, local(name))
        if field.path == CONTAINS_PII:
            return ast.Compare(self.fact(field.fact), [ast.Gt()], [ast.Constant(0)])
        fact = self.fact(field.fact, field.argument)
        if field.path[-2] == "counts":  # Of a kind.
            get = ast.Attribute(fact, "get", ast.Load())
            return ast.Call(get, [self.constant(field.path[-1]), ast.Constant(0)], [])
        return fact

    def fact(self, name: str, argument: float | None = None) -> ast.expr:
        """An attribute of the facts, or what one that is a method answers; read once by comparisons."""
        found = attribute(local("facts"), (name,))
        if argument is not None:
            found = ast.Call(found, [ast.Constant(argument)], [])
        if self._is_in_leaf or not self._sharing.is_read_again((name, argument)):
            return found
        return self._once((name, argument), found)

    # --- conditions -----------------------------------------------------------------------------

    def lower(self, expression: Expr, guard: str | None = None) -> str:
        """
        Write the statements that evaluate *expression*; the name of the variable with its result.

        Under a guard that is false the variable is not set, and nobody reads it.
        """
        if isinstance(expression, Test):
            result = self.temporary()
            self.emit(self._assign_test(result, expression), guard)
            return result
        if is_flat(expression):
            result = self.temporary()
            self.emit(assign(result, self._operand(expression)), guard)
            return result
        if isinstance(expression, Leaf):
            result = self.temporary()
            for statement in self._assign_leaf(result, expression):
                self.emit(statement, guard)
            return result
        if isinstance(expression, Not):
            inner = self.lower(expression.term, guard)
            result = self.temporary()
            contrary: ast.expr = ast.UnaryOp(ast.Not(), local(inner))
            if can_err(expression):
                contrary = call("negated", local(inner))
            self.emit(assign(result, contrary), guard)
            return result
        return self._chain(expression, guard)

    def _chain(self, expression: All | AnyOf, guard: str | None) -> str:
        is_all = isinstance(expression, All)
        # Absorption makes terms commute; the sort is stable, so the order is the same every time.
        terms = sorted(expression.terms, key=cost)
        flat_terms = [term for term in terms if is_flat(term)]
        others = [term for term in terms if not is_flat(term)]
        if not flat_terms and others:
            # The first of them is what the others are folded into.
            result = self.lower(others.pop(0), guard)
        else:
            result = self.temporary()
            operands = [self._operand(term) for term in flat_terms]
            self.emit(assign(result, flat(operands, is_all=is_all)), guard)
        for term in others:
            if isinstance(term, Test | Leaf):
                self._fold_atom(term, result, guard, is_all=is_all)
            else:
                self._fold_compound(term, result, guard, is_all=is_all)
        return result

    def _operand(self, term: Expr) -> ast.expr:
        """A flat term: a test that cannot err, or the contrary of one."""
        if isinstance(term, Not):
            return ast.UnaryOp(ast.Not(), self._operand(term.term))
        assert isinstance(term, Test), term
        return self.test(term)

    def _fold_atom(
        self, term: Test | Leaf, result: str, guard: str | None, *, is_all: bool
    ) -> None:
        inner = self.temporary()
        if isinstance(term, Test):
            statements = [self._assign_test(inner, term)]
        else:
            statements = self._assign_leaf(inner, term)
        statements.append(_fold(result, inner, is_all=is_all))
        undecided = _undecided(result, is_all=is_all)
        if guard is not None:
            undecided = ast.BoolOp(ast.And(), [local(guard), undecided])
        self.emit(when(undecided, statements))

    def _assign_leaf(self, result: str, leaf: Leaf) -> list[ast.stmt]:
        """The value of a leaf into a variable; None where it errs."""
        reads, lowered = self._lowered(leaf)
        return [*reads, *lowered.condition(result)]

    def _lowered(self, leaf: Leaf) -> tuple[list[ast.stmt], cel.Lowered]:
        """What reads the costly fields of a leaf, and its code."""
        prefix = f"e{self._leaves}_"
        self._leaves += 1
        lowered = self._write_leaf(leaf, prefix, self._part_of(leaf))
        return self._costly_reads(leaf), lowered

    def _write_leaf(
        self, leaf: Leaf, prefix: str, part: Callable[[Node], ast.expr | None]
    ) -> cel.Lowered:
        def reading(name: str, constant: Callable[[Any], ast.expr]) -> cel.Variable:
            fact = leaf.condition.environment.fact(name)
            is_present = fact.name in leaf.present
            return variables.variable_of(
                fact, self._leaf_value(fact), constant, is_present=is_present
            )

        parameters = (*self._arguments, "memo", *self._fields.values())
        lowered = variables.lowered(leaf, reading, parameters, prefix=prefix, part=part)
        self.globals.update(lowered.constants)
        self.functions.extend(lowered.functions)
        return lowered

    def _part_of(self, leaf: Leaf, beside: int = -1) -> Callable[[Node], ast.expr | None]:
        """How a part of *leaf* that is asked for again is read; but for *beside*, which is being written."""

        def part(node: Node) -> ast.expr | None:
            number = self._sharing.part(node)
            if number is None or number == beside:
                return None
            if number not in self._parts:
                self._parts[number] = self._write_part(leaf, node, number)
            return self._parts[number]

        return part

    def _write_part(self, leaf: Leaf, node: Node, number: int) -> ast.expr:
        """A function that computes a part where it is first asked for; the expression that calls it."""
        name, at = f"p{number}", ast.Constant(len(self._parts))
        self._parts[number] = at  # Takes its place: parts within it come after.
        memo = ast.Subscript(local("memo"), at, ast.Load())
        whole = replace(leaf, root=node, present=frozenset())
        lowered = self._write_leaf(whole, f"{name}_", self._part_of(leaf, beside=number))
        body = [
            when(ast.Compare(memo, [ast.IsNot()], [local("UNSET")]), [ast.Return(memo)]),
            *lowered.body,
            ast.Assign([ast.Subscript(local("memo"), at, ast.Store())], lowered.value.code),
            ast.Return(memo),
        ]
        names = [*self._arguments, *self._fields.values()]
        read = {each.id for each in ast.walk(ast.Module(body, [])) if isinstance(each, ast.Name)}
        parameters = ["memo", *(each for each in names if each in read)]
        self.functions.append(function(name, parameters, body))
        return call(name, *map(local, parameters))

    def return_leaf(self, leaf: Leaf) -> None:
        """Write a body that returns the value of a leaf, or raises."""
        reads, lowered = self._lowered(leaf)
        self.body.extend([*reads, *lowered.body, ast.Return(lowered.value.code)])

    def _leaf_value(self, fact: Fact) -> ast.expr:
        if fact.row is not None:
            return call("row", local("limits"), self.constant(fact.row))
        if fact.field is None:
            return ast.Constant(None)  # Of values: they are constants.
        if _is_costly(fact.field):
            return local(self._fields[fact.field.path])
        # The code of a leaf may stand in a function of its own, which sets no variable of this one.
        self._is_in_leaf = True
        value = self.value(fact.field)
        self._is_in_leaf = False
        return value

    def _costly_reads(self, leaf: Leaf) -> list[ast.stmt]:
        """What reads the fields of a leaf that are read only when they are needed."""
        fields = [fact.field for fact in leaf.facts if fact.field is not None]
        names = {self._fields[f.path]: f for f in fields if _is_costly(f)}
        return [when(_is_unset(name), [assign(name, self._read(f))]) for name, f in names.items()]

    def _assign_test(self, result: str, test: Test) -> ast.stmt:
        """The value of a test into a variable; None where a detector cannot tell the fact."""
        set_ = assign(result, self.test(test))
        if not test.is_detected:
            return set_
        unknown = ast.ExceptHandler(local("unknown"), None, [assign(result, ast.Constant(None))])
        return ast.Try([set_], [unknown], [], [])

    def _fold_compound(self, term: Expr, result: str, guard: str | None, *, is_all: bool) -> None:
        open_ = self.temporary()
        condition: ast.expr = _undecided(result, is_all=is_all)
        if guard is not None:
            condition = ast.BoolOp(ast.And(), [local(guard), condition])
        self.emit(assign(open_, condition))
        inner = self.lower(term, open_)
        self.emit(_fold(result, inner, is_all=is_all), open_)

    # --- tests ----------------------------------------------------------------------------------

    def test(self, test: Test) -> ast.expr:
        """The expression of one comparison: True, False, or None for an error."""
        positive = NEGATIONS.get(test.op)
        if positive is not None:
            contrary = replace(test, op=positive)
            if contrary.can_err:
                return call("negated", self.test(contrary))
            return ast.UnaryOp(ast.Not(), self.test(contrary))
        found = comparison(self, test)
        return self._once(test_key(test), found) if self._sharing.is_shared(test) else found

    def memos(self) -> list[ast.stmt]:
        """What the function begins with: nothing that is shared was computed yet."""
        found = [assign(name, local("UNSET")) for name in self._memos.values()]
        if self._parts:
            unset = ast.List([local("UNSET") for _ in self._parts], ast.Load())
            found.append(assign("memo", unset))
        return found

    def _once(self, key: Hashable, found: ast.expr) -> ast.expr:
        """What is asked for more than once: computed where it is first reached."""
        name = self._memos.setdefault(key, f"s{len(self._memos)}")
        found = ast.NamedExpr(ast.Name(name, ast.Store()), found)
        return ast.IfExp(_is_unset(name), found, local(name))


def _is_costly(field: Field) -> bool:
    """Whether reading a field takes more than a few attributes: it is read when it is needed."""
    if field.origin is Origin.RAW:
        return True
    return field.origin is Origin.RECORD and not is_direct(field)


def _is_unset(name: str) -> ast.expr:
    return ast.Compare(local(name), [ast.Is()], [local("UNSET")])


def is_flat(term: Expr) -> bool:
    """Whether a term of a chain is one expression that cannot err."""
    if isinstance(term, Not):
        return isinstance(term.term, Test) and not term.term.can_err
    return isinstance(term, Test) and not term.can_err


def flat(operands: list[ast.expr], *, is_all: bool) -> ast.expr:
    if not operands:
        return ast.Constant(is_all)
    if len(operands) == 1:
        return operands[0]
    return ast.BoolOp(ast.And() if is_all else ast.Or(), operands)


def _undecided(result: str, *, is_all: bool) -> ast.expr:
    """Whether a further term can still change *result*."""
    return ast.Compare(local(result), [ast.IsNot()], [ast.Constant(not is_all)])


def _fold(result: str, inner: str, *, is_all: bool) -> ast.stmt:
    """Join a term into a result that is undecided (see the theory of operation, 3)."""
    test: ast.expr = ast.UnaryOp(ast.Not(), local(inner))
    if not is_all:
        test = ast.Compare(local(inner), [ast.IsNot()], [ast.Constant(False)])
    return when(test, [assign(result, local(inner))])


def local(name: str) -> ast.Name:
    """A name that is read."""
    return ast.Name(name, ast.Load())


def assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def when(test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt] | None = None) -> ast.stmt:
    return ast.If(test, body, orelse or [])


def call(function: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(local(function), list(arguments), [])


def attribute(value: ast.expr, path: Path) -> ast.expr:
    for step in path:
        # Steps of direct reads are names of our own schema, never an author's text.
        assert isinstance(step, str), path
        value = ast.Attribute(value, step, ast.Load())
    return value


def append(target: str, item: ast.expr) -> ast.stmt:
    append = ast.Attribute(local(target), "append", ast.Load())
    return ast.Expr(ast.Call(append, [item], []))


# --- functions ----------------------------------------------------------------------------------


def compile_value(leaf: Leaf) -> Callable[[Any, FactsView, int | None, LimitsView | None], Any]:
    """A function that gives the value of a leaf, or raises one of ``ERRORS``: for what is off the fast path."""
    arguments = ("request", "facts", "now_us", "limits")
    code = Code(arguments)
    code.load(leaf)
    code.return_leaf(leaf)
    value: Callable[..., Any] = finish(code, "value", arguments)
    return value


def finish(code: Code, name: str, arguments: tuple[str, ...]) -> Any:
    """The function of what was written."""
    # The frame is parsed, for what a function node consists of differs between Pythons.
    module = ast.parse(f"def {name}({', '.join(arguments)}): pass")
    frame = module.body[0]
    assert isinstance(frame, ast.FunctionDef)
    frame.body = [*code.memos(), *code.body]
    module.body[:0] = code.functions
    ast.fix_missing_locations(module)
    exec(compile(module, f"<compiled {name}>", "exec"), code.globals)  # noqa: S102 — an ast of our own making, with literals as constants only
    return code.globals[name]
