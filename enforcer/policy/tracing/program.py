"""A tenant's program that keeps what it was asked, so that a trace is of what the engine decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
        self.asked = Asked(request, facts, now_us, limits)
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
