"""What a gateway is told about a call, and what it counts over all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from enforcer.client.guard import asked_by, guard
from enforcer.detect.redaction import NO_KEYS, RedactionKeys

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from enforcer.events import Decision, Request


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What to do with one call.

    Attributes:
        verdict: allow, warn, modify or deny: the decision's, or what stands in for it at the deadline.
        acted: What the gateway does: allow, modify, deny, timeout_allow or timeout_deny.
        code: The first reason's code; ``timeout`` without a decision, ``edit_failed`` when the
            decision's edits do not fit the request (a deny: nothing is sent unredacted).
        decision: As received; None when the deadline passed first.
        request: What may be sent to the model, edits applied; of the type that was given.
        latency_ms: From the call of ``decide`` to the verdict's arrival.
        by_timeout: No verdict came in time: ``on_timeout`` of the tenant decided.
        traceparent: The trace it belongs to.
    """

    verdict: str
    acted: str
    code: str
    decision: Decision | None
    request: Request | dict[str, Any]
    latency_ms: float
    by_timeout: bool
    traceparent: str

    @property
    def allowed(self) -> bool:
        """Whether ``request`` may go to the model."""
        return self.acted in {"allow", "modify", "timeout_allow"}

    def guard(
        self, stream: AsyncIterable[str], keys: RedactionKeys = NO_KEYS
    ) -> AsyncIterable[str]:
        """
        The answer's stream, redacted where the decision redacted the question; else as it is.

        Args:
            stream: The answer's text in the pieces it comes in.
            keys: Of this conversation (``RedactionKeys.derived``): hashes and pseudonyms of the answer are then
                those of the question. Without them they are labels.
        """
        asked = asked_by(self.decision, keys)
        return stream if asked is None else guard(stream, *asked, keys=keys)


@dataclass(slots=True)
class Stats:
    """
    Counts since the gateway was started.

    ``late`` are verdicts of ours that nobody waited for any more (or repeats of one), ``foreign``
    records of other gateways, ``unreadable`` records of ours that could not be read.
    """

    calls: int = 0
    verdicts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("allow", "warn", "modify", "deny"), 0)
    )
    timeouts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("allow", "deny"), 0))
    cancelled: int = 0
    usage_reports: int = 0
    late: int = 0
    foreign: int = 0
    unreadable: int = 0
    reconnects: int = 0

    @property
    def bypass_rate(self) -> float:
        """Share of the ended calls that ran, or were refused, without a verdict."""
        without = sum(self.timeouts.values())
        ended = without + sum(self.verdicts.values())
        return without / ended if ended else 0.0
