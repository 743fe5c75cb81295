"""
What a usage report says: a cost, tokens, or nothing that can be charged.

* Counts that a report does not name are 0, if it names any. Input includes cached, output includes
  reasoning.
* A reported cost above 0 is taken instead of counts times price: a gateway knows its contract. A
  reported cost of 0 is taken only where the price list says 0.
* Absurd figures are not taken at all: below 0, above a billion tokens or a million dollars, more
  cached and written to the cache than input, more reasoning than output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from enforcer.events import Usage

TOKENS_MAX = 1_000_000_000
COST_USD_NANO_MAX = 1_000_000 * 1_000_000_000


class Rates(Protocol):
    """A model's prices at a date, such as ``enforcer.detect.pricing.Rates``."""

    def cost_usd_nano(
        self,
        *,
        input_tokens: int,
        cached_tokens: int = 0,
        cache_write_tokens: int = 0,
        output_tokens: int = 0,
        reasoning_tokens: int = 0,
    ) -> int:
        """Price counts, rounded up once."""
        ...


if TYPE_CHECKING:
    # (provider, model, service tier, time_us) to the rates of that day: of the price list, else the
    # tenant's ceiling for unknown models, else None.
    PriceOf = Callable[[str, str, str | None, int], Rates | None]


class Model(NamedTuple):
    """What a call was made to, and when, as far as its price depends on it."""

    provider: str
    model: str
    service_tier: str | None
    time_us: int


class Reading(NamedTuple):
    """
    What a report says.

    Attributes:
        cost_usd_nano: None if it says nothing that can be charged.
        tokens: Input and output; None if it names no counts, or absurd ones.
        flag: Why it cannot be charged although it says something: ``absurd_counts`` or
            ``unknown_price``.
    """

    cost_usd_nano: int | None
    tokens: int | None
    flag: str = ""


NOTHING = Reading(None, None)
ABSURD = Reading(None, None, "absurd_counts")


def is_absurd(usage: Usage) -> bool:
    """Whether a report's figures cannot be true."""
    given, output = usage.input_tokens or 0, usage.output_tokens or 0
    cached, written = usage.cached_tokens or 0, usage.cache_write_tokens or 0
    return not (
        0 <= given <= TOKENS_MAX
        and 0 <= output <= TOKENS_MAX
        and cached >= 0
        and written >= 0
        and cached + written <= given
        and 0 <= (usage.reasoning_tokens or 0) <= output
        and 0 <= (usage.cost_usd_nano or 0) <= COST_USD_NANO_MAX
    )


def read(usage: Usage, called: Model, price_of: PriceOf) -> Reading:
    """
    Read a report.

    Args:
        usage: The report.
        called: What the request asked for.
        price_of: See ``PriceOf``. Asked for the model that the report names, then for the
            request's.
    """
    if is_absurd(usage):
        return ABSURD
    reported = usage.cost_usd_nano
    if usage.input_tokens is None and usage.output_tokens is None:
        return Reading(reported, None) if reported else NOTHING
    tokens = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    if reported:
        return Reading(reported, tokens)
    rates = _rates(usage, called, price_of)
    if rates is None:
        return Reading(None, tokens, "unknown_price")
    cost = rates.cost_usd_nano(
        input_tokens=usage.input_tokens or 0,
        cached_tokens=usage.cached_tokens or 0,
        cache_write_tokens=usage.cache_write_tokens or 0,
        output_tokens=usage.output_tokens or 0,
        reasoning_tokens=usage.reasoning_tokens or 0,
    )
    return Reading(cost, tokens)


def _rates(usage: Usage, called: Model, price_of: PriceOf) -> Rates | None:
    provider, model = usage.provider or called.provider, usage.model or called.model
    rates = price_of(provider, model, called.service_tier, called.time_us)
    if rates is None and (provider, model) != called[:2]:
        rates = price_of(*called)
    return rates
