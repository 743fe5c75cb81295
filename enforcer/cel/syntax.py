"""
The syntax tree: what the parser makes, the checker types, the compiler lowers and the printer writes.

Nodes are values: two trees are equal if they print the same; spans do not count. A macro is one node, with
its variables named, so nothing needs to be taken apart again to say what the author wrote.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


_N = TypeVar("_N", bound="Node")


def rewritten(node: Node, change: Callable[[Node], Node]) -> Node:
    """
    The tree with *change* applied to every node, from the leaves up.

    What does not change stays the same object. A ``Has`` keeps its field: its operand is what changes.
    """
    return change(rewritten_below(node, lambda below: rewritten(below, change)))


def rewritten_below(node: _N, change: Callable[[Node], Node]) -> _N:
    """
    *node* with *change* applied to the nodes right below it, for whoever goes down the tree by himself.

    What does not change stays the same object. Of a ``Has`` the operand of its field changes.
    """
    if isinstance(node, Has):
        select = node.select
        return _with(node, select=_with(select, operand=change(select.operand)))
    fields = {name: _changed_part(getattr(node, name), change) for name in _PARTS[type(node)]}
    return _with(node, **fields)


def _changed_part(part: Any, change: Callable[[Node], Node]) -> Any:
    """A field of a node: a node, or a tuple of nodes, of pairs with nodes, of operators."""
    if isinstance(part, tuple):
        return tuple(_changed_part(each, change) for each in part)
    return part if part is None or isinstance(part, str) else change(part)


_PARTS: Final[dict[type, tuple[str, ...]]] = {
    Literal: (),
    Ident: (),
    Select: ("operand",),
    Index: ("operand", "index"),
    Call: ("target", "arguments"),
    Unary: ("operand",),
    Logic: ("operands",),
    Chain: ("first", "steps"),
    Conditional: ("test", "then", "otherwise"),
    ListDisplay: ("elements",),
    MapDisplay: ("entries",),
    Message: ("fields",),
    Macro: ("operand", "bodies"),
    Bind: ("value", "body"),
    Block: ("slots", "body"),
}


def _with(node: _N, **fields: Any) -> _N:
    """*node* with other fields; itself, if they are the same objects."""
    if all(_same(getattr(node, name), value) for name, value in fields.items()):
        return node
    return replace(node, **fields)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, tuple) and isinstance(new, tuple):
        return len(old) == len(new) and all(map(_same, old, new))
    return old is new


def walk(node: Node) -> Iterator[Node]:
    """*node* and all below it, from left to right."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(reversed(list(children(top))))
