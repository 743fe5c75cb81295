"""
The expression language CEL, all but protobuf messages: parse, check, compile, evaluate.

    expression = parse("size(roles) > 2 && 'admin' in roles")
    environment = Environment({"roles": read_type("list(string)")})
    checked = check(expression, environment).raise_issues()
    program = compile_expression(expression, environment, checked)
    program.evaluate({"roles": ["admin", "dev", "ops"]})   # True

How values stand in Python: ``enforcer.cel.values``. The bounds: ``enforcer.cel.limits``.
"""

from __future__ import annotations

from enforcer.cel.checker import Checked, check
from enforcer.cel.errors import (
    CelCheckError,
    CelSyntaxError,
    EvaluationError,
    Issue,
    LimitError,
)
from enforcer.cel.lowering.code import Variable
from enforcer.cel.names import Environment
from enforcer.cel.parser import Expression, parse
from enforcer.cel.printer import show
from enforcer.cel.program import HELPERS, Lowered, Program, compile_expression, conforms, lower
from enforcer.cel.registry import Overload, read_signature
from enforcer.cel.syntax import Node, rewritten, walk
from enforcer.cel.types import Type, read_type
from enforcer.cel.values import from_host

__all__ = [
    "HELPERS",
    "CelCheckError",
    "CelSyntaxError",
    "Checked",
    "Environment",
    "EvaluationError",
    "Expression",
    "Issue",
    "LimitError",
    "Lowered",
    "Node",
    "Overload",
    "Program",
    "Type",
    "Variable",
    "check",
    "compile_expression",
    "conforms",
    "from_host",
    "lower",
    "parse",
    "read_signature",
    "read_type",
    "rewritten",
    "show",
    "walk",
]
