"""Chains of names, literal keys and literal positions in an expression: what may be a path."""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.cel.syntax import Index, Literal, Node, Select


@dataclass(frozen=True, slots=True)
class Chain:
    """``a.b[0]["c"]``: its first node, and the steps with the node that each ends."""

    root: Node
    steps: tuple[tuple[str | int, Node], ...]


def chain_of(node: Node) -> Chain:
    """The longest chain that ends in *node*."""
    steps: list[tuple[str | int, Node]] = []
    while True:
        if isinstance(node, Select) and not node.optional:
            steps.append((node.name, node))
            node = node.operand
        elif isinstance(node, Index) and not node.optional and is_step(node.index):
            assert isinstance(node.index, Literal)
            steps.append((node.index.value, node))
            node = node.operand
        else:
            return Chain(node, tuple(reversed(steps)))


def is_step(node: Node) -> bool:
    """Whether an index is a literal key or position."""
    if not isinstance(node, Literal):
        return False
    value = node.value
    return value.__class__ is str or (value.__class__ is int and 0 <= value < 10**9)
