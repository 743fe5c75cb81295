"""One comparison of a field with a literal, as a Python expression: True, False, or None for an error."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from enforcer.policy import runtime
from enforcer.policy.fields import Field, Kind, is_direct
from enforcer.policy.ir import ORDERINGS, Test
from enforcer.policy.regex import Literal, compile_search, literal_of
from enforcer.policy.sharing import read_of

if TYPE_CHECKING:
    from enforcer.policy.lowering import Code

_NUMBERS: Final = frozenset({Kind.INT, Kind.DOUBLE})
_COMPARISONS: Final[dict[str, type[ast.cmpop]]] = {
    "gt": ast.Gt,
    "gte": ast.GtE,
    "lt": ast.Lt,
    "lte": ast.LtE,
}


def comparison(code: Code, test: Test) -> ast.expr:
    """The expression of a test that is no negation."""
    if test.field.type.kind is Kind.TIME:
        compare = code.constant(runtime.COMPARE[test.op])
        return _call("order_time", compare, _local("now_us"), code.constant(test.value))
    read = read_of(test)
    if read is not None and read[0] != test.field.fact:
        return ast.Compare(ast.Constant(test.value), [ast.In()], [code.fact(*read)])
    value = code.value(test.field)
    if is_direct(test.field):
        return _direct(code, test, value)
    return _open(code, test, value)


def _direct(code: Code, test: Test, value: ast.expr) -> ast.expr:
    """A field of known type, None for absent."""
    kind = test.field.type.kind
    if test.op == "exists":
        if not test.field.optional:
            return ast.Constant(True)
        return ast.Compare(value, [ast.IsNot()], [ast.Constant(None)])
    if test.op == "eq":
        return _direct_equality(code, kind, value, test.value)
    if test.op == "in":
        return _direct_membership(code, kind, value, test.value)
    if test.op == "contains" and kind is Kind.LIST:
        return ast.Compare(code.constant(test.value), [ast.In()], [value])
    present, value = _present(code, test.field, value)
    if test.op in ORDERINGS:
        operator = _COMPARISONS[test.op]()
        found: ast.expr = ast.Compare(value, [operator], [code.constant(test.value)])
    elif test.op == "contains":
        found = ast.Compare(code.constant(test.value), [ast.In()], [value])
    else:
        found = _search(code, test.value, value)
    if present is None:
        return found
    if test.is_strict:
        return ast.IfExp(present, found, ast.Constant(None))
    return ast.BoolOp(ast.And(), [present, found])


def _present(code: Code, field: Field, value: ast.expr) -> tuple[ast.expr | None, ast.expr]:
    """The test that an optional field is there, and the value to go on with, read once."""
    if not field.optional:
        return None, value
    first, value = _once(code, value)
    return ast.Compare(first, [ast.IsNot()], [ast.Constant(None)]), value


def _once(code: Code, value: ast.expr) -> tuple[ast.expr, ast.expr]:
    """*value* for its first use, which reads it, and for the others."""
    if isinstance(value, ast.Name):
        return value, value
    name = code.temporary()
    return ast.NamedExpr(ast.Name(name, ast.Store()), value), _local(name)


def _direct_equality(code: Code, kind: Kind, value: ast.expr, literal: Any) -> ast.expr:
    if kind is Kind.LIST:
        return _call("same", value, code.constant(literal))
    if not _equals(kind, literal):
        return ast.Constant(False)
    operator = ast.Is() if kind is Kind.BOOL else ast.Eq()
    return ast.Compare(value, [operator], [code.constant(literal)])


def _direct_membership(code: Code, kind: Kind, value: ast.expr, literal: list[Any]) -> ast.expr:
    if kind is Kind.LIST:
        return _call("element_of", value, code.constant(literal))
    fitting = [each for each in literal if _equals(kind, each)]
    if not fitting:
        return ast.Constant(False)
    return ast.Compare(value, [ast.In()], [code.constant(frozenset(fitting))])


def _open(code: Code, test: Test, value: ast.expr) -> ast.expr:
    """A value whose type shows at run time, ABSENT for absent."""
    literal = test.value
    if test.op == "exists":
        return ast.Compare(value, [ast.IsNot()], [_local("ABSENT")])
    if test.op == "eq":
        if isinstance(literal, str):
            return ast.Compare(value, [ast.Eq()], [ast.Constant(literal)])
        return _call("same", value, code.constant(literal))
    if test.op == "in":
        if all(isinstance(each, str) for each in literal):
            return _call("text_in", value, code.constant(frozenset(literal)))
        return _call("element_of", value, code.constant(literal))
    if test.op == "contains":
        return _call("contains", value, code.constant(literal))
    if test.is_strict:
        first, value = _once(code, value)
        found = _open(code, replace(test, is_strict=False), value)
        absent = ast.Compare(first, [ast.Is()], [_local("ABSENT")])
        return ast.IfExp(absent, ast.Constant(None), found)
    if test.op == "matches":
        return _call("matches", value, code.constant(compile_search(literal)))
    return _open_order(code, test, value)


def _open_order(code: Code, test: Test, value: ast.expr) -> ast.expr:
    """An ordering written out for the types that have one; the others, and what is absent, are asked about."""
    is_text = isinstance(test.value, str)
    first, value = _once(code, value)
    compare = code.constant(runtime.COMPARE[test.op])
    helper = "order_text" if is_text else "order_number"
    asked = _call(helper, compare, value, code.constant(test.value))
    fits: list[ast.expr] = [_is_of(first, "str" if is_text else "int")]
    if not is_text:
        fits.append(_is_of(value, "float"))
    known = ast.Compare(value, [_COMPARISONS[test.op]()], [code.constant(test.value)])
    return ast.IfExp(fits[0] if is_text else ast.BoolOp(ast.Or(), fits), known, asked)


def _is_of(value: ast.expr, name: str) -> ast.expr:
    return ast.Compare(ast.Attribute(value, "__class__", ast.Load()), [ast.Is()], [_local(name)])


def _search(code: Code, pattern: str, value: ast.expr) -> ast.expr:
    """A regular expression in a text; one that is a text itself needs no automaton."""
    text, place = literal_of(pattern) or ("", None)
    if place is Literal.WHOLE:
        return ast.Compare(value, [ast.Eq()], [ast.Constant(text)])
    if place is Literal.ANYWHERE:
        return ast.Compare(ast.Constant(text), [ast.In()], [value])
    if place is not None:
        method = "startswith" if place is Literal.PREFIX else "endswith"
        return ast.Call(ast.Attribute(value, method, ast.Load()), [ast.Constant(text)], [])
    return ast.Call(code.constant(compile_search(pattern)), [value], [])


def _equals(kind: Kind, literal: Any) -> bool:
    """Whether *literal* is of a type that can equal a declared scalar."""
    if kind is Kind.BOOL:
        return isinstance(literal, bool)
    if kind in _NUMBERS:
        return isinstance(literal, (int, float)) and not isinstance(literal, bool)
    return isinstance(literal, str)


def _local(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _call(function: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(_local(function), list(arguments), [])
