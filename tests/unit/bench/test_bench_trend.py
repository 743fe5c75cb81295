"""What counts as growth."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.bench.trend import SAMPLES_MAX, Bound, judged, slope

BOUND = Bound(share=0.05, floor=1.0)
TIMES = [float(5 * n) for n in range(361)]


def test_a_line_has_its_own_slope_however_many_samples_lie_elsewhere() -> None:
    """A fifth of wild samples moves the slope of a thousand by less than a tenth, where least squares would follow them."""
    rng = random.Random(7)
    times = [float(n) for n in range(1_000)]
    values = [3.0 * t + (rng.uniform(-1e6, 1e6) if n % 5 == 0 else 0) for n, t in enumerate(times)]

    assert slope(times, values) == pytest.approx(3.0, rel=0.1)
    assert len(times) > SAMPLES_MAX


@given(
    level=st.floats(10, 1e6),
    noise=st.lists(st.floats(-0.01, 0.01), min_size=361, max_size=361),
)
def test_what_only_trembles_does_not_grow(level: float, noise: list[float]) -> None:
    """Noise of a hundredth about a level is no growth by a bound of a twentieth."""
    found = judged(TIMES, [level * (1 + share) for share in noise], BOUND)

    assert found["grows"] is False


@pytest.mark.parametrize(("share", "grows"), [(0.04, False), (0.06, True), (-0.5, False)])
def test_growth_is_of_the_second_half_against_its_median(share: float, grows: bool) -> None:
    """What rises by more than the bound's share within the second half grows; what falls does not."""
    half = TIMES[-1] / 2
    values = [1_000.0 * (1 + share * (t - half) / half) for t in TIMES]
    found = judged(TIMES, values, BOUND)

    assert found["grows"] is grows
    assert found["growth"] == pytest.approx(1_000.0 * share, rel=0.02)


def test_what_fills_up_in_the_first_half_is_no_growth() -> None:
    """Caches fill: only what goes on rising is a leak."""
    assert judged(TIMES, [min(t, 600.0) for t in TIMES], BOUND)["grows"] is False


def test_a_saw_is_no_growth_and_a_rising_saw_is() -> None:
    """Tables fill and are swept: the teeth, as high as half of the whole, are not the trend."""
    saw = [60.0 + t % 300 / 5 for t in TIMES]
    bound = Bound(share=0.05, floor=0.0, period_s=300)

    assert judged(TIMES, saw, bound)["grows"] is False
    assert judged(TIMES, saw, Bound(0.05, 0.0))["grows"] is True
    assert judged(TIMES, [s + t / 60 for s, t in zip(saw, TIMES, strict=True)], bound)["grows"]


def test_small_things_may_rise_by_the_floor() -> None:
    """A handful of files more is none."""
    values = [10.0 + 4 * t / TIMES[-1] for t in TIMES]

    assert judged(TIMES, values, Bound(0, 8))["grows"] is False
    assert judged(TIMES, values, Bound(0, 1))["grows"] is True


def test_a_run_too_short_to_tell_says_so() -> None:
    """Neither growth nor none: why stands beside it. So of a series that nobody saw."""
    found = judged(TIMES, TIMES, Bound(0.05, 1, after_s=TIMES[-1]))

    assert found["grows"] is None
    assert "begins before" in found["why"]
    assert judged([], [], BOUND) == {"grows": None, "why": "never seen"}
