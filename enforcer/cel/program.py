"""
Programs: a tree compiled to a Python function, and its pieces for those who compile many into one.

``compile_expression`` is for one expression alone. A compiler that puts conditions into a function of its
own takes ``lower``: statements, the expression they come to, and the globals they need.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from enforcer.cel import operators
from enforcer.cel.errors import EvaluationError
from enforcer.cel.functions.containers import sort_by
from enforcer.cel.limits import STEPS_MAX
from enforcer.cel.lowering.code import (
    ERRORS,
    ERRORS_NAME,
    Value,
    Variable,
    Writer,
    assign,
    attempt,
    compare,
    function,
    load,
)
from enforcer.cel.lowering.nodes import Lowering, Reading
from enforcer.cel.registry import CLASSES
from enforcer.cel.values import NONE, Optional, unwrap_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from enforcer.cel.checker import Checked
    from enforcer.cel.names import Environment
    from enforcer.cel.parser import Expression
    from enforcer.cel.syntax import Node
    from enforcer.cel.types import Type

_VARIABLES: Final = "v"


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in place of a variable's value, until somebody reads it."""

    error: EvaluationError


def unfailed(value: Any) -> Any:
    """
    The value of a variable.

    Raises: its error, if it has none.
    """
    if value.__class__ is Failure:
        raise again(value.error)
    return value


def noted(error: Exception) -> EvaluationError:
    """An error as a value: without its traceback. A KeyError is a map's, and says so."""
    if isinstance(error, EvaluationError):
        return EvaluationError(error.code, error.message)
    return EvaluationError("no_such_key", "no such key")


def again(error: EvaluationError) -> EvaluationError:
    """An error that was noted, to be raised; what is noted stays without a traceback."""
    return EvaluationError(error.code, error.message)


def fail(code: str, message: str) -> Any:
    """
    Never returns.

    Raises: EvaluationError.
    """
    raise EvaluationError(code, message)


HELPERS: Final[dict[str, Any]] = {
    ERRORS_NAME: ERRORS,
    "Failure": Failure,
    "NONE": NONE,
    "Optional": Optional,
    "again": again,
    "fail": fail,
    "noted": noted,
    "sort_by": sort_by,
    "unfailed": unfailed,
    **{
        name: getattr(operators, name)
        for name in (
            "add", "contained", "divide", "elements", "equal", "greater", "greater_or_equal", "has",
            "index", "index_optional", "invert", "joined", "less", "less_or_equal", "modulo", "multiply",
            "negate", "optional_value", "overflow", "pairs", "put", "put_all", "select", "spend",
            "select_optional", "subtract", "text_in", "truth", "unequal",
        )
    },
}  # fmt: skip
"""The globals that generated code calls; they go with ``Lowered.constants``."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """
    An expression as code.

    Args:
        body: The statements to run first.
        value: What the expression comes to after them, with what is known of it.
        functions: To be defined beside the function that holds ``body``.
        constants: Globals that the code reads, beside ``HELPERS``. Their names begin with the prefix.
        variables: The variables that are read, in the order of the first read.
    """

    body: list[ast.stmt]
    value: Value
    functions: list[ast.FunctionDef]
    constants: dict[str, Any]
    variables: tuple[str, ...]

    def condition(self, target: str) -> list[ast.stmt]:
        """
        Statements that set *target* to True, False, or None for an error, and never raise.

        What is no bool is an error.
        """
        truth: ast.expr = self.value.code
        if self.value.kind != "bool":
            truth = ast.Call(load("truth"), [truth], [])
        body = [*self.body, assign(target, truth)]
        if self.value.certain and self.value.kind == "bool":
            return body
        return [attempt(body, f"{target}_error", [assign(target, ast.Constant(None))])]


def lower(
    expression: Expression,
    environment: Environment,
    *,
    reading: Reading,
    parameters: Sequence[str] = (),
    checked: Checked | None = None,
    prefix: str = "",
    part: Callable[[Node], ast.expr | None] | None = None,
) -> Lowered:
    """
    Code for *expression*, which raises an evaluation error where it has no value.

    Args:
        expression: The tree.
        environment: What its names stand for.
        reading: How a variable is read, as Python expressions: its value, and whether it is there for
            ``has(a.b)`` and ``a.?b`` where ``a.b`` is declared and ``a`` is not.
        parameters: The local names that ``reading`` makes use of.
        checked: Its types, if it checked without issues and the values of variables will be of their
            declared types. That is the caller's promise: a value of another type gives wrong answers.
        prefix: What generated names begin with, so that several expressions can share a function.
        part: How a node is read whose value is computed elsewhere, which may raise; None of all others. A
            node that reads a macro's variable must be one of the others.
    """
    assert checked is None or not checked.issues, "only what checks has types"
    writer = Writer(prefix)
    writer.locals.update(parameters)
    lowering = Lowering(
        environment,
        checked.types if checked is not None else {},
        reading=reading,
        writer=writer,
        part=part,
    )
    value = lowering.value(expression.root)
    if lowering.budget is not None:
        steps = ast.List([ast.Constant(STEPS_MAX)], ast.Load())
        writer.body.insert(0, assign(lowering.budget, steps))
    return Lowered(writer.body, value, writer.functions, writer.globals, tuple(lowering.variables))


class _Variables(dict[str, Any]):
    """The variables of one evaluation; one that is not there is an evaluation error."""

    __slots__ = ()

    def __missing__(self, name: str) -> Any:
        raise EvaluationError("unbound", f"no value for variable '{name}'")


class Program:
    """
    A compiled expression.

    ``evaluate`` takes any values. Those of their declared types run through code that relies on it.
    """

    __slots__ = ("_dynamic", "_typed", "checked", "environment", "expression", "variables")

    def __init__(
        self, expression: Expression, environment: Environment, checked: Checked | None
    ) -> None:
        self.expression = expression
        self.environment = environment
        self.checked = checked if checked is not None and not checked.issues else None
        self._dynamic: Callable[[Mapping[str, Any]], Any] | None = None
        self._typed: Callable[[Mapping[str, Any]], Any] | None = None
        self.variables: tuple[str, ...] = ()
        if self.checked is not None:
            self._typed = self._compile(self.checked)
        else:
            self._dynamic = self._compile(None)

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """
        The value of the expression, for values of variables in CEL's representation.

        Raises: EvaluationError.
        """
        run = self._typed
        if run is None or not self._conform(variables):
            if self._dynamic is None:
                self._dynamic = self._compile(None)
            run = self._dynamic
        return self._answer(run, _Variables(variables))

    def evaluate_trusted(self, variables: Mapping[str, Any]) -> Any:
        """
        As ``evaluate``, for variables that are there and of their declared types: not looked at again.

        Raises: EvaluationError.
        """
        assert self._typed is not None, "only what checks can rely on types"
        return self._answer(self._typed, variables)

    @staticmethod
    def _answer(run: Callable[[Mapping[str, Any]], Any], variables: Mapping[str, Any]) -> Any:
        try:
            return run(variables)
        except KeyError:
            raise EvaluationError("no_such_key", "no such key") from None
        except RecursionError:
            raise EvaluationError("limit", "a value nests too deep") from None

    def _conform(self, variables: Mapping[str, Any]) -> bool:
        declared = self.environment.variables
        return all(
            name in variables and conforms(variables[name], declared[name])
            for name in self.variables
        )

    def _compile(self, checked: Checked | None) -> Callable[[Mapping[str, Any]], Any]:
        lowered = lower(
            self.expression,
            self.environment,
            reading=_typed_reading if checked is not None else _reading,
            parameters=(_VARIABLES,),
            checked=checked,
        )
        self.variables = lowered.variables
        body = [*lowered.body, ast.Return(lowered.value.code)]
        return _compiled(
            [*lowered.functions, function("run", [_VARIABLES], body)], lowered.constants
        )


def compile_expression(
    expression: Expression, environment: Environment, checked: Checked | None = None
) -> Program:
    """
    Compile one expression.

    Args:
        expression: As ``parse`` gave it.
        environment: What its names stand for.
        checked: As ``check`` gave it, so that the code can rely on types; without, all is found at run time.
    """
    return Program(expression, environment, checked)


def conforms(value: Any, declared: Type) -> bool:
    """Whether *value* is of the type *declared*, all the way down."""
    wanted = CLASSES.get(declared.name)
    if wanted is None:
        return True
    if value.__class__ is not wanted:
        return False
    if isinstance(value, list) and declared.parameters:
        (element,) = declared.parameters
        return all(conforms(each, element) for each in value)
    if isinstance(value, dict) and declared.parameters:
        key_type, value_type = declared.parameters
        return all(
            conforms(unwrap_key(key), key_type) and conforms(each, value_type)
            for key, each in value.items()
        )
    return True


def _reading(name: str, _: Callable[[Any], ast.expr]) -> Variable:
    """From the variables of one evaluation, which raise where there is none."""
    code = ast.Subscript(load(_VARIABLES), ast.Constant(name), ast.Load())
    return Variable(code, False, compare(ast.Constant(name), ast.In(), load(_VARIABLES)))


def _typed_reading(name: str, constant: Callable[[Any], ast.expr]) -> Variable:
    """The same, of variables that were looked at before."""
    return replace(_reading(name, constant), certain=True)


def _compiled(
    functions: list[ast.FunctionDef], constants: dict[str, Any]
) -> Callable[[Mapping[str, Any]], Any]:
    module = ast.Module(list(functions), [])
    ast.fix_missing_locations(module)
    space = {**HELPERS, **constants}
    exec(compile(module, "<compiled expression>", "exec"), space)  # noqa: S102 — an ast of our own making, with literals as constants only
    run: Callable[[Mapping[str, Any]], Any] = space["run"]
    return run
