"""
The syntax tree: what the parser makes, the checker types, the compiler lowers and the printer writes.

Nodes are values: two trees are equal if they print the same; spans do not count. A macro is one node, with
its variables named, so nothing needs to be taken apart again to say what the author wrote.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Place: TypeAlias = tuple[int, int]
"""Start and end of a node in its text, in code points."""

NOWHERE: Place = (0, 0)


@dataclass(frozen=True, slots=True)
class Literal:
    """null, bool, int, ``UInt``, float, str or bytes."""

    value: Any
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Ident:
    """A name; ``absolute`` with a dot before it, which leaves the container out of its resolution."""

    name: str
    absolute: bool = False
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Select:
    """``operand.name``, or ``operand.?name``."""

    operand: Node
    name: str
    optional: bool = False
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Has:
    """``has(operand.name)``."""

    select: Select
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Index:
    """``operand[index]``, or ``operand[?index]``."""

    operand: Node
    index: Node
    optional: bool = False
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """``function(…)``, or ``target.function(…)``, which may be a function in a namespace."""

    function: str
    target: Node | None
    arguments: tuple[Node, ...]
    absolute: bool = False
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """``!`` or ``-``."""

    operator: str
    operand: Node
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Logic:
    """A whole chain of ``&&`` or of ``||``."""

    operator: str
    operands: tuple[Node, ...]
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Chain:
    """
    A whole chain of arithmetic of one precedence, or of relations, from left to right.

    ``steps`` are the operators with their right operands.
    """

    first: Node
    steps: tuple[tuple[str, Node], ...]
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Conditional:
    """``test ? then : otherwise``."""

    test: Node
    then: Node
    otherwise: Node
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class ListDisplay:
    """``[a, ?b]``; ``optionals`` are the positions with a question mark."""

    elements: tuple[Node, ...]
    optionals: frozenset[int] = frozenset()
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class MapDisplay:
    """``{key: value, ?key: value}``."""

    entries: tuple[tuple[Node, Node], ...]
    optionals: frozenset[int] = frozenset()
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Message:
    """``name{field: value}``: it parses, but there are no messages here."""

    name: str
    fields: tuple[tuple[str, Node], ...]
    absolute: bool = False
    optionals: frozenset[int] = frozenset()
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Macro:
    """
    ``operand.kind(variables…, bodies…)``.

    kind: all, exists, exists_one, existsOne, map, filter, sortBy, transformList, transformMap,
    transformMapEntry, optMap, optFlatMap. Where there are two bodies the first is the filter.
    """

    kind: str
    operand: Node
    variables: tuple[str, ...]
    bodies: tuple[Node, ...]
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Bind:
    """``cel.bind(variable, value, body)``."""

    variable: str
    value: Node
    body: Node
    span: Place = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Block:
    """``cel.block([slots…], body)``: slot i is the variable ``@index`` i, computed when first needed."""

    slots: tuple[Node, ...]
    body: Node
    span: Place = field(default=NOWHERE, compare=False)


Node: TypeAlias = (
    Literal
    | Ident
    | Select
    | Has
    | Index
    | Call
    | Unary
    | Logic
    | Chain
    | Conditional
    | ListDisplay
    | MapDisplay
    | Message
    | Macro
    | Bind
    | Block
)


def children(node: Node) -> Iterator[Node]:  # noqa: C901, PLR0912 — one arm for each node
    """The nodes right below *node*, in the order of the text."""
    match node:
        case Select(operand=below) | Unary(operand=below) | Has(select=below):
            yield below
        case Index():
            yield node.operand
            yield node.index
        case Call():
            if node.target is not None:
                yield node.target
            yield from node.arguments
        case Logic(operands=nodes) | ListDisplay(elements=nodes):
            yield from nodes
        case Chain():
            yield node.first
            for _, right in node.steps:
                yield right
        case Conditional():
            yield from (node.test, node.then, node.otherwise)
        case MapDisplay():
            for key, value in node.entries:
                yield key
                yield value
        case Message():
            for _, value in node.fields:
                yield value
        case Macro():
            yield node.operand
            yield from node.bodies
        case Bind():
            yield from (node.value, node.body)
        case Block():
            yield from (*node.slots, node.body)
        case Literal() | Ident():
            pass


def walk(node: Node) -> Iterator[Node]:
    """*node* and all below it, from left to right."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(reversed(list(children(top))))
