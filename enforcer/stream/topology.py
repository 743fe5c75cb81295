"""
What flows where, as data: a description that prints, and that a test holds against topics and schemas.

Keyed by account throughout: one agent owns all rows of an account, so no two workers ever race for one
budget. A node may name only nodes above it: read from top to bottom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Lane = Literal["input", "table", "step", "fast", "ledger", "report"]


@dataclass(frozen=True, slots=True)
class Node:
    """One source, table, step or sink. *topic* is the name without the prefix."""

    name: str
    lane: Lane
    topic: str = ""
    inputs: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Topology:
    """Nodes in the order in which data meets them."""

    name: str
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            unknown = [name for name in node.inputs if name not in seen]
            assert not unknown, f"{node.name} names {unknown}, which do not stand above it"
            seen.add(node.name)

    def topics(self, *lanes: Lane) -> tuple[str, ...]:
        """The topics of these lanes (all, if none is named), in order, each once."""
        found = [n.topic for n in self.nodes if n.topic and (not lanes or n.lane in lanes)]
        return tuple(dict.fromkeys(found))

    def describe(self) -> str:
        """A text to print and to compare: one line a node."""
        lines = [f"topology {self.name}"]
        for node in self.nodes:
            source = f" <- {', '.join(node.inputs)}" if node.inputs else ""
            topic = f" [{node.topic}]" if node.topic else ""
            lines.append(f"  {node.lane:<6} {node.name}{topic}{source}: {node.doc}")
        return "\n".join(lines) + "\n"


ENFORCEMENT: Final = Topology(
    name="enforcement",
    nodes=(
        Node("requests", "input", "requests", doc="calls to models, before they are made"),
        Node("usage", "input", "usage", doc="what the calls used"),
        Node("leases", "input", "leases", doc="slices of tenants' budgets, between agents"),
        Node("policies", "table", "policies", doc="every set in force, whole, on every worker"),
        Node("history", "table", "policy-history", doc="the source behind every digest"),
        Node("acks", "report", "policy-acks", ("policies",), "which sets its agents decide under"),
        Node("rows", "table", "state", doc="budgets, rate limits, position"),
        Node("calls", "table", "calls", doc="first verdicts, reservations, waiting usage"),
        Node("decide", "step", inputs=("requests", "policies", "rows", "calls"), doc="verdict"),
        Node("settle", "step", inputs=("usage", "policies", "rows", "calls"), doc="money"),
        Node("lend", "step", inputs=("leases", "policies", "rows"), doc="slices of budgets"),
        Node("decisions", "fast", "decisions", ("decide",), "told at once, at least once"),
        Node("audit", "ledger", "audit", ("decide", "settle", "lend"), "chained, exactly once"),
        Node("changes", "ledger", "state", ("decide", "settle", "lend"), "changelog of rows"),
        Node("words", "ledger", "leases", ("decide", "settle", "lend"), "asked, granted, repaid"),
        Node("call changes", "ledger", "calls", ("decide", "settle"), "changelog of calls"),
        Node(
            "dead letters",
            "ledger",
            "dead-letters",
            ("decide", "settle"),
            "input nobody could read",
        ),
    ),
)
"""The one topology of a worker."""

INPUTS: Final = ("requests", "usage", "leases")
PARTITIONED: Final = ("requests", "usage", "leases", "decisions", "audit", "state", "calls")
"""Topics that must have the same number of partitions."""
