"""
What a reader of its own finds in the topics after a run, and whether that is what was sent.

It reads committed records only and shares nothing with the gateway that made the calls, nor with the
worker: every figure of the summary but latencies is counted here.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from enforcer import events
from enforcer.audit.verifier import START, Verifier
from enforcer.cli.demo_figures import VERDICTS, BudgetId, CallId
from enforcer.cli.reading import records
from enforcer.config import data
from enforcer.engine.limits import SHADOW
from enforcer.state.rows import BUDGET, parse_budget_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from enforcer.broker import Broker
    from enforcer.broker.ports import Record

BUDGETS_SHOWN: Final = 20
"""Of each limit, the fullest. A limit by conversation has thousands."""
GLOBAL: Final = "*"
_EVERY: Final = 500


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget after the run, as committed; amounts in nano-USD."""

    name: BudgetId
    window: str
    limit_usd_nano: int
    spent_usd_nano: int
    reserved_usd_nano: int

    @property
    def share(self) -> float:
        """Spent and reserved, of the limit."""
        used = self.spent_usd_nano + self.reserved_usd_nano
        return used / self.limit_usd_nano if self.limit_usd_nano else 0.0


@dataclass(slots=True)
class Found:
    """What stands in the topics."""

    requests: set[CallId] = field(default_factory=set)
    usage_reports: int = 0
    # Verdicts by call, from the decisions topic and from the ledger.
    told: dict[CallId, str] = field(default_factory=dict)
    decided: dict[CallId, str] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    duplicated: int = 0
    policies: Counter[str] = field(default_factory=Counter)
    broken: str = ""
    budgets: list[Budget] = field(default_factory=list)
    _limits: dict[BudgetId, int] = field(default_factory=dict)
    _rows: dict[str, events.BudgetRow] = field(default_factory=dict)

    @property
    def audit_records(self) -> int:
        """Of all kinds."""
        return self.kinds.total()

    def request(self, record: Record) -> None:
        """Take a record of requests."""
        request = events.read_request(record.value or b"")
        self.requests.add(CallId(request.tenant, request.id, request.attempt))

    def decision(self, record: Record) -> None:
        """Take a record of decisions. A repeat says the same."""
        decision = events.read_decision(record.value or b"")
        if isinstance(decision, events.Decision):
            self.told[_call_of(decision)] = decision.verdict

    def audit(self, record: Record) -> None:
        """Take a record of the ledger."""
        entry = events.decode_audit(record.value or b"")
        self.kinds[entry.kind] += 1
        self.notes.update(entry.notes)
        if entry.kind != "decision":
            return
        decision = events.read_decision(entry.payload)
        assert isinstance(decision, events.Decision)
        call = _call_of(decision)
        self.duplicated += call in self.decided
        self.decided[call] = decision.verdict
        for reason in decision.reasons[:1]:
            self.policies[reason.policy or reason.code] += 1
        for view in decision.budgets:
            name = BudgetId(decision.account, view.policy, view.id, view.key)
            self._limits[name] = view.limit_usd_nano

    def row(self, record: Record) -> None:
        """Take a record of the changelog; of one key, the last counts."""
        key = (record.key or b"").decode()
        if key.startswith(BUDGET):
            if record.value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = events.decode_budget_row(record.value)

    def close(self) -> None:
        """All records are read: join rows and limits."""
        for key, row in self._rows.items():
            parts = parse_budget_key(key)
            if parts.policy.startswith(SHADOW):
                continue  # Only tried out: it holds nobody to anything.
            # A row of a global policy marks its name, for a tenant's may have the same.
            shown = parts.policy.removeprefix(GLOBAL)
            name = BudgetId(parts.account, shown, parts.limit_id, parts.key)
            limit = self._limits.get(name, 0)
            spent, reserved = row.spent_usd_nano, row.reserved_usd_nano
            self.budgets.append(Budget(name, parts.window, limit, spent, reserved))


async def read_back(
    broker: Broker, prefix: str, progress: Callable[[int], None] = lambda _: None
) -> Found:
    """
    Read every record of the run, to where the topics end now.

    Args:
        broker: Started; the readers are opened from it.
        prefix: Of the run's topics.
        progress: Told the number of records read, now and then.
    """
    found = Found()
    partitions = await broker.partitions(f"{prefix}.audit")
    verifier = Verifier(_audit_schemas(), from_=dict.fromkeys(range(partitions), START))

    def usage(_: Record) -> None:
        found.usage_reports += 1

    def audit(record: Record) -> None:
        verifier.add(record.partition, record.value, offset=record.offset)
        found.audit(record)

    takers = {
        "requests": found.request,
        "usage": usage,
        "decisions": found.decision,
        "audit": audit,
        "state": found.row,
    }
    count = 0
    for topic, take in takers.items():
        reading = records(broker, f"{prefix}.{topic}", from_beginning=True, follow=False)
        async with aclosing(reading):
            async for record in reading:
                take(record)
                count += 1
                if count % _EVERY == 0:
                    progress(count)
    found.close()
    for finding in verifier.report().findings[:1]:
        found.broken = (
            f"partition {finding.partition}, record {finding.sequence} is {finding.kind}: "
            f"{finding.message}"
        )
    return found


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """
    What was sent against what stands in the topics. Counts of calls; all but *unsent* must be 0.

    Attributes:
        lost: Sent, and not decided in the ledger.
        duplicated: Decided more than once in the ledger.
        contradicted: Told one verdict, with another in the ledger or on the decisions topic.
        unknown: Decided, and never sent.
        unsent: Given up by the gateway at the deadline before they left it.
    """

    lost: int
    duplicated: int
    contradicted: int
    unknown: int
    unsent: int
    broken: str

    @property
    def problems(self) -> list[str]:
        """What is wrong, in words; empty if all agrees."""
        texts = (
            (self.lost, "sent and not in the ledger"),
            (self.duplicated, "more than once in the ledger"),
            (self.contradicted, "told another verdict than the ledger's"),
            (self.unknown, "in the ledger and never sent"),
        )
        found = [f"{count} calls {text}" for count, text in texts if count]
        return [*found, f"the chain is broken: {self.broken}"] if self.broken else found


def reconcile(told: Mapping[CallId, str | None], found: Found) -> Reconciliation:
    """
    Compare.

    Args:
        told: Every call that was made, with the verdict that its gateway received, if any.
        found: What was read back.
    """
    lost = unsent = contradicted = 0
    for call, verdict in told.items():
        decided = found.decided.get(call)
        if decided is None:
            if verdict is None and call not in found.requests:
                unsent += 1
            else:
                lost += 1
        elif verdict not in (None, decided) or found.told.get(call) != decided:
            contradicted += 1
    return Reconciliation(
        lost=lost,
        duplicated=found.duplicated,
        contradicted=contradicted,
        unknown=sum(1 for call in found.decided if call not in told),
        unsent=unsent,
        broken=found.broken,
    )


def verdict_counts(found: Found) -> dict[str, int]:
    """How many calls got each verdict, by the ledger."""
    counts = Counter(found.decided.values())
    return {verdict: counts[verdict] for verdict in VERDICTS}


def fullest(budgets: list[Budget], each: int = BUDGETS_SHOWN) -> list[Budget]:
    """Of each limit the *each* fullest budgets, the limits in order of their names."""
    by_limit: dict[tuple[str, str], list[Budget]] = {}
    for budget in sorted(budgets, key=lambda b: (-b.share, b.name)):
        by_limit.setdefault((budget.name.policy, budget.name.id), []).append(budget)
    return [budget for _, group in sorted(by_limit.items()) for budget in group[:each]]


def budget_json(budget: Budget) -> dict[str, Any]:
    """As WIRE.md's budgets, with the account and the window; amounts in USD."""
    name = budget.name
    return {
        "policy": name.policy,
        "id": name.id,
        "key": name.key,
        "tenant": unquote(name.account.split("/", 1)[0]),
        "account": name.account,
        "window": budget.window,
        "limit_usd": budget.limit_usd_nano / 1e9,
        "spent_usd": budget.spent_usd_nano / 1e9,
        "reserved_usd": budget.reserved_usd_nano / 1e9,
    }


def _call_of(decision: events.Decision) -> CallId:
    return CallId(decision.tenant, decision.request_id, decision.attempt)


def _audit_schemas() -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted(data("schemas").rglob("*.avsc"))]
    return [schema for schema in found if schema["name"] == "Audit"]
