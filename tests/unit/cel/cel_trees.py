"""Strategies: trees of expressions, any that can be written, and such as have a chance to make sense."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from enforcer.cel.lexer import KEYWORDS, RESERVED
from enforcer.cel.macros import SHAPES
from enforcer.cel.syntax import (
    Bind,
    Block,
    Call,
    Chain,
    Conditional,
    Has,
    Ident,
    Index,
    ListDisplay,
    Literal,
    Logic,
    Macro,
    MapDisplay,
    Message,
    Select,
    Unary,
)
from enforcer.cel.values import UInt

INTS = st.integers(-(2**63), 2**63 - 1)
UINTS = st.integers(0, 2**64 - 1).map(UInt)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LITERALS = st.one_of(
    st.none(), st.booleans(), INTS, UINTS, TEXTS, st.binary(max_size=8),
    st.floats(allow_nan=False, allow_infinity=False),
).map(Literal)  # fmt: skip
NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=6).filter(
    lambda name: name not in RESERVED | KEYWORDS | {"has", "cel", "b", "r", "br", "rb", *SHAPES}
)
FIELDS = st.text(string.ascii_letters + string.digits + "_.-/ ", min_size=1, max_size=6)
LEVELS = (("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))


def steps(below):
    return st.sampled_from(LEVELS).flatmap(
        lambda level: st.lists(st.tuples(st.sampled_from(level), below), min_size=1, max_size=3)
    )


def some(below, minimum=0):
    return st.lists(below, min_size=minimum, max_size=3).map(tuple)


def marked(values):
    """Values, some of them with a question mark."""
    return st.tuples(st.just(values), st.frozensets(st.integers(0, max(len(values) - 1, 0)))).map(
        lambda pair: (pair[0], frozenset(i for i in pair[1] if i < len(values)))
    )


def macros(below):
    def of(kind, shape):
        variables, bodies = shape
        names = st.lists(NAMES, min_size=variables, max_size=variables, unique=True).map(tuple)
        # An argument that is a bare name would make `map(x, y, z)` a macro of another shape.
        plain = below.filter(lambda node: not isinstance(node, Ident))
        body = st.lists(plain, min_size=bodies, max_size=bodies).map(tuple)
        return st.builds(Macro, st.just(kind), below, names, body)

    return st.one_of(*(of(kind, shape) for kind, shapes in SHAPES.items() for shape in shapes))


def any_node(below):
    """One level more of anything that can be written."""
    displays = some(below).flatmap(marked).map(lambda pair: ListDisplay(*pair))
    entries = some(st.tuples(below, below)).flatmap(marked).map(lambda pair: MapDisplay(*pair))
    fields = some(st.tuples(FIELDS, below))
    return st.one_of(
        st.builds(Select, below, FIELDS, st.booleans()),
        st.builds(Has, st.builds(Select, below, FIELDS, st.booleans())),
        st.builds(Index, below, below, st.booleans()),
        st.builds(Call, NAMES, st.none() | below, some(below)),
        st.builds(Call, NAMES, st.none(), some(below), st.just(True)),
        st.builds(Unary, st.sampled_from("!-"), below),
        st.builds(
            Logic, st.sampled_from(["&&", "||"]), some(below, 2).filter(lambda t: len(t) > 1)
        ),
        st.builds(Chain, below, steps(below).map(tuple)),
        st.builds(Conditional, below, below, below),
        displays,
        entries,
        st.builds(Message, NAMES, fields),
        macros(below),
        st.builds(Bind, NAMES, below, below),
        st.builds(Block, some(below), below),
    )


ANY_TREE = st.recursive(LITERALS | st.builds(Ident, NAMES, st.booleans()), any_node, max_leaves=12)

# --- trees with a chance to make sense ----------------------------------------------------------

SMALL = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.integers(0, 3).map(UInt), st.sampled_from("ab"),
    st.sampled_from([0.0, 1.0, 1.5, -2.0]), st.sampled_from([2**63 - 1, -(2**63), UInt(2**64 - 1)]),
    st.just(b"a"),
).map(Literal)  # fmt: skip
VARIABLES = ("i", "u", "d", "s", "t", "l", "m", "x")
KNOWN = st.sampled_from(VARIABLES).map(Ident)


def sensible_node(below):
    """One level more of what the naive evaluator knows."""
    condition = st.one_of(
        below,
        st.builds(
            Chain,
            below,
            st.tuples(st.sampled_from(["==", "<", ">=", "in"]), below).map(lambda t: (t,)),
        ),
    )
    kinds = st.sampled_from(["all", "exists", "exists_one", "map", "filter"])
    ranges = st.one_of(
        st.just(Ident("l")),
        st.lists(SMALL, max_size=3).map(lambda each: ListDisplay(tuple(each))),
        below,
    )
    return st.one_of(
        st.builds(Select, below, st.sampled_from("ab")),
        st.builds(Has, st.builds(Select, below, st.sampled_from("ab"))),
        st.builds(Index, below, below),
        st.builds(Unary, st.sampled_from("!-"), below),
        st.builds(
            Logic,
            st.sampled_from(["&&", "||"]),
            st.lists(condition, min_size=2, max_size=4).map(tuple),
        ),
        st.builds(Chain, below, steps(below).map(tuple)),
        st.builds(Conditional, condition, below, below),
        some(below).map(ListDisplay),
        some(st.tuples(SMALL, below)).map(MapDisplay),
        st.builds(
            Macro,
            kinds,
            ranges,
            st.sampled_from("xi").map(lambda name: (name,)),
            st.tuples(condition),
        ),
        st.builds(Bind, st.sampled_from("xi"), below, below),
    )


SENSIBLE_TREE = st.recursive(SMALL | KNOWN, sensible_node, max_leaves=14)
