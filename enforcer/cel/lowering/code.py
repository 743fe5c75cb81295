"""
Python code in the making: statements, names, constants, and functions split off.

All of it is an ``ast``; no text of an author is ever part of a name or of source. Author's literals are
``ast.Constant`` or entries of the globals under generated names.
"""

from __future__ import annotations

import ast
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Iterator

ERRORS: Final = (EvaluationError, KeyError)
"""What generated code may raise. A KeyError is a map's missing key, read with no detour."""

ERRORS_NAME: Final = "ERRORS"

HEIGHT_MAX: Final = 8
"""How deep an expression may nest before it goes through a variable."""


@dataclass(frozen=True, slots=True)
class Value:
    """
    What a node came to: an expression, and what is known of it before it runs.

    Args:
        code: Reads names only that are set where it stands.
        kind: The type, where it is certain: bool, int, uint, double, string, bytes, list or map.
        certain: Neither it nor the statements before it can raise.
        height: How deep ``code`` nests.
    """

    code: ast.expr
    kind: str | None
    certain: bool
    height: int = 1


ALWAYS: Final = ast.Constant(True)


@dataclass(frozen=True, slots=True)
class Variable:
    """
    How a variable is read.

    Args:
        code: Its value, where it is there.
        certain: ``code`` never raises where it is there.
        present: Whether it is there, a bool.
        presence_certain: ``present`` never raises.
        absent: What is said where it is read and not there. With it, absence is a case of its own: ``==``, ``!=``
            and ``in`` hold that what is absent equals nothing, and any other read errs. Without, ``code`` is
            read as it stands.
    """

    code: ast.expr
    certain: bool
    present: ast.expr = ALWAYS
    presence_certain: bool = True
    absent: str = ""

    @property
    def is_tolerant(self) -> bool:
        """Whether absence is a case of its own."""
        return bool(self.absent)


class Writer:
    """The code of one expression: the body being written, its constants, the functions split off."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.body: list[ast.stmt] = []
        self.depth = 0
        self.functions: list[ast.FunctionDef] = []
        self.globals: dict[str, Any] = {}
        self.locals: set[str] = set()
        self._count = 0

    def _fresh(self, letter: str) -> str:
        self._count += 1
        return f"{self.prefix}{letter}{self._count}"

    def temporary(self) -> str:
        """A fresh local name."""
        name = self._fresh("t")
        self.locals.add(name)
        return name

    def constant(self, value: Any) -> ast.expr:
        """A value as data: scalars stand in the code, all else is a global under a generated name."""
        if value is None or value.__class__ in {bool, int, float, str, bytes}:
            return ast.Constant(value)
        name = self._fresh("k")
        self.globals[name] = value
        return load(name)

    def emit(self, statement: ast.stmt) -> None:
        """Append a statement to the body being written."""
        self.body.append(statement)

    def assign(self, name: str, value: ast.expr) -> None:
        """``name = value``."""
        self.emit(assign(name, value))

    def spilled(self, value: Value) -> Value:
        """*value* in a variable of its own, with the height of a name."""
        name = self.temporary()
        self.assign(name, value.code)
        return Value(load(name), value.kind, value.certain)

    @contextmanager
    def block(self, deeper: int) -> Iterator[list[ast.stmt]]:
        """Write into a body of its own, *deeper* levels below this one."""
        outer, self.body = self.body, []
        self.depth += deeper
        try:
            yield self.body
        finally:
            self.body = outer
            self.depth -= deeper

    @contextmanager
    def function(self) -> Iterator[list[ast.stmt]]:
        """Write into the body of a function, which nests in nothing."""
        outer_depth, self.depth = self.depth, 0
        try:
            with self.block(0) as body:
                yield body
        finally:
            self.depth = outer_depth

    def split_off(self, body: list[ast.stmt]) -> ast.expr:
        """Make a function of *body*, which returns; the expression that calls it here."""
        parameters = self._free(body)
        name = self._fresh("f")
        self.functions.append(function(name, parameters, body))
        return ast.Call(load(name), [load(each) for each in parameters], [])

    def _free(self, body: list[ast.stmt]) -> list[str]:
        """The local names that *body* reads and does not set, in the order it reads them."""
        read: dict[str, None] = {}
        written: set[str] = set()
        for node in ast.walk(ast.Module(body, [])):
            if isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Store):
                    written.add(node.id)
                elif node.id in self.locals:
                    read[node.id] = None
            elif isinstance(node, ast.ExceptHandler) and node.name:
                written.add(node.name)
        return [name for name in read if name not in written]


def function(name: str, parameters: list[str], body: list[ast.stmt]) -> ast.FunctionDef:
    """A function definition. Parsed from a frame, for what the node consists of differs by Python."""
    parsed = ast.parse(f"def {name}({', '.join(parameters)}): pass").body[0]
    assert isinstance(parsed, ast.FunctionDef)
    parsed.body = body
    return parsed


def load(name: str) -> ast.Name:
    """A name that is read."""
    return ast.Name(name, ast.Load())


def store(name: str) -> ast.Name:
    """A name that is set."""
    return ast.Name(name, ast.Store())


def assign(name: str, value: ast.expr) -> ast.stmt:
    """``name = value``."""
    return ast.Assign([store(name)], value)


def call(function_name: str, *arguments: ast.expr) -> ast.Call:
    """``function_name(arguments…)``."""
    return ast.Call(load(function_name), list(arguments), [])


def method(value: ast.expr, name: str, *arguments: ast.expr) -> ast.Call:
    """``value.name(arguments…)``; *name* is one of ours."""
    return ast.Call(ast.Attribute(value, name, ast.Load()), list(arguments), [])


def compare(left: ast.expr, operator: ast.cmpop, right: ast.expr) -> ast.Compare:
    """``left operator right``."""
    return ast.Compare(left, [operator], [right])


def negated(value: ast.expr) -> ast.expr:
    """``not value``."""
    return ast.UnaryOp(ast.Not(), value)


def when(test: ast.expr, then: list[ast.stmt], otherwise: list[ast.stmt] | None = None) -> ast.stmt:
    """``if test: …``."""
    return ast.If(test, then, otherwise or [])


def attempt(body: list[ast.stmt], error: str, handler: list[ast.stmt]) -> ast.stmt:
    """``try: body``, and *handler* with an evaluation error under the name *error*."""
    return ast.Try(body, [ast.ExceptHandler(load(ERRORS_NAME), error, handler)], [], [])


def note_error(body: list[ast.stmt], error: str, result: str) -> ast.stmt:
    """``try: body``, and the error as *result*, to be raised ``again`` or absorbed."""
    return attempt(body, error, [assign(result, call("noted", load(error)))])


def loop(target: ast.expr, range_: ast.expr, body: list[ast.stmt]) -> ast.stmt:
    """``for target in range_: body``."""
    return ast.For(target, range_, body, [])


def raise_unless_bool(name: str) -> ast.stmt:
    """``if name.__class__ is not bool: raise again(name)``: it holds a truth or an error."""
    kind = ast.Attribute(load(name), "__class__", ast.Load())
    return when(
        compare(kind, ast.IsNot(), load("bool")), [ast.Raise(call("again", load(name)), None)]
    )


def expression(value: ast.expr) -> ast.stmt:
    """An expression as a statement."""
    return ast.Expr(value)
