"""
Calendar windows in a time zone, exact over changes of its offset.

Windows of one kind and zone are disjoint and leave no instant out. A day begins at the first
instant whose local time is midnight or later, so that it has 23 or 25 hours when the clock is put
forward or back, and no day at all where a zone skipped one (Samoa, 2011). An hour lasts as long as
the local clock shows it under one offset: an hour that is shown twice is two windows, and their
names carry the offset.

Names sort and say what they are: ``2026-11-23T17``, ``2026-10-25T02+01:00``, ``2026-11-23``,
``2026-W48`` (ISO, from Monday), ``2026-11``, ``total``.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US = timedelta(microseconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MIDNIGHT = datetime.min.time()

PERIODS = ("hour", "day", "week", "month", "total")


class Window(NamedTuple):
    """
    A stretch of time that a budget counts in: from *start_us* to before *end_us*; total has
    neither.
    """

    name: str
    start_us: int
    end_us: int


TOTAL = Window("total", 0, 0)

# The newest window of each (per, zone). Event time moves on, so that one entry of each answers
# nearly every question; the bounds are compared, so that an old entry never answers wrongly.
_newest: dict[tuple[str, str], Window] = {}
_NEWEST_MAX = 4_096


def window(per: str, time_zone: str, now_us: int) -> Window:
    """
    The calendar window that *now_us* lies in.

    Args:
        per: hour, day, week, month or total.
        time_zone: An IANA name, such as ``Europe/Berlin``.
        now_us: Event time, us since the epoch.

    Raises: zoneinfo.ZoneInfoNotFoundError or ValueError for a zone that does not exist (the policy
        checker refuses it).
    """
    found = _newest.get((per, time_zone))
    if found is not None and found.start_us <= now_us < found.end_us:
        return found
    if per == "total":
        return TOTAL
    assert per in PERIODS, per
    found = _window(per, time_zone, now_us)
    if len(_newest) >= _NEWEST_MAX:
        _newest.clear()
    _newest[per, time_zone] = found
    return found


@lru_cache(maxsize=4_096)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _window(per: str, time_zone: str, now_us: int) -> Window:
    zone = _zone(time_zone)
    now = EPOCH + now_us * US
    if per == "hour":
        return _hour(zone, now)
    first, following = _dates(per, now.astimezone(zone).date())
    end = _first_instant(zone, following)
    if end <= now:
        # The clock was put back over midnight: the local date is yesterday's once more, but that
        # day has ended.
        first, following = _dates(per, following)
        end = _first_instant(zone, following)
    return Window(_name(per, first), _us(_first_instant(zone, first)), _us(end))


def _dates(per: str, day: date) -> tuple[date, date]:
    """The first date of the period that *day* lies in, and that of the next one."""
    if per == "day":
        return day, day + DAY
    if per == "week":
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(weeks=1)
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


def _name(per: str, first: date) -> str:
    if per == "day":
        return first.isoformat()
    if per == "week":
        year, week, _ = first.isocalendar()
        return f"{year:04}-W{week:02}"
    return f"{first.year:04}-{first.month:02}"


def _first_instant(zone: ZoneInfo, day: date) -> datetime:
    """The first instant at which the local clock shows midnight of *day* or later."""
    midnight = datetime.combine(day, MIDNIGHT, zone)
    first = midnight.astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return first
    # The clock jumps over midnight; the jump lies between midnight by the offset after it and by
    # that before it.
    return _transition(zone, midnight.replace(fold=1).astimezone(UTC) - US, first)


def _hour(zone: ZoneInfo, now: datetime) -> Window:
    local = now.astimezone(zone)
    offset = local.utcoffset()
    assert offset is not None, zone
    wall = local.replace(minute=0, second=0, microsecond=0, tzinfo=None)
    start = (wall - offset).replace(tzinfo=UTC)
    end = start + HOUR
    if start.astimezone(zone).utcoffset() != offset:
        start = _transition(zone, start, now)
    if (end - US).astimezone(zone).utcoffset() != offset:
        end = _transition(zone, now, end - US)
    shown = local if _shown_twice(zone, wall) else wall  # With its offset, or without.
    return Window(shown.isoformat(timespec="hours"), _us(start), _us(end))


def _shown_twice(zone: ZoneInfo, wall: datetime) -> bool:
    """Whether the local clock shows a part of this hour under two offsets."""
    for minutes in (0, 15, 30, 45, 59):
        first = (wall + timedelta(minutes=minutes)).replace(tzinfo=zone)
        before, after = first.utcoffset(), first.replace(fold=1).utcoffset()
        assert before is not None, zone
        assert after is not None, zone
        if before > after:
            return True
    return False


def _transition(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """
    The first instant, to the us, with the offset of *after*, if the offset changes once from
    *before* to it.
    """
    new = after.astimezone(zone).utcoffset()
    while after - before > US:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == new:
            after = middle
        else:
            before = middle
    return after


def _us(instant: datetime) -> int:
    return (instant - EPOCH) // US
