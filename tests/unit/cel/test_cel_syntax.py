"""Reading and printing expressions."""

from __future__ import annotations

import pytest
from cel_trees import ANY_TREE
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enforcer.cel import CelSyntaxError, LimitError, parse, show
from enforcer.cel.limits import DEPTH_MAX, NODES_MAX, PARENTHESES_MAX, TEXT_CHARACTERS_MAX
from enforcer.cel.syntax import Call, Chain, Literal, Logic, Macro, walk
from enforcer.cel.values import UInt

PIECES = st.sampled_from(
    ["(", ")", "[", "]", "{", "}", "?", ":", ",", ".", "&&", "||", "!", "-", "+", "<", "==", "in",
     "a", "x", "1", "2u", "1.5", "'s'", 'b"y"', "`f`", "has(", "cel.bind(", ".map(", "true", "null",
     "\\", "'", '"""', "//", "\n", "\ud800", "é", "for", "0x", ".all(x, ", "9" * 30, "1e999"]
)  # fmt: skip


@settings(max_examples=300)
@given(tree=ANY_TREE)
def test_to_parse_what_is_printed_is_the_identity(tree):
    """Printing a tree and reading the text gives the tree back, its literals with their classes."""
    text = show(tree)
    read = parse(text).root
    assert read == tree
    classes = [[type(n.value) for n in walk(t) if isinstance(n, Literal)] for t in (read, tree)]
    assert classes[0] == classes[1]
    assert show(read) == text


@settings(max_examples=400)
@given(text=st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=30).map("".join)))
@example("'" + "\\")
@example("a." * 300)
def test_any_text_is_read_or_refused_with_its_place(text):
    """Whatever the text, it is an expression or a CelSyntaxError that points into it."""
    error = refusal(text)
    if error is not None:
        assert 0 <= error.start <= error.end <= len(text) + 1
        assert error.span.line >= 1
        assert error.span.column >= 1
        str(error).encode()


def refusal(text):
    try:
        parse(text)
    except CelSyntaxError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a ==", (1, 5)),
        ("a\n  == )", (2, 6)),
        ("'é' + ", (1, 7)),
        ("x.map(1, 2)", (1, 7)),
        ("has(a)", (1, 5)),
        ('"\\q"', (1, 2)),
        ("'open", (1, 1)),
        ("1\r\n+ #", (2, 3)),
        ("[1, 2", (1, 6)),
        ("for", (1, 1)),
        ("9223372036854775808", (1, 1)),
        ("18446744073709551616u", (1, 1)),
        ("1e999", (1, 1)),
        ("b'\\u0041'", (1, 3)),
        ("x.all(i, i, true)", (1, 10)),
        ("a b", (1, 3)),
        ("`a`", (1, 1)),
    ],
)
def test_a_syntax_error_has_its_line_and_column(text, place):
    """Lines and columns count from 1 and in code points."""
    with pytest.raises(CelSyntaxError) as caught:
        parse(text)
    assert (caught.value.span.line, caught.value.span.column) == place


def test_spans_are_offsets_in_code_points():
    """Each node knows where it begins and ends."""
    text = "'é' + name.field"
    root = parse(text).root
    assert isinstance(root, Chain)
    assert root.span == (0, len(text))
    (_, right) = root.steps[0]
    assert text[right.span[0] : right.span[1]] == "name.field"


def test_binary_operators_bind_as_specified():
    """* before +, + before relations, those before &&, && before ||, all before ?:."""
    text = "a || b && c == d + e * f ? g : h"
    assert show(parse(text).root) == text
    assert show(parse("(a || (b && (c == (d + (e * f))))) ? g : h").root) == text
    assert show(parse("a - (b - c) - d").root) == "a - (b - c) - d"


def test_chains_are_flat():
    """A chain of one precedence is one node, however long."""
    root = parse(" && ".join(["a"] * 3000)).root
    assert isinstance(root, Logic)
    assert len(root.operands) == 3000
    chain = parse(" + ".join(["a"] * 3000)).root
    assert isinstance(chain, Chain)
    assert len(chain.steps) == 2999


def test_macros_are_told_by_name_and_number_of_arguments():
    """`x.map(a, b)` is a macro, `x.map(a)` a call, and `f.all` a field."""
    assert isinstance(parse("x.map(a, b)").root, Macro)
    assert isinstance(parse("x.map(a)").root, Call)
    assert isinstance(parse("map(a, b)").root, Call)
    parse("f.all")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-9223372036854775808", -(2**63)),
        ("0xFFu", UInt(255)),
        ("r'\\n'", "\\n"),
        ("'\\u00e9\\x41\\101'", "éAA"),
        ("b'\\xff\\377é'", b"\xff\xff\xc3\xa9"),
        ('"""a\n"b" """', 'a\n"b" '),
        (".5", 0.5),
        ("1 // a comment", 1),
    ],
)
def test_literals(text, value):
    """Literals mean what the specification says."""
    root = parse(text).root
    assert isinstance(root, Literal)
    assert root.value == value
    assert type(root.value) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * (PARENTHESES_MAX + 1),
        "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1),
        "!" * 100_000 + "a",
        "a" + ".b" * 50_000,
        "a" + "[0]" * 50_000,
        "a ? b : " * 50_000 + "c",
        "x.map(a, " * 1_000,
        "1" + " + 1" * NODES_MAX,
        " " * (TEXT_CHARACTERS_MAX + 1),
    ],
)
def test_what_is_too_deep_or_too_large_is_refused(text):
    """Beyond the stated bounds there is a LimitError, never a crash."""
    with pytest.raises(LimitError):
        parse(text)


def test_what_is_within_the_bounds_is_read():
    """200 parentheses, 32 of every bracket, 3,000 terms, 20 macros."""
    parse("(" * 200 + "a" + ")" * 200)
    parse("[" * 32 + "a" + "]" * 32)
    parse("!" * 32 + "a")
    parse("a ? b : " * 100 + "c")
