"""
What shadow policies would have changed, counted over the ledger.

The ledger has each call's decision exactly once, so that a count is a count; what the shadow said stands in the
decision. A verdict changes where the shadow's, joined with it, is stricter: deny > modify > warn > allow. It becomes
laxer in one case alone: the tenant denied by default, and a shadow rule would have been a match.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from enforcer import events

if TYPE_CHECKING:
    from collections.abc import Iterable

STRICTNESS: Final = {"allow": 0, "warn": 1, "modify": 2, "deny": 3}
EXAMPLES_MAX: Final = 5
RULES_MAX: Final = 1_000
"""Rules counted apart: a row each. Policies name far fewer; what is above is counted in the sums alone."""


def would_be(decision: events.Decision) -> str:
    """The verdict that *decision* would have had with its shadow in force."""
    return joined(decision, (reason.verdict for reason in decision.shadow))


def joined(decision: events.Decision, shadow: Iterable[str]) -> str:
    """A decision's verdict joined with verdicts of shadow rules; a default deny yields to any match."""
    verdicts = list(shadow)
    is_default = [reason.code for reason in decision.reasons] == ["default_deny"]
    if not (is_default and verdicts):
        verdicts.append(decision.verdict)
    return max(verdicts, key=STRICTNESS.__getitem__)


@dataclass(slots=True)
class RuleChange:
    """What one rule or limit in shadow would have made of one verdict."""

    policy: str
    rule: str
    code: str
    before: str
    after: str
    count: int = 0
    spend_usd_nano: int = 0
    examples: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For programs; amounts in USD."""
        return {
            "policy": self.policy,
            "rule": self.rule,
            "code": self.code,
            "from": self.before,
            "to": self.after,
            "count": self.count,
            "spend_usd": self.spend_usd_nano / 1e9,
            "examples": self.examples,
        }


class ShadowReport:
    """Fed with audit records of any kind, in any order of partitions."""

    def __init__(self, *, since_us: int = 0) -> None:
        """Begin. Decisions before *since_us*, event time, are not counted."""
        self.decisions = 0
        self.shadowed = 0
        self.changed = 0
        self.spend_usd_nano = 0
        self.unreadable = 0
        self._since_us = since_us
        self._changes: Counter[tuple[str, str]] = Counter()
        self._rules: dict[tuple[str, str, str, str], RuleChange] = {}

    def add(self, value: bytes | None) -> None:
        """Take one stored audit record in; one that cannot be read is counted (`audit verify` says why)."""
        try:
            entry = events.decode_audit(value or b"")
            if entry.kind != "decision" or entry.time_us < self._since_us:
                return
            decision = events.read_decision(entry.payload)
        except events.CodecError:
            self.unreadable += 1
            return
        if isinstance(decision, events.Decision):
            self._count(decision)

    def _count(self, decision: events.Decision) -> None:
        self.decisions += 1
        if not decision.shadow:
            return
        self.shadowed += 1
        after, cost = would_be(decision), decision.facts.estimated_cost_usd_nano or 0
        if after != decision.verdict:
            self.changed += 1
            self._changes[decision.verdict, after] += 1
            # What would not have been spent, or would have been: of the calls that turn.
            if after == "deny":
                self.spend_usd_nano -= cost
            elif decision.verdict == "deny":
                self.spend_usd_nano += cost
        for reason in decision.shadow:
            self._count_rule(decision, reason, cost)

    def _count_rule(self, decision: events.Decision, reason: events.Reason, cost: int) -> None:
        name = (reason.policy, reason.rule, reason.code, decision.verdict)
        row = self._rules.get(name)
        if row is None:
            if len(self._rules) >= RULES_MAX:
                return
            after = joined(decision, [reason.verdict])
            row = self._rules[name] = RuleChange(*name[:3], decision.verdict, after)
        row.count += 1
        row.spend_usd_nano += cost
        if len(row.examples) < EXAMPLES_MAX:
            row.examples.append(decision.request_id)

    def rules(self) -> list[RuleChange]:
        """By rule and verdict: what changes a verdict first, then the most frequent."""
        return sorted(
            self._rules.values(),
            key=lambda r: (r.before == r.after, -r.count, r.policy, r.rule, r.before),
        )

    def as_json(self) -> dict[str, Any]:
        """The whole report; ``spend_usd_change`` is of the estimates of calls that turn."""
        return {
            "decisions": self.decisions,
            "shadowed": self.shadowed,
            "changed": self.changed,
            "spend_usd_change": self.spend_usd_nano / 1e9,
            "unreadable": self.unreadable,
            "changes": [
                {"from": before, "to": after, "count": count}
                for (before, after), count in sorted(
                    self._changes.items(), key=lambda item: (-item[1], item[0])
                )
            ],
            "rules": [row.as_json() for row in self.rules()],
        }
