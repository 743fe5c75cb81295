"""What a tenant's calls cost: its aliases of models, its ceiling for unknown ones, and the price list."""

from __future__ import annotations

from copy import copy
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from enforcer import detect, state
from enforcer.engine import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.events import Request
    from enforcer.policy import TenantProgram, TenantSettings

US_PER_DAY: Final = 86_400_000_000


def called(settings: TenantSettings, provider: str, model: str) -> tuple[str, str]:
    """Provider and model behind the names of a request: an alias of the tenant is resolved, once."""
    alias = settings.models.get(model) if settings.models else None
    if alias is None:
        return provider, model
    provider, _, model = alias.partition("/")
    return provider, model


def as_called(settings: TenantSettings, request: Request) -> Request:
    """The request with the provider and model behind their names; itself where it names no alias."""
    if request.llm.model not in settings.models:
        return request
    request = copy(request)
    request.llm = copy(request.llm)
    request.llm.provider, request.llm.model = called(
        settings, request.llm.provider, request.llm.model
    )
    return request


def price_of(program: TenantProgram) -> Callable[[str, str, str | None, int], state.Rates | None]:
    """Prices as this tenant has them: aliases resolved, unknown models at the stated ceiling."""
    settings = program.settings

    def found(
        provider: str, model: str, service_tier: str | None, time_us: int
    ) -> state.Rates | None:
        provider, model = called(settings, provider, model)
        rates = detect.pricing.resolve(provider, model, service_tier, day_of(time_us))
        return rates or limits.ceiling_rates(settings)

    return found


def day_of(time_us: int) -> date:
    """The date of a moment in UTC: prices are that day's."""
    return _day(time_us // US_PER_DAY)


@lru_cache(maxsize=4_096)
def _day(day: int) -> date:
    return datetime.fromtimestamp(day * 86_400, UTC).date()
