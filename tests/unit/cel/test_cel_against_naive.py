"""The compiled code against a small tree-walking evaluator, on generated expressions and values."""

from __future__ import annotations

import math

from cel_trees import SENSIBLE_TREE
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_cel import ERROR, naive

from enforcer.cel import (
    Environment,
    EvaluationError,
    Expression,
    check,
    compile_expression,
    read_type,
)
from enforcer.cel.printer import show
from enforcer.cel.source import Source
from enforcer.cel.syntax import Logic
from enforcer.cel.values import UInt

TYPES = {
    "i": "int", "u": "uint", "d": "double", "s": "string", "t": "bool", "l": "list(int)",
    "m": "map(string, dyn)", "x": "dyn",
}  # fmt: skip
ENVIRONMENT = Environment({name: read_type(text) for name, text in TYPES.items()})
SMALL_INTS = st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)])
ANYTHING = st.one_of(
    st.none(), st.booleans(), SMALL_INTS, st.integers(0, 3).map(UInt), st.floats(-2, 2),
    st.sampled_from("ab"), st.lists(st.booleans() | SMALL_INTS, max_size=3),
)  # fmt: skip
VALUES = st.fixed_dictionaries(
    {
        "i": SMALL_INTS,
        "u": st.integers(0, 3).map(UInt),
        "d": st.sampled_from([0.0, 1.0, 2.5, math.inf, math.nan]),
        "s": st.sampled_from(["a", "b", ""]),
        "t": st.booleans(),
        "l": st.lists(SMALL_INTS, max_size=3),
        "m": st.dictionaries(st.sampled_from("abc"), ANYTHING, max_size=3),
        "x": ANYTHING,
    }
)


def exact(value):
    """A value with the classes of its parts, so that True is not 1 and 1 not 1.0."""
    if isinstance(value, list):
        return [exact(each) for each in value]
    if isinstance(value, dict):
        # A key may stand as 1 or 1u: the first writer decides, here as there.
        return sorted((repr(key), repr(exact(each))) for key, each in value.items())
    return type(value).__name__, repr(value)


def outcome(program, values):
    try:
        return exact(program.evaluate(values))
    except EvaluationError:
        return ERROR


def wanted(tree, values):
    found = naive(tree, values)
    return ERROR if found is ERROR else exact(found)


@settings(max_examples=400)
@given(tree=SENSIBLE_TREE, values=VALUES)
def test_compiled_code_does_what_the_tree_says(tree, values):
    """Without types, and with them where the expression checks, the value is the naive one."""
    expression = Expression(tree, Source(show(tree)))
    expected = wanted(tree, values)
    assert outcome(compile_expression(expression, ENVIRONMENT), values) == expected
    checked = check(expression, ENVIRONMENT)
    if not checked.issues:
        assert outcome(compile_expression(expression, ENVIRONMENT, checked), values) == expected


@settings(max_examples=150)
@given(tree=SENSIBLE_TREE, values=VALUES, other=ANYTHING)
def test_a_value_of_another_type_than_declared_is_no_surprise(tree, values, other):
    """A program whose variables are not of their types gives what the code without types gives."""
    values = {**values, "i": other, "l": other}
    expression = Expression(tree, Source(show(tree)))
    checked = check(expression, ENVIRONMENT)
    if not checked.issues:
        program = compile_expression(expression, ENVIRONMENT, checked)
        assert outcome(program, values) == wanted(tree, values)


@settings(max_examples=100)
@given(
    operands=st.lists(SENSIBLE_TREE, min_size=2, max_size=4),
    operator=st.sampled_from(["&&", "||"]),
    values=VALUES,
    data=st.data(),
)
def test_and_and_or_commute(operands, operator, values, data):
    """The operands of && and || may stand in any order, erring ones among them."""
    shuffled = data.draw(st.permutations(operands))
    found = []
    for order in (operands, shuffled):
        tree = Logic(operator, tuple(order))
        expression = Expression(tree, Source(show(tree)))
        found.append(outcome(compile_expression(expression, ENVIRONMENT), values))
    assert found[0] == found[1]
