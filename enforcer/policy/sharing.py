"""
What the conditions of a policy ask for more than once, so that its function computes it once.

Three things are counted over all guards and rules: comparisons that cost a search, facts that comparisons read, and
parts of CEL expressions. A policy's variable stands in the tree in place of its name, so one that several
rules use is such a part. A part that reads a macro's variable has another value in each turn and is never shared.

Parts are numbered by structure: two nodes have one number if they are equal, found from the leaves up in one walk.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from enforcer.cel.syntax import (
    Bind,
    Block,
    Call,
    Chain,
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
    children,
)
from enforcer.policy.fields import Kind, Origin
from enforcer.policy.ir import NEGATIONS, Leaf, Test, atoms

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from enforcer.cel import Node
    from enforcer.policy.ir import Expr

Read: TypeAlias = "tuple[str, float | None]"
"""An attribute of the facts, and the argument of one that is a method."""

_NONE: Final[frozenset[str]] = frozenset()
# Calls that are quicker made again than asked for.
_LIGHT: Final = frozenset(
    {"size", "int", "uint", "double", "bool", "startsWith", "endsWith", "getFullYear"}
)
# A list of kinds is made anew from the counts at each read; whether a kind is in it, the counts tell.
_COUNTED: Final = {"pii_types": "pii_counts", "pii_types_at": "pii_counts_at"}


def test_key(test: Test) -> Hashable:
    """What two comparisons that say the same have in common; of a negation, that of its contrary."""
    op = NEGATIONS.get(test.op, test.op)
    return op, str(test.field), repr(test.value), test.is_strict


def read_of(test: Test) -> Read | None:
    """What a comparison reads of the facts."""
    field = test.field
    if field.origin is not Origin.FACT:
        return None
    is_membership = test.op in {"contains", "not_contains"} and isinstance(test.value, str)
    return _COUNTED.get(field.fact, field.fact) if is_membership else field.fact, field.argument


class Sharing:
    """
    What *expressions*, those of one function, have in common.

    Nodes are told apart by identity: the expressions must live as long as this does.
    """

    def __init__(self, expressions: Iterable[Expr] = ()) -> None:
        self._tests: Counter[Hashable] = Counter()
        self._reads: Counter[Read] = Counter()
        self._parts: Counter[int] = Counter()
        self._numbers: dict[int, int] = {}
        self._known: dict[Hashable, int] = {}
        self._free: list[frozenset[str]] = []
        self._heavy: list[bool] = []
        for expression in expressions:
            for atom in atoms(expression):
                if isinstance(atom, Leaf):
                    self._number(atom.root)
                else:
                    self._count(atom)

    def is_shared(self, test: Test) -> bool:
        """Whether a comparison is asked for again, and costs more than asking whether it was."""
        return _is_search(test) and self._tests[test_key(test)] > 1

    def is_read_again(self, read: Read) -> bool:
        """Whether several comparisons read a fact."""
        return self._reads[read] > 1

    def part(self, node: Node) -> int | None:
        """The number of a part that is asked for again; None of others."""
        number = self._numbers.get(id(node))
        if number is None or self._parts[number] < 2 or not self._heavy[number]:
            return None
        return None if self._free[number] else number

    def _count(self, test: Test) -> None:
        self._tests[test_key(test)] += 1
        read = read_of(test)
        if read is not None:
            self._reads[read] += 1

    def _number(self, node: Node) -> int:
        """Number *node* and all below it. Recursion is bounded by the expression's depth."""
        below = [self._number(each) for each in children(node)]
        key = (node.__class__, _label(node), *below)
        number = self._known.setdefault(key, len(self._known))
        if number == len(self._free):
            self._free.append(_free(node, [self._free[each] for each in below]))
            self._heavy.append(_is_heavy(node) or any(self._heavy[each] for each in below))
        self._numbers[id(node)] = number
        self._parts[number] += 1
        return number


def _is_search(test: Test) -> bool:
    op = NEGATIONS.get(test.op, test.op)
    return op == "matches" or (op == "contains" and test.field.type.kind is not Kind.LIST)


def _is_heavy(node: Node) -> bool:
    return isinstance(node, Macro) or (isinstance(node, Call) and node.function not in _LIGHT)


def _free(node: Node, below: list[frozenset[str]]) -> frozenset[str]:
    """The names that *node* reads and does not bind. Names of types count: they cost nothing to read."""
    if isinstance(node, Ident):
        return _NONE if node.absolute else frozenset({node.name})
    if isinstance(node, Macro):
        return below[0] | (_NONE.union(*below[1:]) - set(node.variables))
    if isinstance(node, Bind):
        return below[0] | (below[1] - {node.variable})
    return _NONE.union(*below)


def _label(node: Node) -> Any:  # noqa: C901, PLR0912 — one arm for each node that has more than nodes below it
    """What tells a node from others of its class with the same nodes below."""
    match node:
        case Literal(value=value):
            return value.__class__, repr(value)
        case Ident():
            return node.name, node.absolute
        case Select():
            return node.name, node.optional
        case Index():
            return node.optional
        case Call():
            return node.function, node.target is None, node.absolute
        case Unary() | Logic():
            return node.operator
        case Chain():
            return tuple(operator for operator, _ in node.steps)
        case ListDisplay() | MapDisplay():
            return node.optionals
        case Message():
            return node.name, tuple(name for name, _ in node.fields), node.optionals
        case Macro():
            return node.kind, node.variables
        case Bind():
            return node.variable
        case Block():
            return len(node.slots)
        case _:
            assert isinstance(node, Has) or node.__class__.__name__ == "Conditional"
            return None
