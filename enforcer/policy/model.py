"""The values a compiled policy consists of and answers with. Made at compile time, shared by all events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from enforcer.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from enforcer.policy.exemptions import ExceptionCode, Template
    from enforcer.policy.fields import Cost
    from enforcer.policy.ir import Expr
    from enforcer.policy.paths import Path

Verdict = Literal["deny", "warn", "allow", "modify"]

EVALUATION_ERROR = "evaluation_error"


class EvaluationError(RequestError):
    """A guard or condition met a value of a type it cannot compare. Fails closed."""

    code = EVALUATION_ERROR


class FactsView(Protocol):
    """What compiled conditions read of the facts of a request; each is computed when first read."""

    @property
    def prompt(self) -> str:
        """All text parts, joined by newlines."""

    @property
    def input_tokens(self) -> int:
        """Tokens of the input."""

    @property
    def max_output_tokens(self) -> int:
        """Tokens the answer may have, at most."""

    @property
    def estimated_cost_usd(self) -> float | None:
        """What the call may cost; None if no price is known."""

    @property
    def pii_counts(self) -> Mapping[str, int]:
        """Pieces of personal data by kind."""

    @property
    def pii_types(self) -> list[str]:
        """The kinds found."""

    @property
    def pii_count(self) -> int:
        """Pieces of personal data, all kinds."""

    def pii_counts_at(self, confidence: float, /) -> Mapping[str, int]:
        """Pieces of personal data by kind, of all kinds there are, from a confidence on."""

    def pii_types_at(self, confidence: float, /) -> list[str]:
        """The kinds found so."""

    def pii_count_at(self, confidence: float, /) -> int:
        """How many pieces were found so."""

    @property
    def secrets_types(self) -> list[str]:
        """The kinds of secrets found."""

    @property
    def secrets_count(self) -> int:
        """Secrets, all kinds."""

    @property
    def injection_score(self) -> float:
        """0 to 1; from 0.5 on it is an attack."""

    @property
    def injection_signals(self) -> list[str]:
        """What was seen of an attack, by name."""


class LimitsView(Protocol):
    """What compiled conditions read of the rows of a request's limits, as they were before it."""

    def amount(self, kind: str, limit: tuple[str, str, str], amount: str, /) -> float | None:
        """
        An amount of ``budget("id")`` or ``rate("id")``; None where the limit does not apply to the request.

        Args:
            kind: ``budget`` or ``rate``.
            limit: Scope and id of its policy, and its own id.
            amount: Such as ``remaining_usd``.
        """


@dataclass(frozen=True, slots=True)
class EditSpec:
    """One edit as its author wrote it, with the canonical path."""

    op: Literal["set", "remove", "cap", "append", "redact"]
    path: str
    value: Any = None
    kinds: tuple[str, ...] | None = None  # Of personal data and secrets; None: the default kinds.
    style: Literal["label", "remove", "hash", "pseudonym", "mask"] = "label"


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A rule that matched. One object per rule, so that a match costs an append."""

    policy: str
    rule: str
    verdict: Verdict | Literal["exempt"]
    code: str
    reason: str
    priority: int
    edits: tuple[EditSpec, ...] = ()
    origin: Match | None = None  # The rule's own match, where the reason was made for a request.


@dataclass(frozen=True, slots=True)
class RuleErrorInfo:
    """A rule that could not be evaluated; ``rule`` is empty where the policy's ``unless`` erred."""

    policy: str
    rule: str
    code: str
    message: str


class Evaluation(NamedTuple):
    """What step 1 of a decision found, in canonical order."""

    matches: Sequence[Match] = ()
    errors: Sequence[RuleErrorInfo] = ()
    shadow: Sequence[Match] = ()
    exempt: Sequence[Match] = ()  # Uses of exceptions: they join no verdict.


NOTHING: Final = Evaluation()
"""Of most requests: one object for all of them."""


@dataclass(frozen=True, slots=True, eq=False)
class RuleCode:
    """An enabled rule, lowered: the compiler's input, and what is needed when it errs."""

    id: str
    verdict: Verdict
    condition: Expr
    phases: tuple[str, ...]
    match: Match
    # What takes the match's place when the condition errs; None: the rule is skipped.
    failure: Match | None
    reads: frozenset[Path]
    exceptions: tuple[ExceptionCode, ...] = ()
    template: Template | None = None  # Of the reason, where it has expressions.


# (request, facts, now_us, limits, denied, hits, errors) -> denied
Run: TypeAlias = "Callable[[Any, FactsView, int | None, LimitsView | None, bool, list[Match], list[RuleErrorInfo]], bool]"


class Guard(Protocol):
    """Whether a policy applies: True, False, or None where its ``match`` erred."""

    def __call__(
        self,
        request: Any,
        facts: FactsView,
        now_us: int | None,
        limits: LimitsView | None = None,
        /,
    ) -> bool | None:
        """Of a request."""


@dataclass(frozen=True, slots=True, eq=False)
class PolicyCode:
    """A compiled policy."""

    id: str
    scope: str
    priority: int
    digest: str
    shadow: bool
    rules: tuple[RuleCode, ...]
    run: Run
    guard: Guard
    is_guarded: bool  # Whether there is a `match` or an `unless` at all.
    on_error: Literal["deny", "skip"]
    has_deny: bool
    deny_cost: Cost
    # What a request must have for any rule to match: path to values. The index is made from it.
    requirements: Mapping[Path, frozenset[str]]
    pii_kinds: frozenset[str]  # Kinds of personal data that its conditions name.
