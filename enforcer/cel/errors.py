"""
What can go wrong with an expression, by when it shows.

* CelSyntaxError   it is no CEL; LimitError where it is larger or deeper than stated
* CelCheckError    it is CEL, but its types do not fit; holds every ``Issue``
* EvaluationError  it ran and has no value: a value of CEL's own, absorbed by ``&&`` and ``||``

The first three are the author's to mend and say where; the last is an answer like any other.
"""

from __future__ import annotations

from dataclasses import dataclass

from enforcer.errors import PolicyError, Span


@dataclass(frozen=True, slots=True)
class Issue:
    """One fault of an expression: a stable kind, what is wrong, and the place in code points."""

    kind: str
    message: str
    start: int
    end: int
    line: int
    column: int

    def __str__(self) -> str:
        """``line:column: message``."""
        return f"{self.line}:{self.column}: {self.message}"


class CelSyntaxError(PolicyError):
    """The text is no expression. ``start`` and ``end`` count code points, line and column from 1."""

    code = "cel_syntax"

    def __init__(self, message: str, *, start: int, end: int, span: Span) -> None:
        super().__init__(message, span=span)
        self.start = start
        self.end = end

    def __str__(self) -> str:
        """``line:column: message``."""
        return f"{self.span.line}:{self.span.column}: {self.message}"


class LimitError(CelSyntaxError):
    """An expression beyond a stated bound (see ``limits``)."""

    code = "cel_limit"


class CelCheckError(PolicyError):
    """The expression does not check. ``issues`` are sorted by place, at most 100."""

    code = "cel_check"

    def __init__(self, issues: tuple[Issue, ...]) -> None:
        first = issues[0]
        super().__init__(first.message, span=Span("", first.line, first.column))
        self.issues = issues

    def __str__(self) -> str:
        """All issues, one a line."""
        return "\n".join(map(str, self.issues))


class EvaluationError(Exception):
    """
    An expression without a value.

    ``code`` is stable: absent, no_such_overload, no_such_key, no_such_field, index_out_of_range, unbound,
    divide_by_zero, overflow, out_of_range, invalid_argument, limit. The message holds no value of a
    request but numbers, names and types.
    """

    __slots__ = ("code", "message")

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
