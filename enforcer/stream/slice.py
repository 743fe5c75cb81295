"""What one slice tells: verdicts to send, and what the metrics want to know of them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from enforcer import events, tracing
from enforcer.errors import EnforcerError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from enforcer.broker.ports import Outgoing, Record
    from enforcer.engine import Outcome
    from enforcer.events import Decision
    from enforcer.telemetry import Metrics
    from enforcer.tracing import Spans, Traced

PHASE_BYTES_MAX: Final = 64 * 1024
"""A longer request is not read a second time for its span."""
LIMIT_CODES: Final = frozenset(
    {"budget_exceeded", "lease_pending", "rate_limited", "exceeds_burst"}
)


class Slice:
    """The verdicts of a few milliseconds, in order."""

    __slots__ = (
        "_begun_ns",
        "_limited",
        "_mark_ns",
        "_record_ms",
        "_spans",
        "_traced",
        "_verdicts",
        "told",
    )

    def __init__(self, spans: Spans | None = None) -> None:
        self._spans = spans
        self._traced: list[Traced] = []
        self._begun_ns = self._mark_ns = 0 if spans is None else time.time_ns()
        self.told: list[Outgoing] = []
        self._record_ms: list[int] = []
        self._verdicts: dict[str, int] = {}
        self._limited = 0

    def add(self, out: Outgoing, record: Record, outcome: Outcome) -> None:
        """One verdict on *record* to tell; one that is told again counts as no decision."""
        self.told.append(out)
        self._record_ms.append(record.timestamp)
        if self._spans is not None:
            self._trace(out, record, outcome)
        verdict = outcome.verdict
        if not verdict:
            return
        self._verdicts[verdict] = self._verdicts.get(verdict, 0) + 1
        if verdict == "deny" and outcome.decision is not None:
            self._limited += any(r.code in LIMIT_CODES for r in outcome.decision.reasons)

    def _trace(self, out: Outgoing, record: Record, outcome: Outcome) -> None:
        """Note what the span of a sampled decision says; it began when the one before was made."""
        now_ns = time.time_ns()
        begun_ns, self._mark_ns = self._mark_ns, now_ns
        traceparent = next((value for name, value in out[2] if name == "traceparent"), b"")
        if not tracing.is_sampled(traceparent) or outcome.decision is None:
            return
        attributes = attributes_of(outcome.decision, record)
        self._traced.append(tracing.Traced(traceparent, begun_ns, now_ns, attributes))

    def report(self, metrics: Metrics, ack: Awaitable[int] | None) -> None:
        """Count what was told; its latencies once it is acknowledged."""
        for verdict, count in self._verdicts.items():
            metrics.decided(verdict, count)
        if self._limited:
            metrics.budget_denied(self._limited)
        if ack is None:
            return
        record_ms = self._record_ms

        self._tell_traces(ack)

        def acknowledged(done: asyncio.Future[int]) -> None:
            if not done.cancelled() and done.exception() is None:
                now_ms = time.time() * 1000
                metrics.latencies(max(0.0, now_ms - ms) / 1000 for ms in record_ms)

        asyncio.ensure_future(ack).add_done_callback(acknowledged)

    def _tell_traces(self, ack: Awaitable[int]) -> None:
        """The batch's span ends when it is acknowledged; of one that is not, nothing was told."""
        spans, traced, count, begun_ns = self._spans, self._traced, len(self.told), self._begun_ns
        if spans is None or not traced:
            return

        def acknowledged(done: asyncio.Future[int]) -> None:
            if not done.cancelled() and done.exception() is None:
                spans.batch(traced, count=count, begun_ns=begun_ns)

        asyncio.ensure_future(ack).add_done_callback(acknowledged)


def attributes_of(decision: Decision, record: Record) -> dict[str, str | int | bool]:
    """What a decision's span says: nothing of the prompt, and no reason's message, which may quote it."""
    kind, subtype = tracing.TARGETS.get(_phase_of(record), ("input", "llm"))
    found: dict[str, str | int | bool] = {
        tracing.COMPONENT: tracing.SCOPE,
        tracing.TARGET_TYPE: kind,
        tracing.TARGET_SUBTYPE: subtype,
        tracing.TARGET_ID: decision.request_id,
        tracing.VERDICT: decision.verdict,
        tracing.MODIFIED: bool(decision.edits),
        tracing.POLICY_DIGEST: decision.policy_digest,
        tracing.TENANT: decision.tenant,
        tracing.DECISION_ID: decision.id,
        tracing.LATE_MS: decision.source.late_ms,
        tracing.DESTINATION: record.topic,
        tracing.PARTITION: str(record.partition),
        tracing.OFFSET: record.offset,
    }
    for reason in decision.reasons[:1]:
        found |= {
            tracing.VERDICT_CODE: reason.code,
            tracing.POLICY: reason.policy,
            tracing.RULE: reason.rule,
        }
    return found


def _phase_of(record: Record) -> str:
    value = record.value
    if value is None or len(value) > PHASE_BYTES_MAX:
        return ""
    try:
        return str(events.read_request(value).phase)
    except EnforcerError:
        return ""
