"""Gaps as the failover benchmark counts them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enforcer.bench.failover import longest_gap_s


def test_a_gap_is_the_longest_time_without_a_verdict() -> None:
    """Between two verdicts, before the first and after the last alike; what lies outside counts for nothing."""
    assert longest_gap_s([1.0, 1.1, 3.0, 3.2], 0.9, 3.3) == 3.0 - 1.1
    assert longest_gap_s([1.0, 1.1, 3.0, 9.0], 0.9, 8.0) == 5.0
    assert longest_gap_s([0.1, 5.0], 1.0, 6.0) == 4.0
    assert longest_gap_s([], 1.0, 6.0) == 5.0


@given(times_s=st.lists(st.floats(0, 10)).map(sorted), more_s=st.floats(0, 10))
def test_another_verdict_makes_no_gap_longer(times_s: list[float], more_s: float) -> None:
    """And no gap is longer than the time looked at."""
    gap_s = longest_gap_s(times_s, 1.0, 9.0)
    assert 0 <= longest_gap_s(sorted([*times_s, more_s]), 1.0, 9.0) <= gap_s <= 8.0
