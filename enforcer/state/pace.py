"""
How fast a holder spends of its slice, how long a grant takes to come, and so when to ask, and for how much. Pure.

Theory of operation
-------------------
A slice that is asked for when the last one is used up comes too late by the time a grant takes. So a holder asks while
what is left still lasts for that time (the *low mark*), as one who fetches the next bucket while this one runs.
Both it needs are observed: spending between two looks, and the time from a request to its grant, commits and all. A rate
rises at once with a burst and falls by a quarter each half second, not at all while requests are turned: what was turned
is not seen in what was spent. Where commits are late, looks and grants are, and the marks rise with them.

Times are of a clock that only goes forward, and of the holder's own machine: they go into no row. What is observed
is forgotten with its tenure; the law of slices holds whatever stands here.
"""

from __future__ import annotations

from typing import Final, NamedTuple

SECOND_US: Final = 1_000_000
WINDOW_US: Final = 500_000
"""Spending is measured over no less."""
GRANT_US: Final = SECOND_US
"""How long a grant takes, before one was seen; and for so long at least there shall be something left: machines falter."""
AHEAD_US: Final = 3 * SECOND_US
"""For so long a slice lasts where there is enough."""
SCARCE_PART: Final = 2
"""An owner that has little gives no less than this part of what is asked for: what is used until the next grant."""
_DECAYS_MAX: Final = 16


class Pace(NamedTuple):
    """
    What was seen of one budget at one holder.

    Attributes:
        at_us: When it was looked at last; 0: never.
        used_usd_nano: Spent and reserved then.
        rate_usd_nano: A second.
        largest_usd_nano: Of the reservations lately.
        grant_us: How long grants take.
        look_us: How long what was spent waited for its look.
        asked_us: When the request that is not answered yet was made; 0: there is none.
        spent_us: The last look that found something spent or released.
    """

    at_us: int = 0
    used_usd_nano: int = 0
    rate_usd_nano: int = 0
    largest_usd_nano: int = 0
    grant_us: int = GRANT_US
    look_us: int = 0
    asked_us: int = 0
    spent_us: int = 0

    @property
    def is_known(self) -> bool:
        """Whether there is a rate at all."""
        return self.rate_usd_nano > 0

    def looked(
        self, used_usd_nano: int, now_us: int, *, waited_us: int = 0, is_turned: bool = False
    ) -> Pace:
        """
        After a look at the row.

        Args:
            used_usd_nano: Spent and reserved now.
            now_us: By the clock.
            waited_us: For so long there was no look, though there were calls.
            is_turned: Whether a request was turned since the last look.
        """
        if not self.at_us:
            return self._replace(at_us=now_us, spent_us=now_us, used_usd_nano=used_usd_nano)
        is_other = used_usd_nano != self.used_usd_nano
        seen = self._replace(
            look_us=max(waited_us, self.look_us - self.look_us // 8),
            spent_us=now_us if is_other else self.spent_us,
        )
        took_us = now_us - self.at_us
        grown = max(used_usd_nano - self.used_usd_nano, 0)
        sample = grown * SECOND_US // max(took_us, WINDOW_US)
        if took_us < WINDOW_US:
            return seen._replace(rate_usd_nano=max(sample, self.rate_usd_nano))  # A burst.
        rate = max(sample, self.rate_usd_nano)
        largest = self.largest_usd_nano
        if not is_turned:
            for _ in range(min(took_us // WINDOW_US, _DECAYS_MAX)):
                rate -= (rate - sample) // 4
                largest -= largest // 16
        return seen._replace(
            at_us=now_us,
            used_usd_nano=used_usd_nano,
            rate_usd_nano=rate,
            largest_usd_nano=largest,
        )

    def called(self, cost_usd_nano: int) -> Pace:
        """After a request of that cost, admitted or turned."""
        if cost_usd_nano <= self.largest_usd_nano:
            return self
        return self._replace(largest_usd_nano=cost_usd_nano)

    def asked(self, now_us: int) -> Pace:
        """After a request for a slice."""
        return self._replace(asked_us=self.asked_us or now_us)

    def answered(self, now_us: int) -> Pace:
        """After a grant was heard."""
        if not self.asked_us:
            return self
        took_us = max(now_us - self.asked_us, 0)
        grant_us = max(took_us, self.grant_us - (self.grant_us - took_us) // 4)
        return self._replace(grant_us=grant_us, asked_us=0)

    def following(self) -> Pace:
        """Of the next window's row, before anything was spent of it."""
        return self._replace(at_us=0, used_usd_nano=0, asked_us=0)

    # -- marks ----------------------------------------------------------------------------------------------------

    def _until_grant_usd_nano(self, now_us: int) -> int:
        """What is used before a grant that is asked for now can be spent."""
        waited_us = now_us - self.asked_us if self.asked_us else 0
        return self.rate_usd_nano * (max(self.grant_us, waited_us) + self.look_us) // SECOND_US

    def low_usd_nano(self, now_us: int) -> int:
        """With less than this left, it is time to ask."""
        least = self.rate_usd_nano * GRANT_US // SECOND_US
        until_grant = self._until_grant_usd_nano(now_us) * 5 // 4
        return max(least, until_grant) + 2 * self.largest_usd_nano

    def full_usd_nano(self, now_us: int) -> int:
        """What to ask for: three seconds' worth, but so much that the least part an owner gives lasts until the next grant."""
        ahead = self.rate_usd_nano * AHEAD_US // SECOND_US
        until_grant = self._until_grant_usd_nano(now_us)
        return max(ahead, SCARCE_PART * until_grant) + 2 * SCARCE_PART * self.largest_usd_nano
