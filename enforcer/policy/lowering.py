"""Conditions as code: the statements of one function, while it is written. ``compiler`` has the theory."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from enforcer import cel
from enforcer.cel.errors import EvaluationError
from enforcer.cel.program import noted
from enforcer.errors import RequestError
from enforcer.policy import runtime, variables
from enforcer.policy.fields import CONTAINS_PII, Field, Kind, Origin, is_direct
from enforcer.policy.ir import (
    NEGATIONS,
    ORDERINGS,
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
from enforcer.policy.regex import compile_search

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.policy.environment import Fact
    from enforcer.policy.model import FactsView, LimitsView
    from enforcer.policy.paths import Path

UNSET = object()
"""Stands in the variable of a field that was not read yet."""


_NUMBERS = frozenset({Kind.INT, Kind.DOUBLE})
_COMPARISONS: dict[str, type[ast.cmpop]] = {
    "gt": ast.Gt,
    "gte": ast.GtE,
    "lt": ast.Lt,
    "lte": ast.LtE,
}
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

    ``body`` are its statements, ``functions`` stand beside it, ``globals`` are constants and helpers.
    """

    def __init__(self, arguments: tuple[str, ...]) -> None:
        self.globals: dict[str, Any] = dict(_HELPERS)
        self.body: list[ast.stmt] = []
        self.functions: list[ast.FunctionDef] = []
        self._arguments = tuple(each.partition("=")[0] for each in arguments)
        self._leaves = 0
        self._temporaries = 0
        self._constants = 0
        self._fields: dict[Path, str] = {}

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
        fact = attribute(local("facts"), (field.fact,))
        if field.path == CONTAINS_PII:
            return ast.Compare(fact, [ast.Gt()], [ast.Constant(0)])
        if field.argument is not None:
            fact = ast.Call(fact, [ast.Constant(field.argument)], [])
        if field.path[-2] == "counts":  # Of a kind.
            get = ast.Attribute(fact, "get", ast.Load())
            return ast.Call(get, [self.constant(field.path[-1]), ast.Constant(0)], [])
        return fact

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
        result = self.temporary()
        operands = [self._operand(term) for term in flat_terms]
        self.emit(assign(result, flat(operands, is_all=is_all)), guard)
        for term in terms:
            if is_flat(term):
                continue
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

        def reading(name: str, constant: Callable[[Any], ast.expr]) -> cel.Variable:
            fact = leaf.condition.environment.fact(name)
            is_present = fact.name in leaf.present
            return variables.variable_of(
                fact, self._leaf_value(fact), constant, is_present=is_present
            )

        parameters = (*self._arguments, *self._fields.values())
        lowered = variables.lowered(leaf, reading, parameters, prefix)
        self.globals.update(lowered.constants)
        self.functions.extend(lowered.functions)
        return self._costly_reads(leaf), lowered

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
        return self.value(fact.field)

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
        if test.field.type.kind is Kind.TIME:
            compare = self.constant(runtime.COMPARE[test.op])
            return call("order_time", compare, local("now_us"), self.constant(test.value))
        value = self.value(test.field)
        return self._direct(test, value) if is_direct(test.field) else self._open(test, value)

    def _direct(self, test: Test, value: ast.expr) -> ast.expr:
        """A field of known type, None for absent."""
        kind = test.field.type.kind
        if test.op == "exists":
            if not test.field.optional:
                return ast.Constant(True)
            return ast.Compare(value, [ast.IsNot()], [ast.Constant(None)])
        if test.op == "eq":
            return self._direct_equality(kind, value, test.value)
        if test.op == "in":
            return self._direct_membership(kind, value, test.value)
        if test.op == "contains" and kind is Kind.LIST:
            return ast.Compare(self.constant(test.value), [ast.In()], [value])
        present, value = self._present(test.field, value)
        if test.op in ORDERINGS:
            operator = _COMPARISONS[test.op]()
            found: ast.expr = ast.Compare(value, [operator], [self.constant(test.value)])
        elif test.op == "contains":
            found = ast.Compare(self.constant(test.value), [ast.In()], [value])
        else:
            found = ast.Call(self.constant(compile_search(test.value)), [value], [])
        if present is None:
            return found
        if test.is_strict:
            return ast.IfExp(present, found, ast.Constant(None))
        return ast.BoolOp(ast.And(), [present, found])

    def _present(self, field: Field, value: ast.expr) -> tuple[ast.expr | None, ast.expr]:
        """The test that an optional field is there, and the value to go on with, read once."""
        if not field.optional:
            return None, value
        if isinstance(value, ast.Name):
            return ast.Compare(value, [ast.IsNot()], [ast.Constant(None)]), value
        name = self.temporary()
        read = ast.NamedExpr(ast.Name(name, ast.Store()), value)
        return ast.Compare(read, [ast.IsNot()], [ast.Constant(None)]), local(name)

    def _direct_equality(self, kind: Kind, value: ast.expr, literal: Any) -> ast.expr:
        if kind is Kind.LIST:
            return call("same", value, self.constant(literal))
        if not _equals(kind, literal):
            return ast.Constant(False)
        operator = ast.Is() if kind is Kind.BOOL else ast.Eq()
        return ast.Compare(value, [operator], [self.constant(literal)])

    def _direct_membership(self, kind: Kind, value: ast.expr, literal: list[Any]) -> ast.expr:
        if kind is Kind.LIST:
            return call("element_of", value, self.constant(literal))
        fitting = [each for each in literal if _equals(kind, each)]
        if not fitting:
            return ast.Constant(False)
        return ast.Compare(value, [ast.In()], [self.constant(frozenset(fitting))])

    def _open(self, test: Test, value: ast.expr) -> ast.expr:
        """A value whose type shows at run time, ABSENT for absent."""
        literal = test.value
        if test.op == "exists":
            return ast.Compare(value, [ast.IsNot()], [local("ABSENT")])
        if test.op == "eq":
            if isinstance(literal, str):
                return ast.Compare(value, [ast.Eq()], [ast.Constant(literal)])
            return call("same", value, self.constant(literal))
        if test.op == "in":
            if all(isinstance(each, str) for each in literal):
                return call("text_in", value, self.constant(frozenset(literal)))
            return call("element_of", value, self.constant(literal))
        if test.op == "contains":
            return call("contains", value, self.constant(literal))
        if test.is_strict:
            found = self._open(replace(test, is_strict=False), value)
            absent = ast.Compare(value, [ast.Is()], [local("ABSENT")])
            return ast.IfExp(absent, ast.Constant(None), found)
        if test.op == "matches":
            return call("matches", value, self.constant(compile_search(literal)))
        helper = "order_text" if isinstance(literal, str) else "order_number"
        compare = self.constant(runtime.COMPARE[test.op])
        return call(helper, compare, value, self.constant(literal))


def _equals(kind: Kind, literal: Any) -> bool:
    """Whether *literal* is of a type that can equal a declared scalar."""
    if kind is Kind.BOOL:
        return isinstance(literal, bool)
    if kind in _NUMBERS:
        return isinstance(literal, (int, float)) and not isinstance(literal, bool)
    return isinstance(literal, str)


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
    function: Callable[..., Any] = finish(code, "value", arguments)
    return function


def finish(code: Code, name: str, arguments: tuple[str, ...]) -> Any:
    """The function of what was written."""
    # The frame is parsed, for what a function node consists of differs between Pythons.
    module = ast.parse(f"def {name}({', '.join(arguments)}): pass")
    function = module.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.body = code.body
    module.body[:0] = code.functions
    ast.fix_missing_locations(module)
    exec(compile(module, f"<compiled {name}>", "exec"), code.globals)  # noqa: S102 — an ast of our own making, with literals as constants only
    return code.globals[name]
