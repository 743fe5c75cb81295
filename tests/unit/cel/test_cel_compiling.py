"""What the compiler promises of its code: any legal expression compiles, and literals stay data."""

from __future__ import annotations

import ast
import contextlib
import gc
import time

import pytest
from cel_trees import SENSIBLE_TREE
from hypothesis import given, settings

from enforcer.cel import (
    HELPERS,
    Environment,
    EvaluationError,
    Expression,
    LimitError,
    Variable,
    check,
    compile_expression,
    lower,
    parse,
    read_type,
    show,
)
from enforcer.cel.limits import DEPTH_MAX
from enforcer.cel.source import Source

ENVIRONMENT = Environment(
    {
        "x": read_type("int"),
        "d": read_type("dyn"),
        "names": read_type("list(string)"),
        "llm.model": read_type("string"),
    }
)
VALUES = {"x": 1, "d": 1, "names": ["a", "b"], "llm.model": "gpt"}


def evaluate(text, values=VALUES, *, typed=True):
    expression = parse(text)
    checked = check(expression, ENVIRONMENT).raise_issues() if typed else None
    return compile_expression(expression, ENVIRONMENT, checked).evaluate(values)


def nested(template, count, innermost):
    text = innermost
    for at in range(count):
        text = template.replace("VAR", f"v{at}").replace("INNER", text)
    return text


@pytest.mark.no_cover
@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        (" && ".join(["x == 1"] * 3000), True),
        (" || ".join(["d > 1"] * 2999 + ["d == 1"]), True),
        (" + ".join(["x"] * 3000), 3000),
        (" + ".join(["d"] * 3000), 3000),
        (" * ".join(["1.0"] * 3000), 1.0),
        ("(" * 200 + "x" + ")" * 200, 1),
        (nested("[1].exists(VAR, INNER && VAR / x == 1)", 20, "x == 1"), True),
        (nested("[1].map(VAR, INNER)[0]", 20, "x"), 1),
        (nested("[1].all(VAR, has({'a': VAR}.a) || INNER)", 20, "false"), True),
        (nested("(x == 2 ? 0 : INNER)", 100, "x"), 1),
        (nested("(INNER == 1 ? d / 1 : 2)", 60, "x"), 1),
        (nested("!(INNER)", 100, "x == 1"), True),
        (nested("(INNER || d / 0 == 1) && d == 1", 40, "d == 1"), True),
        (nested("cel.bind(VAR, INNER, VAR)", 60, "x"), 1),
        (nested("size([INNER])", 60, "x"), 1),
        (nested("{'k': INNER}.k", 60, "d / 1"), 1),
        ("[" + ", ".join(["x"] * 5000) + "][4999]", 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_the_largest_expressions_compile(text, value, typed):
    """Chains, parentheses, macros and branches, long and deep: none is too much for Python's compiler."""
    assert evaluate(text, typed=typed) == value


@pytest.mark.parametrize(
    "template",
    [
        "[1].exists(VAR, INNER)",
        "[1].map(VAR, INNER)",
        "[1].filter(VAR, INNER)",
        "[1].transformList(VAR, w, INNER)",
        "[1].sortBy(VAR, INNER)",
        "optional.of(1).optMap(VAR, INNER)",
        "cel.bind(VAR, 1, INNER)",
        "cel.bind(VAR, INNER, 1)",
        "cel.block([INNER], 1)",
        "(INNER ? 1 : d)",
        "(d ? 1 : INNER)",
        "f(INNER)",
        "[INNER]",
        "[?INNER]",
        "{1: INNER}",
        "{INNER: 1}",
        "(d && INNER)",
        "(1 + INNER)",
        "(INNER < 1)",
        "-(INNER)",
        "INNER.f",
        "INNER.f()",
        "d[?INNER]",
        "has(INNER.f)",
        "M{f: INNER}",
    ],
)
def test_whatever_nests_may_nest_to_the_bound(template):
    """At the bound on depth every stage still works, with room to spare on Python's stack."""
    text = nested(template, DEPTH_MAX - 1, "d")
    with contextlib.suppress(LimitError):
        expression = parse(text)
        assert show(expression.root)
        checked = check(expression, ENVIRONMENT)
        program = compile_expression(expression, ENVIRONMENT, checked)
        with contextlib.suppress(EvaluationError):
            program.evaluate(VALUES)
    expression = parse(nested(template, DEPTH_MAX // 2 - 1, "d"))
    compile_expression(expression, ENVIRONMENT, check(expression, ENVIRONMENT))


@pytest.mark.parametrize(
    "hostile",
    ["'); import os; ('", "__import__('os')", "\\", '"""', "\n\nraise SystemExit", "{x}", "%s"],
)
def test_literals_and_names_stay_data(hostile):
    """What an author writes in a literal, a key or a backtick field is never code."""
    text = show(parse("'a'").root).replace("a", "X")
    literal = text.replace(
        "X", hostile.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    )
    assert evaluate(literal) == hostile
    assert evaluate(f"{{{literal}: 1}}[{literal}]") == 1


def constant_reading(name, _constant):
    """Every variable is its own name."""
    return Variable(ast.Constant(name), certain=False)


def test_an_authors_names_never_reach_the_code():
    """Names of variables and macros are constants, or ours."""
    text = "names.exists(__builtins__, __builtins__ == 'a') && [1].all(exec, exec > 0)"
    lowered = lower(parse(text), ENVIRONMENT, reading=constant_reading, prefix="c0_")
    module = ast.Module([*lowered.functions, *lowered.condition("result")], [])
    names = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)}
    ours = {name for name in names if name.startswith("c0_")}
    assert names - ours <= {*HELPERS, "result", "bool"}


def test_the_same_expression_gives_the_same_code():
    """The code is a function of the tree and the types."""
    text = "names.exists(n, n in ['b', 'a', 'c']) && d > 1 || {'k': d}.k == x"
    shown = []
    for _ in range(2):
        expression = parse(text)
        checked = check(expression, ENVIRONMENT).raise_issues()
        lowered = lower(expression, ENVIRONMENT, reading=constant_reading, checked=checked)
        shown.append(ast.dump(ast.Module([*lowered.functions, *lowered.condition("r")], [])))
    assert shown[0] == shown[1]


def condition(text, values):
    """Compile *text* into a function of another compiler's, as a policy's compiler does."""
    expression = parse(text)
    checked = check(expression, ENVIRONMENT).raise_issues()
    lowered = lower(
        expression,
        ENVIRONMENT,
        reading=lambda name, _: Variable(
            ast.Name("fields_" + name.replace(".", "_"), ast.Load()), certain=True
        ),
        parameters=tuple("fields_" + name.replace(".", "_") for name in ENVIRONMENT.variables),
        checked=checked,
        prefix="c0_",
    )
    frame = ast.parse(
        f"def run({', '.join('fields_' + name.replace('.', '_') for name in values)}): pass"
    )
    run = frame.body[0]
    assert isinstance(run, ast.FunctionDef)
    run.body = [*lowered.condition("r"), ast.Return(ast.Name("r", ast.Load()))]
    frame.body[:0] = lowered.functions
    space = {**HELPERS, **lowered.constants}
    exec(compile(ast.fix_missing_locations(frame), "<test>", "exec"), space)
    return space["run"](*values.values())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x == 1 && llm.model == 'gpt'", True),
        ("x == 2", False),
        ("d / 0 == 1", None),
        ("d / 0 == 1 || x == 1", True),
        ("d.missing", None),
        ("d", None),
        (nested("[1].exists(VAR, INNER && VAR / x == 1)", 12, "llm.model == 'gpt'"), True),
    ],
)
def test_a_condition_in_anothers_function_is_true_false_or_none(text, value):
    """`lower` gives statements that set a variable to True, False or None for an error."""
    assert condition(text, VALUES) is value


def test_errors_leave_no_cycles():
    """An error that was absorbed or raised is freed at once, not by the collector."""
    program = compile_expression(
        parse("d / 0 == 1 || d.k == 1 || [1].exists(e, e / 0 == d) || cel.bind(b, d / 0, b == 1)"),
        ENVIRONMENT,
    )
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            with pytest.raises(EvaluationError):
                program.evaluate(VALUES)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_compiling_takes_time_in_proportion():
    """Twice the terms, about twice the time: 3,000 comparisons take less than two seconds."""
    started = time.perf_counter()
    expression = parse(" && ".join(f"llm.model != 'm{i}'" for i in range(3000)))
    checked = check(expression, ENVIRONMENT).raise_issues()
    assert compile_expression(expression, ENVIRONMENT, checked).evaluate(VALUES) is True
    assert time.perf_counter() - started < 10


@settings(max_examples=60)
@given(tree=SENSIBLE_TREE)
def test_what_checks_raises_nothing_but_evaluation_errors(tree):
    """A program gives a value or an EvaluationError, whatever the variables hold."""
    expression = Expression(tree, Source(show(tree)))
    environment = Environment({name: read_type("dyn") for name in "iudstlmx"})
    checked = check(expression, environment)
    program = compile_expression(expression, environment, checked)
    for value in (None, True, 1, 1.5, "a", b"", [], {}, [None], {"a": [1]}):
        with_all = dict.fromkeys("iudstlmx", value)
        try:
            program.evaluate(with_all)
        except EvaluationError as error:
            assert error.code  # noqa: PT017 — an error is one of two right answers


@pytest.mark.parametrize(
    "template",
    [
        "d.exists(VAR, INNER)",
        "d.all(VAR, !(INNER))",
        "size(d.map(VAR, INNER)) < 0",
        "size(d.filter(VAR, INNER)) < 0",
        "size(d.transformList(i, VAR, INNER)) < 0",
        "size(d.sortBy(VAR, INNER)) < 0",
    ],
)
def test_macros_within_macros_have_a_budget(template, monkeypatch):
    """Ten elements twenty deep would take for ever; it ends in an error, soon."""
    monkeypatch.setattr("enforcer.cel.program.STEPS_MAX", 5_000)
    text = nested(template, 20, "d[0] == 1")
    program = compile_expression(parse(text), ENVIRONMENT)
    with pytest.raises(EvaluationError) as caught:
        program.evaluate({"d": list(range(10))})
    assert caught.value.code == "limit"


@pytest.mark.no_cover
def test_the_budget_is_one_evaluations():
    """What one evaluation has spent, the next does not miss; macros in a row are not counted."""
    text = "lists.range(3000).map(x, x).all(x, lists.range(3000).exists(y, y == x))"
    program = compile_expression(parse(text), ENVIRONMENT)
    assert program.evaluate({}) is True
    assert program.evaluate({}) is True
