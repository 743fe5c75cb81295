"""What one slice tells: verdicts to send, and what the metrics want to know of them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from enforcer.broker.ports import Outgoing
    from enforcer.engine import Outcome
    from enforcer.telemetry import Metrics

LIMIT_CODES: Final = frozenset(
    {"budget_exceeded", "lease_pending", "rate_limited", "exceeds_burst"}
)


class Slice:
    """The verdicts of a few milliseconds, in order."""

    __slots__ = ("_limited", "_record_ms", "_verdicts", "told")

    def __init__(self) -> None:
        self.told: list[Outgoing] = []
        self._record_ms: list[int] = []
        self._verdicts: dict[str, int] = {}
        self._limited = 0

    def add(self, out: Outgoing, record_ms: int, outcome: Outcome) -> None:
        """One verdict to tell; one that is told again counts as no decision."""
        self.told.append(out)
        self._record_ms.append(record_ms)
        verdict = outcome.verdict
        if not verdict:
            return
        self._verdicts[verdict] = self._verdicts.get(verdict, 0) + 1
        if verdict == "deny" and outcome.decision is not None:
            self._limited += any(r.code in LIMIT_CODES for r in outcome.decision.reasons)

    def report(self, metrics: Metrics, ack: Awaitable[int] | None) -> None:
        """Count what was told; its latencies once it is acknowledged."""
        for verdict, count in self._verdicts.items():
            metrics.decided(verdict, count)
        if self._limited:
            metrics.budget_denied(self._limited)
        if ack is None:
            return
        record_ms = self._record_ms

        def acknowledged(done: asyncio.Future[int]) -> None:
            if not done.cancelled() and done.exception() is None:
                now_ms = time.time() * 1000
                metrics.latencies(max(0.0, now_ms - ms) / 1000 for ms in record_ms)

        asyncio.ensure_future(ack).add_done_callback(acknowledged)
