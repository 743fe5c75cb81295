"""What calls did cost: at their moment, in every provider's words, by own prices; and what is cheaper."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage, data_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.detect import charges, pricing
from enforcer.detect.usage import NormalUsage, normal_usage
from enforcer.errors import ConfigError

AT = datetime(2026, 1, 15, 12, tzinfo=UTC)
COUNTS = st.integers(0, 300_000)
MODELS = [
    ("openai", "gpt-4o"), ("openai", "gpt-5"), ("anthropic", "claude-sonnet-4-20250514"), ("google", "gemini-2.5-pro"),
    ("mistral", "mistral-large-latest"), ("deepseek", "deepseek-chat"), ("openai", "gpt-4o-audio-preview"),
    ("anthropic", "claude-3-5-haiku-latest"), ("x-ai", "grok-4"), ("groq", "llama-3.3-70b-versatile"),
]  # fmt: skip


@given(st.sampled_from(MODELS), COUNTS, COUNTS, COUNTS, COUNTS)
@settings(max_examples=150, deadline=None)
def test_a_charge_is_that_of_the_price_list(who, inputs, outputs, cached, written):
    """
    Integer rates cost what genai-prices calculates, to a nano-dollar.
    """
    provider, model = who
    cached = min(cached, inputs)
    written = min(written, inputs - cached)
    usage = NormalUsage(inputs, outputs, cached, written)
    found = charges.charge(provider, model, usage, at=AT)
    _, info = data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)
    expected = info.get_prices(AT).calc_price(
        Usage(
            input_tokens=inputs,
            output_tokens=outputs,
            cache_read_tokens=cached,
            cache_write_tokens=written,
        )
    )["total_price"]
    assert found.method == "list"
    assert found.usd_nano is not None
    assert abs(Decimal(found.usd_nano) / 10**9 - expected) <= Decimal("2e-9")


def test_a_model_without_a_price_is_unknown():
    """
    Unknown is said so, and never zero.
    """
    assert charges.charge("nobody", "nothing", NormalUsage(1, 1), at=AT) == charges.Charge(
        None, "unknown"
    )
    assert charges.Charge(None, "unknown").usd is None
    assert charges.cheaper("nobody", "nothing", NormalUsage(1, 1), at=AT) == []


def test_own_prices_and_contracts_go_first():
    """
    A configured price stands before the list's, a contract takes its discount off the list's.
    """
    own = charges.OwnPrices([
        {"provider": "openai", "model": "gpt-4o*", "input_usd_per_mtok": 1, "output_usd_per_mtok": "2.5"},
        {"provider": "anthropic", "discount_percent": 10},
        {"provider": "internal", "model": "house", "input_usd_per_mtok": 0, "output_usd_per_mtok": 0},
    ])  # fmt: skip
    usage = NormalUsage(1_000_000, 1_000_000)
    assert charges.charge("OpenAI", "gpt-4o-mini", usage, at=AT, own=own) == charges.Charge(
        3_500_000_000, "own"
    )
    listed = charges.charge("anthropic", "claude-sonnet-4-20250514", usage, at=AT)
    less = charges.charge("anthropic", "claude-sonnet-4-20250514", usage, at=AT, own=own)
    assert less.method == "own"
    assert less.usd_nano * 10 == listed.usd_nano * 9
    assert charges.charge("internal", "house", usage, at=AT, own=own).usd_nano == 0


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"provider": 1},
        {"provider": "x"},
        {"provider": "x", "discount_percent": 101},
        {"provider": "x", "discount_percent": "much"},
        {"provider": "x", "input_usd_per_mtok": -1, "output_usd_per_mtok": 1},
        {"provider": "x", "input_usd_per_mtok": True, "output_usd_per_mtok": 1},
        {"provider": "x", "input_usd_per_mtok": "NaN", "output_usd_per_mtok": 1},
    ],
)
def test_a_bad_row_of_own_prices_is_refused(row):
    """
    A price that is none is refused when it is read, not when it is charged.
    """
    with pytest.raises(ConfigError):
        charges.OwnPrices([row])


def test_cheaper_models_are_cheaper_and_large_enough():
    """
    Every alternative costs less for the same usage, and the list rises.
    """
    usage = NormalUsage(50_000, 2_000)
    paid = charges.charge("openai", "gpt-4o", usage, at=AT).usd_nano
    rows = charges.cheaper("openai", "gpt-4o", usage, at=AT)
    assert rows
    assert [row.usd_nano for row in rows] == sorted(row.usd_nano for row in rows)
    for row in rows:
        assert charges.charge(row.provider, row.model, usage, at=AT).usd_nano == row.usd_nano < paid
        assert row.saved_usd_nano == paid - row.usd_nano


def test_sound_and_hours_in_the_cache_cost_their_own():
    """
    Audio tokens and cache writes of an hour have rates of their own where the list has them.
    """
    rates = pricing.Rates(
        100, 10, 125, 400, audio_input=1000, audio_output=2000, cache_write_1h=200
    )
    million = 1_000_000
    assert rates.cost_usd_nano(input_tokens=million, audio_input_tokens=million) == 1000
    assert (
        rates.cost_usd_nano(input_tokens=0, output_tokens=million, audio_output_tokens=million)
        == 2000
    )
    assert (
        rates.cost_usd_nano(
            input_tokens=million, cache_write_tokens=million, cache_write_1h_tokens=million
        )
        == 200
    )
    assert rates.largest() == 2000


def test_a_price_of_an_hour_holds_in_that_hour():
    """
    A price that changes with the time of day is that of the moment, not the day's dearest.
    """
    model = "deepseek-chat"
    moments = [datetime(2025, 7, 1, hour, 30, tzinfo=UTC) for hour in range(24)]
    costs = {
        charges.charge("deepseek", model, NormalUsage(10**6, 10**6), at=at).usd_nano
        for at in moments
    }
    dearest = pricing.resolve("deepseek", model, None, moments[0].date())
    assert len(costs) == 2
    assert dearest.cost_usd_nano(input_tokens=10**6, output_tokens=10**6) == max(costs)


def test_usage_in_our_own_words_is_the_normal_form():
    """
    A usage record's own names are read as they are, parts and all.
    """
    block = {
        "input_tokens": 100,
        "output_tokens": 50,
        "cached_tokens": 40,
        "reasoning_tokens": 7,
        "audio_input_tokens": 3,
    }
    assert normal_usage(block) == NormalUsage(100, 50, 40, 0, 7, 0, 3)
