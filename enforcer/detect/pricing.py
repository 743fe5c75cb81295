"""
Prices of models as integer rates, resolved once for each (provider, model, tier, day).

The prices are genai-prices' own, as shipped in the installed package: no network, no refresh.
Asking it costs 200 us, so what it answers is kept as integers of nano-USD per million tokens in a
bounded table, and a charge is a few multiplications, rounded up once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from genai_prices import data_snapshot, types

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOKENS_PER_RATE = 1_000_000
_NANO = 1_000_000_000
# Providers whose names genai-prices does not know, but whose prices it has.
_PROVIDER_ALIASES = {
    "azure_openai": "azure",
    "azure_ai": "azure",
    "bedrock_converse": "aws",
    "amazon_bedrock": "aws",
    "amazon-bedrock": "aws",
    "xai": "x-ai",
    "grok": "x-ai",
    "together_ai": "together",
    "togetherai": "together",
    "fireworks_ai": "fireworks",
    "google_ai_studio": "google",
    "googleai": "google",
    "mistralai": "mistral",
    "claude": "anthropic",
}
_STANDARD_TIERS = frozenset({"auto", "default", "standard", "standard_only", "on_demand"})


@dataclass(frozen=True, slots=True)
class Rates:
    """
    What a model costs, in integer nano-USD per 1,000,000 tokens.

    Attributes:
        input: A token of input that was not cached.
        cached_input: A token read from the provider's cache.
        cache_write: A token written to it.
        output: A token of output, reasoning included.
        request_usd_nano: Nano-USD for the call itself, 0 for nearly all.
        tiers: Dearer rates for long contexts, rising: (threshold, rates). Above a threshold of
            input tokens, every token of the call costs the tier's rate.
        reasoning: A token of reasoning output; None where it costs what output costs.
        audio_input, cached_audio_input, audio_output: A token of sound; None: as text.
        cache_write_1h: A token written to the cache for an hour; None: as any cache write.
    """

    input: int
    cached_input: int
    cache_write: int
    output: int
    request_usd_nano: int = 0
    tiers: tuple[tuple[int, Rates], ...] = ()
    reasoning: int | None = None
    audio_input: int | None = None
    cached_audio_input: int | None = None
    audio_output: int | None = None
    cache_write_1h: int | None = None

    def cost_usd_nano(  # noqa: PLR0913 — the counts of a usage record
        self,
        *,
        input_tokens: int,
        cached_tokens: int = 0,
        cache_write_tokens: int = 0,
        output_tokens: int = 0,
        reasoning_tokens: int = 0,
        cache_write_1h_tokens: int = 0,
        audio_input_tokens: int = 0,
        audio_output_tokens: int = 0,
        cached_audio_tokens: int = 0,
    ) -> int:
        """
        The price of one call in nano-USD, rounded up once.

        Input includes cached and cache-write tokens, output includes reasoning, as in a usage
        record. Counts below zero count as zero, and parts never exceed their whole.
        """
        inputs, outputs = max(input_tokens, 0), max(output_tokens, 0)
        rates = self
        for threshold, dearer in self.tiers:
            if inputs <= threshold:
                break
            rates = dearer
        cached = min(max(cached_tokens, 0), inputs)
        written = min(max(cache_write_tokens, 0), inputs - cached)
        total = (
            (inputs - cached - written) * rates.input
            + cached * rates.cached_input
            + written * rates.cache_write
            + outputs * rates.output
        )
        if rates.reasoning is not None:
            total += min(max(reasoning_tokens, 0), outputs) * (rates.reasoning - rates.output)
        if rates.cache_write_1h is not None and cache_write_1h_tokens > 0:
            total += min(cache_write_1h_tokens, written) * (
                rates.cache_write_1h - rates.cache_write
            )
        if audio_input_tokens > 0 or audio_output_tokens > 0:
            cached_sound = min(max(cached_audio_tokens, 0), max(audio_input_tokens, 0), cached)
            sound = min(max(audio_input_tokens, 0) - cached_sound, inputs - cached - written)
            total += rates.extra_for_audio(
                sound, cached_sound, min(max(audio_output_tokens, 0), outputs)
            )
        return rates.request_usd_nano - (-total // TOKENS_PER_RATE)

    def extra_for_audio(self, heard: int, cached: int, spoken: int) -> int:
        """What tokens of sound cost above tokens of text, in nano-USD times ``TOKENS_PER_RATE``."""
        extra = 0
        if self.audio_input is not None:
            extra += heard * (self.audio_input - self.input)
        if self.cached_audio_input is not None:
            extra += cached * (self.cached_audio_input - self.cached_input)
        if self.audio_output is not None:
            extra += spoken * (self.audio_output - self.output)
        return extra

    def largest(self) -> int:
        """The dearest rate of all, for comparison with a ceiling per million tokens."""
        own = (
            self.input,
            self.cached_input,
            self.cache_write,
            self.output,
            self.reasoning or 0,
            self.cache_write_1h or 0,
            self.audio_input or 0,
            self.audio_output or 0,
        )
        return max(*own, *(dearer.largest() for _, dearer in self.tiers), 0)


def resolve(provider: str, model: str, service_tier: str | None, day: date) -> Rates | None:
    """
    The rates of a model on a day, or None where no price is known: an explicit unknown.

    A price that changes with the hour counts at the day's dearest. A tier without a price of its
    own costs the standard price. Names may carry a date, ``-latest``, a fine-tune or a cloud's
    prefixes, as far as genai-prices knows them.
    """
    tier = service_tier if service_tier and service_tier not in _STANDARD_TIERS else None
    return _resolve(provider, model, tier, day)


def resolve_at(provider: str, model: str, service_tier: str | None, at: datetime) -> Rates | None:
    """
    The rates of a model at one moment, time of day included: what a call that was made did cost.

    Args:
        at: With its time zone.
    """
    tier = service_tier if service_tier and service_tier not in _STANDARD_TIERS else None
    found = _find(provider, model)
    if found is None:
        return None
    price = found.get_prices(at, {"service_tier": tier} if tier else None)
    return _rates(_dearest([price.__dict__]))


@lru_cache(maxsize=4096)
def _resolve(provider: str, model: str, tier: str | None, day: date) -> Rates | None:
    found = _find(provider, model)
    if found is None:
        return None
    context = {"service_tier": tier} if tier else None
    choices = [found.get_prices(at, context) for at in _moments(found, day)]
    merged = _dearest([price.__dict__ for price in choices])
    return _rates(merged)


def warm() -> None:
    """Load the price list, 25 to 50 ms, so that the first request does not wait for it."""
    data_snapshot.get_snapshot()


def provider_id(provider: str) -> str:
    """The name that the price list has for a provider, whatever the caller calls it."""
    wanted = provider.strip().lower()
    return _PROVIDER_ALIASES.get(wanted, wanted)


def _find(provider: str, model: str) -> types.ModelInfo | None:
    wanted = provider_id(provider)
    if not wanted or not model:
        return None
    snapshot = data_snapshot.get_snapshot()
    for name in _spellings(model):
        try:
            _, found = snapshot.find_provider_model(name, None, wanted, None)
        except LookupError:
            continue
        return found
    return None


def _spellings(model: str) -> Iterator[str]:
    yield model
    if "/" in model:
        yield model.rpartition("/")[2]
    if model.endswith("-latest"):
        yield model.removesuffix("-latest")
    if model.startswith("ft:"):
        # A fine-tune that has no price of its own is unknown: it costs more than its base.
        return
    if "@" in model:
        yield model.partition("@")[0]


def _moments(model: types.ModelInfo, day: date) -> list[datetime]:
    """Noon, and every start or end of a price that holds for part of a day."""
    utc = UTC
    moments = [datetime.combine(day, time(12), utc)]
    if isinstance(model.prices, types.ModelPrice):
        return moments
    for conditional in model.prices:
        constraint = conditional.constraint
        if isinstance(constraint, types.TimeOfDateConstraint):
            for edge in (constraint.start_time, constraint.end_time):
                at = datetime.combine(day, edge.replace(tzinfo=None), edge.tzinfo or utc)
                moments += [at.astimezone(utc), (at - timedelta(seconds=1)).astimezone(utc)]
    return [datetime.combine(day, at.timetz()) for at in moments]


def _dearest(choices: list[Mapping[str, object]]) -> dict[str, Decimal | types.TieredPrices]:
    merged: dict[str, Decimal | types.TieredPrices] = {}
    for choice in choices:
        for key, value in choice.items():
            if not isinstance(value, Decimal | types.TieredPrices):
                continue
            before = merged.get(key)
            if before is None or _base(value) > _base(before):
                merged[key] = value
    return merged


def _base(price: Decimal | types.TieredPrices) -> Decimal:
    return price.base if isinstance(price, types.TieredPrices) else price


def _rates(prices: Mapping[str, Decimal | types.TieredPrices]) -> Rates | None:
    if (
        "input_mtok" not in prices
        and "output_mtok" not in prices
        and "requests_kcount" not in prices
    ):
        # Priced by the page, the pixel or the hour: a price of tokens is not known.
        return None
    starts = {
        tier.start
        for price in prices.values()
        if isinstance(price, types.TieredPrices)
        for tier in price.tiers
    }
    tiers = tuple((start, _rates_above(prices, start)) for start in sorted(starts))
    base = _rates_above(prices, -1)
    return Rates(
        base.input,
        base.cached_input,
        base.cache_write,
        base.output,
        base.request_usd_nano,
        tiers,
        base.reasoning,
        base.audio_input,
        base.cached_audio_input,
        base.audio_output,
        base.cache_write_1h,
    )


def _rates_above(prices: Mapping[str, Decimal | types.TieredPrices], threshold: int) -> Rates:
    def rate(key: str) -> int | None:
        price = prices.get(key)
        if price is None:
            return None
        amount = _base(price)
        if isinstance(price, types.TieredPrices):
            for tier in price.tiers:
                amount = tier.price if tier.start <= threshold else amount
        return int((amount * _NANO).to_integral_value(rounding="ROUND_CEILING"))

    inputs = rate("input_mtok") or 0
    cached, written = rate("cache_read_mtok"), rate("cache_write_mtok")
    requests = rate("requests_kcount") or 0
    return Rates(
        inputs,
        inputs if cached is None else cached,
        inputs if written is None else written,
        rate("output_mtok") or 0,
        -(-requests // 1000),
        (),
        rate("output_reasoning_mtok"),
        rate("input_audio_mtok"),
        rate("cache_audio_read_mtok"),
        rate("output_audio_mtok"),
        rate("cache_write_1h_mtok"),
    )
