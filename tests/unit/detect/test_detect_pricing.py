"""Prices: integers, resolved once, rounded up once, and explicit about what is not known."""

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.detect import pricing

DAY = date(2026, 11, 2)
MTOK = 1_000_000


def test_a_rate_is_usd_per_million_in_nano():
    """
    gpt-4o at 2.50 and 10 USD a million tokens is 2.5e9 and 1e10 nano-USD.
    """
    rates = pricing.resolve("openai", "gpt-4o", None, DAY)
    assert rates is not None
    assert (rates.input, rates.cached_input, rates.output) == (
        2_500_000_000,
        1_250_000_000,
        10_000_000_000,
    )
    assert rates.cost_usd_nano(input_tokens=MTOK, output_tokens=MTOK) == 12_500_000_000


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o-2024-08-06"),
        ("OpenAI", "GPT-4o"),
        ("openai", "openai/gpt-4o"),
        ("openai", "gpt-4o-latest"),
        ("azure", "gpt-4o"),
        ("azure_openai", "gpt-4o"),
        ("azure", "gpt-35-turbo"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:org::x"),
        ("anthropic", "claude-3-5-sonnet-latest"),
        ("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("aws", "us.anthropic.claude-sonnet-4-20250514-v1:0"),
        ("vertex_ai", "gemini-2.0-flash"),
        ("mistral", "mistral-large-latest"),
        ("deepseek", "deepseek-chat"),
    ],
)
def test_names_of_providers_and_models_are_understood(provider, model):
    """
    Dates, -latest, fine-tunes, clouds and cases lead to a price.
    """
    rates = pricing.resolve(provider, model, None, DAY)
    assert rates is not None
    assert rates.output > 0


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "no-such-model"),
        ("nobody", "gpt-4o"),
        ("", "gpt-4o"),
        ("openai", ""),
        ("openai", "ft:unheard-of:org::x"),
    ],
)
def test_an_unknown_price_is_none(provider, model):
    """
    What has no price is None, never zero and never a default.
    """
    assert pricing.resolve(provider, model, None, DAY) is None


def test_a_service_tier_has_its_price():
    """
    OpenAI's flex tier costs less; the standard tiers and unknown tiers cost the standard price.
    """
    standard = pricing.resolve("openai", "gpt-5", None, DAY)
    flex = pricing.resolve("openai", "gpt-5", "flex", DAY)
    assert standard is not None
    assert flex is not None
    assert flex.input < standard.input
    for tier in ("auto", "default", "no-such-tier", ""):
        assert pricing.resolve("openai", "gpt-5", tier, DAY) == standard


def test_a_long_context_costs_its_tier():
    """
    Above 200,000 input tokens every token of gemini-2.5-pro costs the dearer rate; at it, none.
    """
    rates = pricing.resolve("google", "gemini-2.5-pro", None, DAY)
    assert rates is not None
    ((threshold, dearer),) = rates.tiers
    assert threshold == 200_000
    assert dearer.input > rates.input
    at = rates.cost_usd_nano(input_tokens=threshold)
    above = rates.cost_usd_nano(input_tokens=threshold + 1)
    assert at == threshold * rates.input // MTOK
    assert above == -(-(threshold + 1) * dearer.input // MTOK)
    assert rates.largest() == dearer.output


def test_prices_are_those_of_the_day():
    """
    A price that fell is the old one before its date.
    """
    before = pricing.resolve("openai", "o3", None, date(2025, 6, 1))
    after = pricing.resolve("openai", "o3", None, date(2025, 6, 30))
    assert before is not None
    assert after is not None
    assert before.input > after.input


def test_a_price_by_the_hour_counts_as_the_dearest():
    """
    Off-peak discounts do not lower a day's rate: a reservation must hold at any hour.
    """
    models = [("deepseek", "deepseek-chat"), ("deepseek", "deepseek-reasoner")]
    for provider, model in models:
        rates = pricing.resolve(provider, model, None, date(2025, 3, 1))
        assert rates is not None
        for hour in range(24):
            at = calc_price(
                Usage(input_tokens=MTOK, output_tokens=MTOK), model, provider_id=provider,
                genai_request_timestamp=datetime(2025, 3, 1, hour, 5, tzinfo=UTC),
            )  # fmt: skip
            assert (
                rates.cost_usd_nano(input_tokens=MTOK, output_tokens=MTOK) >= at.total_price * 10**9
            )


def test_a_charge_is_rounded_up_once():
    """
    Two parts of a third of a nano-USD each cost one nano-USD, not two.
    """
    rates = pricing.Rates(input=333_333, cached_input=0, cache_write=0, output=333_333)
    assert rates.cost_usd_nano(input_tokens=1, output_tokens=1) == 1
    assert rates.cost_usd_nano(input_tokens=0) == 0
    assert rates.cost_usd_nano(input_tokens=3, output_tokens=3) == 2


def test_parts_never_exceed_their_whole():
    """
    Absurd counts are cut: cached tokens beyond the input, negative counts, reasoning beyond output.
    """
    rates = pricing.Rates(
        input=MTOK, cached_input=0, cache_write=2 * MTOK, output=MTOK, reasoning=3 * MTOK
    )
    assert rates.cost_usd_nano(input_tokens=10, cached_tokens=99) == 0
    assert rates.cost_usd_nano(input_tokens=-5, output_tokens=-5) == 0
    assert rates.cost_usd_nano(input_tokens=10, cached_tokens=4, cache_write_tokens=99) == 12
    assert rates.cost_usd_nano(input_tokens=0, output_tokens=2, reasoning_tokens=99) == 6


MODELS = st.sampled_from([
    ("openai", "gpt-4o"), ("anthropic", "claude-3-5-sonnet-latest"), ("google", "gemini-2.5-pro"),
    ("mistral", "mistral-large-latest"), ("groq", "llama-3.3-70b-versatile"), ("openai", "gpt-4-32k"),
])  # fmt: skip


@given(MODELS, st.integers(0, 400_000), st.integers(0, 400_000), st.integers(0, 100_000))
@settings(deadline=None)
def test_integer_rates_agree_with_the_price_library(model, fresh, cached, output):
    """
    For any usage the integer charge is the library's decimal one, rounded up to a nano-USD.
    """
    rates = pricing.resolve(*model, None, DAY)
    assert rates is not None
    usage = Usage(input_tokens=fresh + cached, cache_read_tokens=cached, output_tokens=output)
    noon = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
    expected = calc_price(
        usage, model[1], provider_id=model[0], genai_request_timestamp=noon
    ).total_price
    charged = rates.cost_usd_nano(
        input_tokens=fresh + cached, cached_tokens=cached, output_tokens=output
    )
    assert 0 <= charged - expected * Decimal(10**9) < 1


def test_the_price_list_of_a_warm_process_is_loaded():
    """
    In a process of its own: before, resolving imports the list; once warm it stands, and nothing more is imported.
    """
    program = """
import sys
from datetime import date
from enforcer.detect import pricing
assert "genai_prices.data" not in sys.modules
pricing.warm()
before = set(sys.modules)
assert pricing.resolve("openai", "gpt-4o", None, date(2026, 11, 2))
assert set(sys.modules) == before, set(sys.modules) - before
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=False, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
