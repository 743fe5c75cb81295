"""What one slice tells: verdicts to send, and what the metrics want to know of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from enforcer.broker.ports import Outgoing
    from enforcer.events import Decision
    from enforcer.telemetry import Metrics

LIMIT_CODES: Final = frozenset({"budget_exceeded", "rate_limited", "exceeds_burst"})


class Slice:
    """The verdicts of a few milliseconds, in order."""

    __slots__ = ("_limited", "_record_ms", "_verdicts", "told")

    def __init__(self) -> None:
        self.told: list[Outgoing] = []
        self._record_ms: list[int] = []
        self._verdicts: Counter[str] = Counter()
        self._limited = 0

    def add(self, out: Outgoing, record_ms: int, decision: Decision | None) -> None:
        """One verdict to tell; *decision* is None for one that is told again."""
        self.told.append(out)
        self._record_ms.append(record_ms)
        if decision is None:
            return
        self._verdicts[decision.verdict] += 1
        if decision.verdict == "deny" and any(r.code in LIMIT_CODES for r in decision.reasons):
            self._limited += 1

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
