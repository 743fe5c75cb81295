"""What came of a run: which requests have their record, whether what was told stands, and whether money was overspent."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer import events


@dataclass(slots=True)
class Verdicts:
    """Decisions as a gateway received them, the first of each request first, and as the audit holds them."""

    told: dict[str, list[events.Decision]] = field(default_factory=lambda: defaultdict(list))
    written: dict[str, list[events.Decision]] = field(default_factory=lambda: defaultdict(list))

    def tell(self, decision: events.Decision) -> None:
        """A gateway has read it."""
        self.told[decision.request_id].append(decision)

    def write(self, decision: events.Decision) -> None:
        """It stands in the audit."""
        self.written[decision.request_id].append(decision)

    def counted(self, requests: Iterable[str]) -> dict[str, float]:
        """
        Count the faults.

        Args:
            requests: Ids of all that was sent.

        Returns: ``requests``, ``unanswered`` (never told), ``lost`` (no record in the audit), ``doubled`` (more than
        one), ``contradicted`` (a gateway acted on one verdict, and another was told later or stands in the audit),
        ``overspent_usd_nano`` (what was admitted above the limits, by what gateways acted on).
        """
        ids = list(requests)
        return {
            "requests": len(ids),
            "unanswered": sum(1 for name in ids if not self.told.get(name)),
            "lost": sum(1 for name in ids if not self.written.get(name)),
            "doubled": sum(1 for name in ids if len(self.written.get(name, ())) > 1),
            "contradicted": sum(1 for name in ids if self._is_contradicted(name)),
            "overspent_usd_nano": self._overspent_usd_nano(),
        }

    def _is_contradicted(self, name: str) -> bool:
        told = self.told.get(name)
        if not told:
            return False
        others = [*told[1:], *self.written.get(name, ())]
        return any(other.verdict != told[0].verdict for other in others)

    def _overspent_usd_nano(self) -> int:
        """Over all budgets: what first verdicts set aside, above the limit. No usage is reported in these runs."""
        spent: dict[tuple[str, str, str, str], int] = defaultdict(int)
        limits: dict[tuple[str, str, str, str], int] = {}
        for told in self.told.values():
            decision = told[0]
            if decision.verdict == "deny" or decision.reservation is None:
                continue
            for view in decision.budgets:
                key = (decision.account, view.policy, view.id, view.key)
                spent[key] += decision.reservation.usd_nano
                limits[key] = view.limit_usd_nano
        return sum(max(0, total - limits[key]) for key, total in spent.items())
