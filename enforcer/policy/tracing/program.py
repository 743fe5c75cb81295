"""A tenant's program that keeps what it was asked, so that a trace is of what the engine decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from enforcer.policy.environment import ROW_AMOUNTS
from enforcer.policy.program import TenantProgram

if TYPE_CHECKING:
    from collections.abc import Iterable

    from enforcer.events import Request
    from enforcer.policy.model import Evaluation, FactsView, LimitsView, Match
    from enforcer.policy.program import ScopeProgram


class Asked(NamedTuple):
    """What rules are evaluated on."""

    request: Request
    facts: FactsView
    now_us: int | None
    limits: LimitsView | None = None


class _Rows:
    """The amounts of all limits of a program as they were before a request: afterwards they are others."""

    def __init__(self, limits: LimitsView, program: TenantProgram) -> None:
        self._amounts: dict[tuple[str, tuple[str, str, str], str], float | None] = {}
        budgets = (*program.budgets, *program.shadow_budgets)
        rates = (*program.rate_limits, *program.shadow_rate_limits)
        for kind, found in (("budget", budgets), ("rate", rates)):
            for each in found:
                name = (each.code.scope, each.policy, each.id)
                for amount in ROW_AMOUNTS[kind]:
                    self._amounts[kind, name, amount] = limits.amount(kind, name, amount)

    def amount(self, kind: str, limit: tuple[str, str, str], amount: str) -> float | None:
        """As of the rows that were read."""
        return self._amounts.get((kind, limit, amount))


class TracedProgram(TenantProgram):
    """The same program; ``asked`` and ``found`` are those of the last evaluation, for one thread alone."""

    __slots__ = ("asked", "found", "rechecked")

    asked: Asked | None
    found: Evaluation | None
    rechecked: tuple[Asked, list[Match]] | None

    def __init__(
        self,
        global_: ScopeProgram | None,
        own: ScopeProgram | None,
        tenant: str,
        *,
        stops: ScopeProgram | None = None,
    ) -> None:
        super().__init__(global_, own, tenant, stops=stops)
        self.forget()

    @property
    def is_watched(self) -> bool:
        """A trace is of what ``evaluate`` was asked."""
        return True

    @property
    def indexed(self) -> frozenset[tuple[str, str]]:
        """Scope and id of the policies that the index let through for the last request."""
        if self.asked is None:
            return frozenset()
        request = self.asked.request
        found = list(self._index.candidates(request))
        if self._shadow_index is not None:
            found += self._shadow_index.candidates(request)
        return frozenset((each.scope, each.id) for each in found)

    @property
    def exempt(self) -> frozenset[tuple[str, str]]:
        """Policy and id of the rules that an exception removed from the last evaluation."""
        uses = () if self.found is None else self.found.exempt
        return frozenset((each.policy, each.rule) for each in uses)

    def forget(self) -> None:
        """Before a request: what was asked for another is no answer to this one."""
        self.asked = self.found = self.rechecked = None

    def evaluate(
        self,
        request: Request,
        facts: FactsView,
        *,
        now_us: int | None = None,
        limits: LimitsView | None = None,
    ) -> Evaluation:
        """As of any program."""
        rows = None if limits is None else _Rows(limits, self)
        self.asked = Asked(request, facts, now_us, rows)
        self.found = super().evaluate(request, facts, now_us=now_us, limits=limits)
        return self.found

    def recheck(
        self,
        request: Request,
        facts: FactsView,
        edited_paths: Iterable[str],
        *,
        now_us: int | None = None,
        limits: LimitsView | None = None,
    ) -> list[Match]:
        """As of any program."""
        found = super().recheck(request, facts, edited_paths, now_us=now_us, limits=limits)
        self.rechecked = (Asked(request, facts, now_us, limits), found)
        return found
