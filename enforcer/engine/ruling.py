"""What evaluation comes to, before it becomes a decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from enforcer import events
from enforcer.state.usage import COST_USD_NANO_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.engine.admission import Check


REASONS_MAX: Final = 16
"""How many reasons a decision tells; it counts them all."""


@dataclass(slots=True)
class Ruling:
    """
    The joined verdict and all that made it.

    Attributes:
        effects: Given the reservation's expiry, the effects that book an admitted request.
        cost_usd_nano: Of input and output at most, reserved with every budget; None if unknown.
        input_usd_nano: Of the input alone: what a cancelled call without counts is charged.
        tokens: Estimated, input and output at most.
        reserves: Whether there is a budget to reserve with.
    """

    verdict: str
    reasons: list[events.Reason] = field(default_factory=list)
    warnings: list[events.Reason] = field(default_factory=list)
    errors: list[events.RuleError] = field(default_factory=list)
    shadow: list[events.Reason] = field(default_factory=list)
    edits: list[events.Edit] = field(default_factory=list)
    retry_after_ms: int | None = None
    facts: events.Facts = field(default_factory=events.Facts)
    views: list[events.BudgetView] = field(default_factory=list)
    cost_usd_nano: int | None = None
    input_usd_nano: int = 0
    tokens: int = 0
    reserves: bool = False
    effects: Callable[[int], list[events.Effect]] = lambda _: []

    def take(self, check: Check, counted: events.Facts) -> None:
        """Take over what the limits found out, and the facts that were counted on the way."""
        estimate = counted.estimated_cost_usd_nano
        if estimate is None or estimate > COST_USD_NANO_MAX:
            counted.estimated_cost_usd_nano = check.cost_usd_nano
        self.facts = counted
        self.cost_usd_nano = check.cost_usd_nano
        self.input_usd_nano = check.input_usd_nano
        self.tokens = check.tokens
        self.reserves = check.reserves
        self.retry_after_ms = check.retry_after_ms
