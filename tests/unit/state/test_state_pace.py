"""When a holder asks for its next slice, and for how much: by what was seen of its spending and of grants."""

from hypothesis import given
from hypothesis import strategies as st

from enforcer.state.pace import GRANT_US, SCARCE_PART, SECOND_US, Pace

STEP_US = 100_000


def seen(rate, seconds, pace=None, now_us=SECOND_US, **more):
    """The pace after so many seconds at *rate* a second, a look every 100 ms; and when that is."""
    pace, used = pace or Pace(), (pace or Pace()).used_usd_nano
    for _ in range(int(seconds * 10)):
        now_us += STEP_US
        used += rate // 10
        pace = pace.looked(used, now_us, **more)
    return pace, now_us


def test_an_even_rate_is_found_within_a_second():
    """In nano-USD a second, from the second look on."""
    pace, _ = seen(5_000, 2)
    assert 4_500 <= pace.rate_usd_nano <= 6_000


def test_a_burst_counts_at_once_and_is_forgotten_slowly():
    """Ten times the rate is seen before half a second is over; two seconds after it a part is left, ten later nothing."""
    pace, now_us = seen(1_000, 3)
    pace, now_us = seen(10_000, 0.4, pace, now_us)
    assert pace.rate_usd_nano > 5_000
    pace, now_us = seen(1_000, 2, pace, now_us)
    assert 1_500 < pace.rate_usd_nano < 8_000
    pace, now_us = seen(1_000, 10, pace, now_us)
    assert pace.rate_usd_nano < 1_300


def test_while_requests_are_turned_the_rate_does_not_fall():
    """What is turned is not spent: a holder that ran dry must not ask for less because of it."""
    pace, now_us = seen(5_000, 2)
    dry, _ = seen(0, 3, pace, now_us, is_turned=True)
    idle, _ = seen(0, 3, pace, now_us)
    assert dry.rate_usd_nano == pace.rate_usd_nano
    assert idle.rate_usd_nano < pace.rate_usd_nano // 2


def test_the_low_mark_follows_grants_and_looks():
    """Grants that take three seconds, and commits that are late by one, make a holder ask for so much earlier."""
    pace, now_us = seen(1_000, 2)
    quick = pace.low_usd_nano(now_us)
    slow = pace.asked(now_us).answered(now_us + 3 * SECOND_US)
    late = slow._replace(look_us=SECOND_US)
    assert quick <= 2 * pace.rate_usd_nano
    assert slow.low_usd_nano(now_us) >= 3 * pace.rate_usd_nano
    assert late.low_usd_nano(now_us) >= slow.low_usd_nano(now_us) + pace.rate_usd_nano
    waiting = pace.asked(now_us)
    assert waiting.low_usd_nano(now_us + 5 * SECOND_US) >= 5 * pace.rate_usd_nano


@given(
    rate=st.integers(1, 10**12),
    grant_us=st.integers(0, 20 * SECOND_US),
    look_us=st.integers(0, 5 * SECOND_US),
    largest=st.integers(0, 10**12),
)
def test_the_least_that_an_owner_gives_lasts_until_the_next_grant(rate, grant_us, look_us, largest):
    """Half of what is asked for is no less than what is spent meanwhile, and one call more."""
    pace = Pace(1, 0, rate, largest, max(grant_us, GRANT_US // 4), look_us)
    until_grant = rate * (pace.grant_us + look_us) // SECOND_US
    assert pace.full_usd_nano(1) // SCARCE_PART >= until_grant + largest - 1
    assert pace.low_usd_nano(1) >= until_grant


def test_the_next_window_begins_at_the_same_pace():
    """What was spent of the last one does not count, how fast does."""
    pace, now_us = seen(5_000, 2)
    following = pace.following()
    assert following.rate_usd_nano == pace.rate_usd_nano
    later = following.looked(0, now_us + 60 * SECOND_US)
    assert later.rate_usd_nano == pace.rate_usd_nano
