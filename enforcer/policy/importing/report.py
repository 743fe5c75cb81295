"""What became of each rule of an imported file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from enforcer.errors import Span

Status = Literal["exact", "changed", "not possible"]


@dataclass(frozen=True, slots=True)
class Line:
    """
    A rule, or, with an empty ``rule``, what stands beside the rules of a document.

    exact: decides as it did. changed: decides otherwise in the cases that ``notes`` name. not possible: left
    out, for the reason given.
    """

    span: Span
    policy: str
    rule: str
    status: Status
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Notes:
    """What is noted about one rule while it is taken over."""

    changed: list[str] = field(default_factory=list)
    impossible: list[str] = field(default_factory=list)

    def change(self, note: str) -> None:
        """It decides otherwise in some case."""
        if note not in self.changed:
            self.changed.append(note)

    def refuse(self, note: str) -> None:
        """It cannot be said here."""
        if note not in self.impossible:
            self.impossible.append(note)

    def line(self, span: Span, policy: str, rule: str) -> Line:
        """The line of the report."""
        if self.impossible:
            return Line(span, policy, rule, "not possible", tuple(self.impossible))
        if self.changed:
            return Line(span, policy, rule, "changed", tuple(self.changed))
        return Line(span, policy, rule, "exact")
