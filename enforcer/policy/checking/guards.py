"""The edit that mends a problem: a guard before the smallest condition around it, as text to insert."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from enforcer.cel.syntax import (
    Bind,
    Chain,
    Conditional,
    Literal,
    Logic,
    Macro,
    Node,
)
from enforcer.policy.checking.problems import Atom, Problem, closed, is_enclosed

if TYPE_CHECKING:
    from enforcer.cel.syntax import Place
    from enforcer.policy.expressions import Condition

_QUOTED_MAX = 60


class Guards:
    """
    Edits of one expression.

    ``atoms`` are the conditions around the place that is looked at, the innermost last; ``variables`` are those of
    macros there.
    """

    def __init__(self, condition: Condition) -> None:
        self._text = condition.expression.source.text
        self._inlined = condition.environment.variables
        self.atoms: list[Atom] = []
        self.variables: frozenset[str] = frozenset()

    def place(self, node: Node) -> Place:
        """Where *node* stands, with the parentheses that belong to it."""
        return closed(self._text, node.span)

    def text(self, node: Node) -> str:
        """*node* as its author wrote it."""
        start, end = self.place(node)
        return self._text[start:end]

    def quoted(self, node: Node) -> str:
        """*node* as its author wrote it, for a message: short, and nothing but a path or call."""
        text = " ".join(self.text(node).split())
        return f"`{text}`" if len(text) <= _QUOTED_MAX else f"`{text[:_QUOTED_MAX]}…`"

    def problem(
        self, kind: str, message: str, node: Node, *, guard: str = "", help_line: str = "",
        append: str = "", is_declared: bool = True,
    ) -> Problem:  # fmt: skip
        """A problem at *node* that *guard* before the condition around it mends, or *append* after the node."""
        insertions: tuple[tuple[int, str], ...] = ()
        if kind != "absent" and self.text(node) in self._inlined:
            guard = append = ""  # It stands in a variable, whose text is elsewhere.
        if append:
            insertions = ((self.place(node)[1], append),)
            said = f"write `{self.text(node)}{append}`"
        elif guard:
            insertions = self._before(guard, is_outermost=kind == "cost")
            said = f"guard it: `{guard} && …`"
            if not insertions:
                said = f"make sure of `{guard}` before, in a `filter` or with `.?`"
        else:
            said = "prove it with a guard, or write it without this operation"
        return Problem(kind, message, self.place(node), help_line or said, insertions, is_declared)

    def widened(
        self, message: str, chain: Chain, *, is_declared: bool, is_possible: bool
    ) -> Problem:
        """An overflow, mended by doubles: they have no bounds."""
        operands = [chain.first, *(right for _, right in chain.steps)]
        insertions: list[tuple[int, str]] = []
        is_inlined = self.text(chain) in self._inlined
        for each in operands if is_possible and not is_inlined else ():
            start, end = self.place(each)
            if isinstance(each, Literal):
                insertions.append((end, ".0"))
            else:
                insertions.extend([(start, "double("), (end, ")")])
        help_line = "compute with doubles, or bound the operands: `x < 1000000 && …`"
        place = self.place(chain)
        return Problem("overflow", message, place, help_line, tuple(insertions), is_declared)

    def _before(self, guard: str, *, is_outermost: bool) -> tuple[tuple[int, str], ...]:
        atom = self.atoms[0] if is_outermost and self.atoms else self._atom(guard)
        if atom is None:
            return ()
        start, end = self.place(atom.node)
        needs_inner = isinstance(atom.node, Conditional) or (
            isinstance(atom.node, Logic) and atom.node.operator == "||"
        )
        parent = atom.parent
        in_chain = isinstance(parent, Logic) and parent.operator == "&&"
        is_alone = parent is None or isinstance(parent, Macro | Bind) or in_chain
        before, after = f"{guard} && ", ""
        if "||" in guard:
            before = f"({guard}) && "
        if needs_inner and not is_enclosed(self._text, (start, end)):
            before, after = f"{before}(", ")"
        if needs_inner and is_enclosed(self._text, (start, end)):
            start = self._text.rindex("(", 0, start)
            end = self._text.index(")", end) + 1
        if not is_alone and not is_enclosed(self._text, (start, end)):
            before, after = f"({before}", f"{after})"
        found = [(start, before)]
        return tuple([*found, (end, after)] if after else found)

    def _atom(self, guard: str) -> Atom | None:
        """The condition around, if all variables that *guard* names are in its scope."""
        if not self.atoms:
            return None
        atom = self.atoms[-1]
        inner = self.variables - atom.variables
        return None if any(uses(guard, each) for each in inner) else atom


def uses(guard: str, variable: str) -> bool:
    """Whether a guard names a variable."""
    return re.search(rf"(?<![\w.]){re.escape(variable)}\b", guard) is not None
