"""The engine as it decides again: with recorded facts, where other data than this version's had found them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enforcer import detect, events
from enforcer.detect.tokens import TokenCount
from enforcer.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from enforcer.engine import EngineConfig, limits
    from enforcer.policy import TenantProgram


class ReplayEngine(Engine):
    """An engine whose facts can be given: those that ``recorded``, a decision of the ledger, tells."""

    __slots__ = ("_came", "_is_whole", "_recorded")

    def __init__(self, config: EngineConfig, *, is_whole: bool = False) -> None:
        """*is_whole*: tenants' budgets have one row each, and no slices."""
        super().__init__(config)
        self._is_whole = is_whole
        self._recorded: events.Decision | None = None
        self._came = False

    def record(self, told: events.Decision | None) -> None:
        """Take the facts of the next request from *told*; None: compute them."""
        self._recorded, self._came = told, False

    def _plan(self, *rest: Any) -> Any:
        plan, failure = super()._plan(*rest)
        if self._is_whole and plan.is_leased:
            plan = _unleased(plan)
        return plan, failure

    def _facts(
        self,
        program: TenantProgram,
        request: events.Request,
        now_us: int,
        known: Mapping[str, detect.CachedFacts] | None = None,
    ) -> Any:
        facts = super()._facts(program, request, now_us, known)
        told = self._recorded
        if told is None:
            return facts
        # The first is the request as it came, every later one an edited one.
        edited, self._came = self._came, True
        return RecordedFacts(facts, told.facts, is_sent=edited or not told.edits, is_edited=edited)


def _unleased(plan: limits.Plan) -> limits.Plan:
    """The plan with the limit of each tenant's budget in the place of a slice."""
    budgets = tuple(budget._replace(is_leased=False) for budget in plan.budgets)
    shadow = None if plan.shadow is None else _unleased(plan.shadow)
    return plan._replace(budgets=budgets, shadow=shadow, is_leased=False)


class RecordedFacts:
    """
    Facts as a decision tells them; those that it does not tell are computed.

    A decision tells the tokens and the cost of the request as it was sent, edits applied, and all else of the
    request as it came. So the cost of a request that was edited afterwards is that of its own maximum of output, at
    the recorded tokens; and what was found in an edited one is computed.
    """

    def __init__(
        self,
        computed: detect.RequestFacts,
        recorded: events.Facts,
        *,
        is_sent: bool = True,
        is_edited: bool = False,
    ) -> None:
        self._computed = computed
        self._recorded = recorded
        self._is_sent = is_sent
        self._is_edited = is_edited

    def __getattr__(self, name: str) -> Any:
        return getattr(self._computed, name)

    @property
    def tokens(self) -> TokenCount:
        """Input tokens, as recorded."""
        known = self._recorded.input_tokens
        return self._computed.tokens if known is None else TokenCount(known)

    @property
    def input_tokens(self) -> int:
        """Input tokens, as recorded."""
        return self.tokens.tokens

    def input_tokens_exceed(self, limit: int) -> bool:
        """By the recorded count."""
        return self.input_tokens > limit

    @property
    def estimated_cost_usd_nano(self) -> int | None:
        """The estimate, as recorded."""
        known, rates = self._recorded.estimated_cost_usd_nano, self._computed.rates
        if known is None or rates is None:
            # Where no price is known a decision tells the tenant's ceiling, which is no fact.
            return self._computed.estimated_cost_usd_nano
        if self._is_sent:
            return known
        return rates.cost_usd_nano(
            input_tokens=self.input_tokens, output_tokens=self._computed.max_output_tokens
        )

    @property
    def estimated_cost_usd(self) -> float | None:
        """The same in USD."""
        nano = self.estimated_cost_usd_nano
        return None if nano is None else nano / 1e9

    @property
    def pii_counts(self) -> dict[str, int]:
        """Personal data by kind, as recorded."""
        known = {} if self._is_edited else dict(self._recorded.pii)
        return known or self._computed.pii_counts

    @property
    def pii_types(self) -> list[str]:
        """Its kinds."""
        return sorted(self.pii_counts)

    @property
    def pii_count(self) -> int:
        """Its pieces."""
        return sum(self.pii_counts.values())

    @property
    def secrets_counts(self) -> dict[str, int]:
        """Secrets by kind, as recorded."""
        known = {} if self._is_edited else dict(self._recorded.secrets)
        return known or self._computed.secrets_counts

    @property
    def secrets_types(self) -> list[str]:
        """Their kinds."""
        return sorted(self.secrets_counts)

    @property
    def secrets_count(self) -> int:
        """How many."""
        return sum(self.secrets_counts.values())

    @property
    def injection_score(self) -> float:
        """The score, as recorded."""
        known = None if self._is_edited else self._recorded.injection
        return self._computed.injection_score if known is None else known

    def counted(self) -> events.Facts:
        """As recorded."""
        known = self._recorded
        return events.Facts(
            known.input_tokens,
            known.estimated_cost_usd_nano,
            dict(known.pii),
            dict(known.secrets),
            known.injection,
        )
