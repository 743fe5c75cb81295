"""Rate limits."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import events, state
from enforcer.errors import CostExceedsBurstError
from enforcer.events import RateRow
from enforcer.state.buckets import give, is_full, take

# Small and odd on purpose: off-by-one bugs become common, and an interval of 10/3 us cannot be
# rounded.
QUOTA = state.Quota(limit=3, period_us=10, burst=4)
ARRIVALS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, QUOTA.capacity)))


class Leaky:
    """A bucket in fractions, as one would write it down: level, and units a us."""

    def __init__(self, quota: state.Quota, now_us: int) -> None:
        self.quota, self.now_us = quota, now_us
        self.level = Fraction(quota.capacity)

    def at(self, now_us: int) -> Fraction:
        """The level at a time."""
        gained = Fraction((now_us - self.now_us) * self.quota.limit, self.quota.period_us)
        self.level = min(self.level + gained, Fraction(self.quota.capacity))
        self.now_us = now_us
        return self.level


@given(arrivals=ARRIVALS)
def test_a_bucket_never_gives_more_than_burst_plus_rate(arrivals) -> None:
    """However requests arrive, t us admit at most burst + t x limit / period units."""
    row, now_us, spent = None, 1_000_000, 0
    start_us = now_us
    for gap_us, cost in arrivals:
        now_us += gap_us
        if state.wait_us(row, QUOTA, cost=cost, now_us=now_us) == 0:
            row = take(row, QUOTA, units=cost, now_us=now_us)
            spent += cost

        assert spent <= QUOTA.capacity + Fraction((now_us - start_us) * 3, 10)


@given(arrivals=ARRIVALS, returns=st.lists(st.integers(0, 4), max_size=20))
def test_a_bucket_is_exact(arrivals, returns) -> None:
    """GCRA agrees with a leaky bucket in fractions: what is there, and when the rest will be."""
    row, now_us = None, 1_000_000
    model = Leaky(QUOTA, now_us)
    given_back = iter(returns)
    for gap_us, cost in arrivals:
        now_us += gap_us
        level = model.at(now_us)
        wait = state.wait_us(row, QUOTA, cost=cost, now_us=now_us)
        assert state.available(row, QUOTA, now_us=now_us) == level.__floor__()
        assert wait == max((-((level - cost) * 10 / 3).__floor__()), 0)
        if wait == 0:
            row = take(row, QUOTA, units=cost, now_us=now_us)
            model.level -= cost
        back = next(given_back, 0)
        row = give(row, QUOTA, units=back, now_us=now_us)
        model.level = min(model.level + back, Fraction(QUOTA.capacity))
        assert 0 <= row.fraction < row.limit


@given(arrivals=ARRIVALS)
def test_no_wait_is_longer_than_needed(arrivals) -> None:
    """After the wait the units are there, and one us before they are not."""
    row, now_us = None, 1_000_000
    for gap_us, cost in arrivals:
        now_us += gap_us
        wait = state.wait_us(row, QUOTA, cost=cost, now_us=now_us)
        if wait:
            assert state.wait_us(row, QUOTA, cost=cost, now_us=now_us + wait) == 0
            assert state.wait_us(row, QUOTA, cost=cost, now_us=now_us + wait - 1) > 0
        else:
            row = take(row, QUOTA, units=cost, now_us=now_us)


def test_time_is_multiplied_by_the_limit_and_no_interval_is_rounded() -> None:
    """LANGUAGE: exact integers (time x limit, no rounded interval): at 100 M a minute, and at 7."""
    minute_us = 60_000_000
    fast = state.Quota(100_000_000, minute_us)
    row = take(None, fast, units=100_000_000, now_us=0)
    assert row == RateRow(minute_us, 0, 100_000_000)
    assert state.available(row, fast, now_us=3) == 5

    row = None
    for _ in range(7):
        row = take(row, state.Quota(7, minute_us), units=1, now_us=0)
    assert row == RateRow(minute_us, 0, 7)


def test_burst_defaults_to_the_limit() -> None:
    """LANGUAGE: burst defaults to the limit."""
    quota = state.Quota(limit=60, period_us=60_000_000)
    assert quota.capacity == 60
    assert state.wait_us(None, quota, cost=60, now_us=0) == 0


def test_a_cost_above_burst_has_no_wait() -> None:
    """LANGUAGE: a cost above burst is denied exceeds_burst with no retry_after."""
    with pytest.raises(CostExceedsBurstError) as caught:
        state.wait_us(None, QUOTA, cost=5, now_us=0)
    assert caught.value.code == "exceeds_burst"
    assert state.wait_us(None, QUOTA, cost=4, now_us=0) == 0


def test_a_limit_of_nothing_admits_nothing() -> None:
    """A limit of 0 has no wait that is long enough, but for what costs nothing."""
    quota = state.Quota(0, 60_000_000)
    with pytest.raises(CostExceedsBurstError):
        state.wait_us(None, quota, cost=1, now_us=0)
    assert state.wait_us(None, quota, cost=0, now_us=0) == 0
    assert state.available(None, quota, now_us=0) == 0


def test_a_changed_burst_acts_at_once() -> None:
    """The row knows no burst: a smaller one waits, a larger one does not."""
    row = take(None, QUOTA, units=2, now_us=0)
    assert state.wait_us(row, QUOTA, cost=2, now_us=0) == 0
    assert state.wait_us(row, state.Quota(3, 10, 3), cost=2, now_us=0) > 0


@given(
    units=st.integers(1, 50),
    old=st.integers(1, 50),
    new=st.integers(1, 50),
    now_us=st.integers(0, 100),
)
def test_a_changed_limit_acts_at_once_and_never_in_the_callers_favour(
    units, old, new, now_us
) -> None:
    """The bucket is full at the same time as before, rounded up to the new unit of time."""
    row = take(None, state.Quota(old, 10), units=units, now_us=0)
    turned = take(row, state.Quota(new, 10), units=0, now_us=0)
    was = row.full_at_us + Fraction(row.fraction, old)
    becomes = turned.full_at_us + Fraction(turned.fraction, new)

    assert was <= becomes < was + Fraction(1, new)
    wait = state.wait_us(row, state.Quota(new, 10, 1), cost=1, now_us=now_us)
    assert wait == state.wait_us(turned, state.Quota(new, 10, 1), cost=1, now_us=now_us)


def test_a_settlement_may_take_more_than_there_is() -> None:
    """Debt goes past the burst, is shown as less than nothing, and is worked off."""
    row = take(None, QUOTA, units=10, now_us=0)
    assert state.available(row, QUOTA, now_us=0) == -6
    assert state.available(row, QUOTA, now_us=20) == 0


def test_a_full_bucket_says_no_more_than_its_absence() -> None:
    """A row is full when its time has come, fraction included."""
    row = take(None, QUOTA, units=1, now_us=0)
    assert row == RateRow(3, 1, 3)
    assert not is_full(row, now_us=3)
    assert is_full(row, now_us=4)


def test_no_debt_leaves_64_bits() -> None:
    """A billion tokens against one a day is a debt for ever, and still a row that can be written."""
    row = take(None, state.Quota(1, 86_400_000_000), units=10**9, now_us=1_795_457_029_211_305)
    row = take(row, state.Quota(1, 86_400_000_000), units=10**9, now_us=1_795_457_029_211_306)

    assert events.decode_rate_row(events.encode_rate_row(row)) == row
