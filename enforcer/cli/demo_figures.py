"""What the demo counts while it runs: calls, verdicts, latencies, budgets and reasons. No prompt text."""

from __future__ import annotations

import time
from array import array
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from enforcer.client import Outcome
    from enforcer.events import BudgetView, Request

VERDICTS: Final = ("allow", "warn", "modify", "deny")
RATE_WINDOW_S: Final = 2.0
LATENCY_WINDOW_S: Final = 10.0
SPARKS: Final = 60
_REASONS: Final = 40
_BUDGETS_MAX: Final = 20_000


class CallId(NamedTuple):
    """What makes two records one call."""

    tenant: str
    request_id: str
    attempt: int


class BudgetId(NamedTuple):
    """Which budget of which account."""

    account: str
    policy: str
    id: str
    key: str


@dataclass(slots=True)
class LiveBudget:
    """A budget as the newest decision that touched it has it; amounts in nano-USD."""

    view: BudgetView
    decisions: int = 0

    @property
    def share(self) -> float:
        """Spent and reserved, of the limit."""
        limit = self.view.limit_usd_nano
        used = self.view.spent_usd_nano + self.view.reserved_usd_nano
        return used / limit if limit > 0 else 1.0


@dataclass(slots=True)
class LiveReason:
    """A reason, and how often in a row it was given."""

    verdict: str
    code: str
    policy: str
    tenant: str
    times: int = 1

    def says(self, other: LiveReason) -> bool:
        """Is it the same but for the count?"""
        return (self.verdict, self.code, self.policy, self.tenant) == (
            other.verdict,
            other.code,
            other.policy,
            other.tenant,
        )


class Figures:
    """Fed by the driver of calls, read by the view and at the end. *clock* in seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun_s = clock()
        self.calls = 0
        self.verdicts: Counter[str] = Counter()
        self.timeouts = 0
        self.refused: Counter[str] = Counter()
        self.reports = 0
        self.audit_records = 0
        # What each call was told; None: it ended without a verdict.
        self.told: dict[CallId, str | None] = {}
        self.latencies_ms = array("f")
        self.budgets: dict[BudgetId, LiveBudget] = {}
        self.reasons: deque[LiveReason] = deque(maxlen=_REASONS)
        self._recent: deque[tuple[float, float]] = deque()
        self._per_second: deque[int] = deque([0], maxlen=SPARKS)
        self._second = 0

    def asked(self, request: Request) -> None:
        """A call is made."""
        self.calls += 1
        self.told[CallId(request.tenant, request.id, request.attempt)] = None
        self._tick()
        self._per_second[-1] += 1

    def answered(self, request: Request, outcome: Outcome) -> None:
        """A call was told what to do."""
        self.latencies_ms.append(outcome.latency_ms)
        self._recent.append((self._clock(), outcome.latency_ms))
        decision = outcome.decision
        if decision is None:
            self.timeouts += 1
            self._reason(LiveReason(outcome.acted, "timeout", "", request.tenant))
            return
        self.told[CallId(request.tenant, request.id, request.attempt)] = decision.verdict
        self.verdicts[decision.verdict] += 1
        for view in decision.budgets:
            self._budget(decision.account, view)
        for reason in (decision.reasons or decision.warnings)[:1]:
            self._reason(LiveReason(decision.verdict, reason.code, reason.policy, decision.tenant))

    def failed(self, code: str) -> None:
        """A call was refused before it was sent, or its gateway failed."""
        self.refused[code] += 1

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._begun_s

    @property
    def requests_per_s(self) -> float:
        """Over the last two seconds."""
        now_s = self._clock()
        counted = sum(1 for at_s, _ in reversed(self._recent) if at_s > now_s - RATE_WINDOW_S)
        return counted / max(0.25, min(RATE_WINDOW_S, now_s - self._begun_s))

    @property
    def bypass_rate(self) -> float:
        """Share of the ended calls that got no verdict in time."""
        ended = len(self.latencies_ms)
        return self.timeouts / ended if ended else 0.0

    def per_second(self, newest: int) -> list[int]:
        """Calls in each of the *newest* seconds, the one under way included."""
        self._tick()
        return list(self._per_second)[-newest:]

    def recent_ms(self) -> tuple[float | None, float | None]:
        """p50 and p99 of the last ten seconds."""
        oldest_s = self._clock() - LATENCY_WINDOW_S
        while self._recent and self._recent[0][0] < oldest_s:
            self._recent.popleft()
        ordered = sorted(latency_ms for _, latency_ms in self._recent)
        return percentile(ordered, 0.5), percentile(ordered, 0.99)

    def overall_ms(self) -> tuple[float | None, float | None]:
        """p50 and p99 of the whole run."""
        ordered = sorted(self.latencies_ms)
        return percentile(ordered, 0.5), percentile(ordered, 0.99)

    def busiest_budgets(self, count: int) -> list[tuple[BudgetId, LiveBudget]]:
        """Those that many calls spend from, or that are nearly used up, in a lasting order."""
        ranked = sorted(
            self.budgets.items(),
            key=lambda item: item[1].decisions * (1 + 3 * min(1.0, item[1].share)),
            reverse=True,
        )
        return sorted(ranked[:count], key=lambda item: (item[0].id, item[0].account, item[0].key))

    def _budget(self, account: str, view: BudgetView) -> None:
        name = BudgetId(account, view.policy, view.id, view.key)
        known = self.budgets.get(name)
        if known is None:
            if len(self.budgets) >= _BUDGETS_MAX:
                # A conversation's budget is touched a few times and never again.
                busiest = sorted(self.budgets.items(), key=lambda item: -item[1].decisions)
                self.budgets = dict(busiest[: _BUDGETS_MAX // 2])
            known = self.budgets[name] = LiveBudget(view)
        known.view = view
        known.decisions += 1

    def _reason(self, reason: LiveReason) -> None:
        if self.reasons and self.reasons[-1].says(reason):
            self.reasons[-1].times += 1
        else:
            self.reasons.append(reason)

    def _tick(self) -> None:
        """Begin a new bucket for each second that has passed."""
        second = int(self._clock() - self._begun_s)
        for _ in range(min(SPARKS, second - self._second)):
            self._per_second.append(0)
        self._second = second


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile of sorted numbers; None of none."""
    if not ordered:
        return None
    rank = -int(-share * len(ordered) // 1)  # The ceiling, exact for the shares used here.
    return ordered[max(0, rank - 1)]
