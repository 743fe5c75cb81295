"""
Rate limits: GCRA in exact integers.

A bucket holds at most ``burst`` units and gains ``limit`` units a period, evenly. The row says when
it is full again: at ``full_at_us + fraction / limit`` us. All sums are done in units of 1/limit us
("time x limit"), in which one unit costs exactly ``period_us``: a rounded interval would be 0 at
100 M tokens a minute, and drift at any rate.

The row holds no burst, so that a changed burst acts at once; nor does a changed limit need more
than its fraction turned into the new unit, rounded up: the debt in time stays, and is worked off at
the new rate.
"""

from __future__ import annotations

from typing import NamedTuple

from enforcer.errors import CostExceedsBurstError
from enforcer.events import RateRow

_FULL_AT_US_MAX = 10**18


class Quota(NamedTuple):
    """
    *limit* units every *period_us*, at most *burst* at once. ``burst`` 0 means: as many as the
    limit.
    """

    limit: int
    period_us: int
    burst: int = 0

    @property
    def capacity(self) -> int:
        """Units in a full bucket."""
        return self.burst or self.limit


def wait_us(row: RateRow | None, quota: Quota, *, cost: int, now_us: int) -> int:
    """
    How long until *cost* units are there; 0: they are there now. Takes nothing.

    Args:
        row: As last written; None for a key never seen, which is a full bucket.
        quota: As the policy says now, whatever the row was written under.
        cost: Units, 0 or more.
        now_us: Event time, us since the epoch. Never the wall clock: replay would differ.

    Raises: CostExceedsBurstError, if no wait is long enough.
    Source: GCRA, virtual scheduling form: ITU-T I.371; ATM Forum af-tm-0056.000.
    """
    assert cost >= 0, cost
    limit, period_us, burst = quota
    burst = burst or limit
    if cost > burst or limit <= 0:
        if cost == 0:
            return 0
        raise CostExceedsBurstError(f"the cost of {cost} is above the burst of {burst}")
    if row is None:
        return 0
    early = _full_at(row, limit) - now_us * limit + (cost - burst) * period_us
    return -(-early // limit) if early > 0 else 0


def take(row: RateRow | None, quota: Quota, *, units: int, now_us: int) -> RateRow:
    """
    The row after *units* were taken, whether they were there or not: the debt may go past the
    burst.
    """
    limit, period_us, _ = quota
    assert units >= 0, units
    assert limit > 0, limit
    now = now_us * limit
    full_at = now if row is None else max(_full_at(row, limit), now)
    # A debt of 30,000 years is one for ever: rows are 64 bits wide.
    full_at = min(full_at + units * period_us, _FULL_AT_US_MAX * limit)
    return RateRow(*divmod(full_at, limit), limit)


def give(row: RateRow | None, quota: Quota, *, units: int, now_us: int) -> RateRow:
    """
    The row after *units*, once taken, were given back. What does not fit into a full bucket is
    lost.

    What is given back may be taken again at once: in any stretch of t us what is taken less what is
    given back is at most burst + t x limit / period.
    """
    limit, period_us, _ = quota
    assert units >= 0, units
    assert limit > 0, limit
    now = now_us * limit
    full_at = now if row is None else _full_at(row, limit)
    return RateRow(*divmod(max(full_at - units * period_us, now), limit), limit)


def available(row: RateRow | None, quota: Quota, *, now_us: int) -> int:
    """Units that could be taken now; below 0 after a settlement took more than there was."""
    limit, period_us, _ = quota
    if row is None or limit <= 0:
        return quota.capacity if limit > 0 else 0
    debt = max(_full_at(row, limit) - now_us * limit, 0)
    return quota.capacity - -(-debt // period_us)


def is_full(row: RateRow, *, now_us: int) -> bool:
    """Whether the row says no more than its absence would."""
    return row.full_at_us + (row.fraction > 0) <= now_us


def _full_at(row: RateRow, limit: int) -> int:
    """When the bucket is full, in units of 1/limit us."""
    if row.limit == limit:
        return row.full_at_us * limit + row.fraction
    # The limit has changed since: the fraction is rounded up, never in the caller's favour.
    return row.full_at_us * limit + -(-row.fraction * limit // row.limit)
