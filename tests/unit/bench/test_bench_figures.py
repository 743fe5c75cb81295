"""Medians, percentiles, windows and noise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.bench.figures import is_noisy, percentile, rounded, spread
from enforcer.bench.processes import Rate, window


@given(st.lists(st.floats(0, 1e6), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 0.999]))
def test_a_percentile_is_the_least_value_that_covers_its_share(values, share):
    """At least the share of the values is not above it, and no smaller value covers as much."""
    ordered = sorted(values)
    found = percentile(ordered, share)
    covered = sum(value <= found for value in ordered)
    assert covered * 1000 >= round(share * 1000) * len(ordered)
    smaller = [value for value in ordered if value < found]
    assert not smaller or len(smaller) * 1000 < round(share * 1000) * len(ordered)


def test_spread_is_median_least_and_largest():
    """Of the rounds, in whatever order they came."""
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}


@pytest.mark.parametrize(
    ("baselines", "noisy"), [([100.0], False), ([100.0, 150.0], False), ([100.0, 151.0], True)]
)
def test_baselines_apart_by_more_than_half_are_noisy(baselines, noisy):
    """1.5 is the bound, itself allowed."""
    assert is_noisy(baselines) is noisy


def test_figures_are_rounded_all_the_way_down():
    """Floats to four significant digits, or whole; everything else as it is."""
    given_ = {"a": 0.123456, "b": [123456.7, {"c": 12.3456}], "d": 7, "e": "x"}
    assert rounded(given_) == {"a": 0.1235, "b": [123457.0, {"c": 12.35}], "d": 7, "e": "x"}


SAMPLES = [(10.0 + n / 10, n / 20, n * 100) for n in range(41)]


def test_a_window_leaves_out_the_warm_up():
    """It begins with the first sample after it and ends with the last."""
    found = window(SAMPLES, skip_s=2.0)
    assert found.events == 2000
    assert found.seconds == pytest.approx(2.0)
    assert found.per_s == pytest.approx(1000)
    assert found.cpu_us == pytest.approx(500)


def test_a_window_ends_before_the_input_does():
    """Samples at or above the given events are no measurement."""
    found = window(SAMPLES, skip_s=2.0, events_max=3000)
    assert (found.events, round(found.seconds, 6)) == (900, 0.9)


@pytest.mark.parametrize("samples", [[], SAMPLES[:1], SAMPLES[:20]])
def test_too_few_samples_are_no_window(samples):
    """None, rather than a figure made of nothing."""
    assert window(samples, skip_s=2.0) is None


def test_no_events_cost_nothing():
    """A rate of no events divides by nothing."""
    assert Rate(0, 1.0, 0.5).cpu_us == 0.0
