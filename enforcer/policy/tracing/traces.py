"""The values a trace consists of. None of them holds text of a prompt, tool or attribute."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from enforcer.errors import Span

Truth = Literal["true", "false", "error", "skipped", "value"]
RuleStatus = Literal["matched", "no match", "error", "skipped"]


@dataclass(slots=True)
class TermTrace:
    """
    One sub-expression: where it stands, what it says, and what it came to.

    ``reads`` holds the fields it read, with values as they may be shown: text that a caller wrote is
    ``<text, 512 characters>``. A skipped term was not evaluated: the chain was decided before it. ``result`` is
    the value of a part that is no condition; then ``value`` says "value".
    """

    text: str
    span: Span
    value: Truth
    result: Any = None
    reads: dict[str, Any] = field(default_factory=dict)
    terms: list[TermTrace] = field(default_factory=list)


@dataclass(slots=True)
class ExceptionTrace:
    """One exception of a rule that would have counted: ``status`` is "removes it", "does not hold", "expired" or "error"."""

    id: str
    status: str
    condition: TermTrace | None = None


@dataclass(slots=True)
class LimitTrace:
    """
    A budget or rate limit of a policy. ``amounts`` are those before the request; none where it does not apply to it.

    ``why`` says why it does not.
    """

    kind: Literal["budget", "rate"]
    id: str
    amounts: dict[str, float] = field(default_factory=dict)
    why: str = ""


@dataclass(slots=True)
class RuleTrace:
    """One rule that was looked at, or why it was not."""

    rule: str
    verdict: str
    status: RuleStatus
    why: str = ""
    condition: TermTrace | None = None
    exceptions: list[ExceptionTrace] = field(default_factory=list)


@dataclass(slots=True)
class PolicyTrace:
    """One policy of the program, in canonical order. ``skipped`` says why no rule of it was evaluated."""

    policy: str
    scope: str
    skipped: str = ""
    match: TermTrace | None = None
    unless: TermTrace | None = None
    rules: list[RuleTrace] = field(default_factory=list)
    limits: list[LimitTrace] = field(default_factory=list)
