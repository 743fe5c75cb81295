"""The checker: types, and what does not fit."""

from __future__ import annotations

import pytest
from cel_trees import ANY_TREE
from hypothesis import given, settings

from enforcer.cel import (
    CelCheckError,
    Environment,
    EvaluationError,
    Expression,
    check,
    compile_expression,
    parse,
    read_signature,
    read_type,
    show,
)
from enforcer.cel.limits import ISSUES_MAX
from enforcer.cel.source import Source
from enforcer.cel.syntax import Ident, rewritten, walk

ENVIRONMENT = Environment(
    {
        "n": read_type("int"),
        "s": read_type("string"),
        "d": read_type("dyn"),
        "names": read_type("list(string)"),
        "tags": read_type("map(string, string)"),
        "llm.model": read_type("string"),
        "at": read_type("timestamp"),
        "maybe": read_type("optional(int)"),
        "a.x": read_type("int"),
        "x": read_type("string"),
    }
)


def type_of(text, environment=ENVIRONMENT):
    checked = check(parse(text), environment).raise_issues()
    return str(checked.type)


def issues_of(text, environment=ENVIRONMENT):
    return [(i.kind, i.line, i.column) for i in check(parse(text), environment).issues]


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("n + 1", "int"),
        ("s + 'a'", "string"),
        ("names.exists(x, x == s)", "bool"),
        ("names.map(x, size(x))", "list(int)"),
        ("names.filter(x, x != '')", "list(string)"),
        ("tags.map(k, k)", "list(string)"),
        ("tags.transformMap(k, v, size(v))", "map(string, int)"),
        ("names.transformMapEntry(i, v, {v: i})", "map(string, int)"),
        ("names.transformList(i, v, i)", "list(int)"),
        ("tags.a", "string"),
        ("tags.?a", "optional(string)"),
        ("tags.?a.orValue('')", "string"),
        ("names[?0]", "optional(string)"),
        ("maybe.optMap(v, string(v))", "optional(string)"),
        ("llm.model", "string"),
        ("at.getHours('UTC') + 1", "int"),
        ("at - at", "duration"),
        ("d.anything[0]", "dyn"),
        ("true ? 1 : d", "dyn"),
        ("[1, 'a']", "list(dyn)"),
        ("[] + [1]", "list(int)"),
        ("[1] + d", "list(dyn)"),
        ("[{1: d}, {d: 2}][0]", "map(dyn, dyn)"),
        ("{}", "map(dyn, dyn)"),
        ("type(1)", "type(int)"),
        ("int", "type(int)"),
        ("google.protobuf.Timestamp", "type(timestamp)"),
        ("math.greatest(1, 2)", "int"),
        ("math.greatest(1, 2.0)", "dyn"),
        ("cel.bind(y, [1], y[0])", "int"),
        ("cel.block([[1], cel.index(0)[0]], cel.index(1))", "int"),
        ("1 < 2.0", "bool"),
        ("has(tags.a)", "bool"),
        ("has(llm.model.x)", None),
        ("ip('1.2.3.4')", "net.IP"),
    ],
)
def test_types(text, type_):
    """An expression's type is worked out from those of its parts."""
    if type_ is None:
        assert [kind for kind, _, _ in issues_of(text)] == ["no_field"]
    else:
        assert type_of(text) == type_


@pytest.mark.parametrize(
    ("text", "issues"),
    [
        ("nobody", [("undeclared", 1, 1)]),
        ("n + 1.0", [("no_overload", 1, 1)]),
        ("n == 's'", [("no_overload", 1, 1)]),
        ("n && true", [("not_bool", 1, 1)]),
        ("n ? 1 : 2", [("no_overload", 1, 1)]),
        ("n.field", [("no_field", 1, 1)]),
        ("n.map(x, x)", [("no_range", 1, 1)]),
        ("names.exists(x, x)", [("not_bool", 1, 17)]),
        ("s.matches('(')", [("bad_pattern", 1, 11)]),
        ("matches(s, 'a(?=b)')", [("bad_pattern", 1, 12)]),
        ("nothing(1)", [("undeclared", 1, 1)]),
        ("s.nothing()", [("undeclared", 1, 1)]),
        ("s.size(1)", [("no_overload", 1, 1)]),
        ("contains(s, s)", [("undeclared", 1, 1)]),
        ("[?n]", [("not_optional", 1, 3)]),
        ("Message{}", [("no_messages", 1, 1)]),
        ("math.least('a')", [("no_overload", 1, 1)]),
        ("n +\n  1.0 || nobody", [("no_overload", 1, 1), ("undeclared", 2, 10)]),
    ],
)
def test_issues_have_a_kind_and_a_place(text, issues):
    """What does not fit says what it is and where; one run finds all."""
    assert issues_of(text) == issues


def test_messages_are_stable():
    """An issue reads as other implementations put it."""
    assert str(check(parse("n + 1.0"), ENVIRONMENT).issues[0]) == (
        "1:1: found no matching overload for '+' applied to '(int, double)'"
    )
    assert str(check(parse("nobody"), ENVIRONMENT).issues[0]) == (
        "1:1: undeclared reference to 'nobody' (in container '')"
    )
    with pytest.raises(CelCheckError) as caught:
        check(parse("nobody + nothing"), ENVIRONMENT).raise_issues()
    assert len(caught.value.issues) == 2
    assert str(caught.value).count("\n") == 1


def test_issues_are_capped():
    """At most 100 are reported."""
    text = " || ".join(f"v{i}" for i in range(300))
    assert len(check(parse(text), ENVIRONMENT).issues) == ISSUES_MAX


def test_names_are_looked_up_in_the_container_first():
    """Within container a, x is a.x; with a dot before it, x; a macro's variable hides both."""
    inside = Environment(ENVIRONMENT.variables, container="a")
    assert type_of("x", inside) == "int"
    assert type_of(".x", inside) == "string"
    assert type_of("[1.0].map(x, x)[0]", inside) == "double"
    assert type_of("[1.0].map(x, .x)[0]", inside) == "string"
    assert type_of("x", ENVIRONMENT) == "string"


def test_the_longest_dotted_name_wins():
    """`a.b` as a variable hides a field of `a`; a macro's variable hides the dotted name."""
    environment = Environment(
        {"a": read_type("map(string, int)"), "a.b": read_type("string"), "a.b.c": read_type("bool")}
    )
    assert type_of("a.b.c", environment) == "bool"
    assert type_of("a.b", environment) == "string"
    assert type_of("a.z", environment) == "int"
    assert type_of("[{'b': 1.5}].map(a, a.b)[0]", environment) == "double"


def test_functions_may_be_declared():
    """A declared function has a type and no code."""
    environment = Environment(
        {}, (read_signature("pick(list(A), int) -> A"), read_signature("string:twice() -> string"))
    )
    assert type_of("pick(['a'], 0).twice()", environment) == "string"
    assert issues_of("pick('a', 0)", environment) == [("no_overload", 1, 1)]


@pytest.mark.parametrize(
    "text", ["f", "f(", "f() ->", "f(list) -> ", "f(a b) -> c", "f(list(A) -> A"]
)
def test_what_is_no_signature(text):
    """A signature that cannot be read is a ValueError."""
    with pytest.raises(ValueError):
        read_signature(text)


@settings(max_examples=150)
@given(tree=ANY_TREE)
def test_any_tree_has_a_type_or_issues(tree):
    """The checker ends for every tree, and knows the type of each part it has visited."""
    checked = check(Expression(tree, Source(show(tree))), ENVIRONMENT)
    assert checked.types
    for issue in checked.issues:
        assert issue.message


FIELDS = Environment({"llm.max_tokens": read_type("int"), "llm.model": read_type("string")})


def test_a_dotted_variable_may_be_asked_for():
    """`has(a.b)` and `a.?b` tell whether the variable `a.b` is there, where `a` is none."""
    assert type_of("has(llm.max_tokens)", FIELDS) == "bool"
    assert type_of("llm.?max_tokens.orValue(5)", FIELDS) == "int"
    assert issues_of("has(llm.nothing)", FIELDS) == [("undeclared", 1, 5)]
    for text, values, wanted in (
        ("has(llm.max_tokens) && llm.max_tokens > 5", {"llm.max_tokens": 6}, True),
        ("has(llm.max_tokens) && llm.max_tokens > 5", {}, False),
        ("llm.?max_tokens.orValue(5)", {}, 5),
        ("llm.?max_tokens.orValue(5)", {"llm.max_tokens": 6}, 6),
    ):
        expression = parse(text)
        for checked in (None, check(expression, FIELDS).raise_issues()):
            assert compile_expression(expression, FIELDS, checked).evaluate(values) == wanted


def test_declared_functions_may_have_code():
    """A declared overload with a Python function is called; one without is an error."""
    environment = Environment(
        {"n": read_type("int")},
        (
            read_signature("twice(int) -> int", lambda value: 2 * value, is_certain=True),
            read_signature("int:plus(int) -> int", lambda left, right: left + right),
            read_signature("later() -> int"),
        ),
    )
    expression = parse("twice(n).plus(1)")
    for checked in (None, check(expression, environment).raise_issues()):
        assert compile_expression(expression, environment, checked).evaluate({"n": 3}) == 7
    with pytest.raises(EvaluationError, match="no code"):
        compile_expression(parse("later()"), environment).evaluate({})
    with pytest.raises(EvaluationError, match="no such overload"):
        compile_expression(parse("twice('a')"), environment).evaluate({})


@given(tree=ANY_TREE)
def test_a_tree_may_be_rewritten(tree):
    """Without a change the tree is the same object; a change reaches every node but a has's field."""
    assert rewritten(tree, lambda node: node) is tree

    def renamed(node):
        return Ident("z") if isinstance(node, Ident) else node

    changed = rewritten(tree, renamed)
    assert {node.name for node in walk(changed) if isinstance(node, Ident)} <= {"z"}
    assert sum(1 for _ in walk(changed)) == sum(1 for _ in walk(tree))
