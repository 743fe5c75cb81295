"""
Timestamps and durations: their texts, and the parts of a moment in a time zone.

Days are counted as in H. Hinnant, "chrono-Compatible Low-Level Date Algorithms": the standard library's
datetime ends at microseconds, and overflows where a zone moves the first or the last year.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from enforcer.cel.errors import EvaluationError
from enforcer.cel.operators import duration_of, timestamp_of
from enforcer.cel.registry import declare
from enforcer.cel.values import SECOND_NS, Duration, Timestamp

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_DURATION = re.compile(r"([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:h|ms|m|us|µs|μs|ns|s))+", re.ASCII)
_PART = re.compile(r"(\d*)(?:\.(\d*))?(h|ms|m|us|µs|μs|ns|s)", re.ASCII)
_OFFSET = re.compile(r"([+-]?)(\d\d):(\d\d)", re.ASCII)
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3_600 * SECOND_NS,
}
_TEXT_MAX: Final = 100
_DAY_S: Final = 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Where no zone can push a moment out of datetime's years.
_SAFE_S: Final = (-62_135_596_800 + 3 * _DAY_S, 253_402_300_799 - 3 * _DAY_S)


def parse_timestamp(text: str) -> Timestamp:
    """
    A moment from RFC 3339.

    Raises: EvaluationError.
    """
    match = _RFC3339.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if match is None:
        raise EvaluationError("invalid_argument", "a timestamp is written as in RFC 3339")
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    offset_s = 0 if match[8] == "Z" else _offset_s(match[8])
    fits = 1 <= month <= 12 and 1 <= day <= _month_days(year, month)
    if not (fits and hour < 24 and minute < 60 and second < 60):
        raise EvaluationError("out_of_range", "the timestamp is out of range")
    seconds = _days(year, month, day) * _DAY_S + hour * 3_600 + minute * 60 + second - offset_s
    return timestamp_of(seconds * SECOND_NS + int((match[7] or "0").ljust(9, "0")))


def show_timestamp(at: Timestamp) -> str:
    """RFC 3339 in UTC, with as many decimals as it needs."""
    seconds, ns = divmod(at.ns, SECOND_NS)
    days, rest = divmod(seconds, _DAY_S)
    year, month, day = _date(days)
    clock = f"{rest // 3_600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{year:04d}-{month:02d}-{day:02d}T{clock}{_decimals(ns)}Z"


def parse_duration(text: str) -> Duration:
    """
    A span from ``1h30m``, ``-1.5s``, ``100ms``, ``0``.

    Raises: EvaluationError.
    """
    if text in {"0", "+0", "-0"}:
        return Duration(0)
    match = _DURATION.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if match is None:
        raise EvaluationError("invalid_argument", "a duration is written like 1h30m or 1.5s")
    total = 0
    for whole, decimals, unit in _PART.findall(text):
        total += int(whole or "0") * _UNITS[unit]
        if decimals:
            total += int(decimals) * _UNITS[unit] // 10 ** len(decimals)
    return duration_of(-total if match[1] == "-" else total)


def show_duration(span: Duration) -> str:
    """Seconds with as many decimals as it needs: ``1.5s``."""
    seconds, ns = divmod(abs(span.ns), SECOND_NS)
    return f"{'-' if span.ns < 0 else ''}{seconds}{_decimals(ns)}s"


def _decimals(ns: int) -> str:
    return f".{ns:09d}".rstrip("0") if ns else ""


def _days(year: int, month: int, day: int) -> int:
    """Days from the epoch to a date of the Gregorian calendar."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


def _date(days: int) -> tuple[int, int, int]:
    """The date of a day since the epoch."""
    era, of_era = divmod(days + 719_468, 146_097)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    return era * 400 + year_of_era + (month <= 2), month, day


def _month_days(year: int, month: int) -> int:
    if month == 12:
        return 31
    return _days(year, month + 1, 1) - _days(year, month, 1)


# --- zones --------------------------------------------------------------------------------------


def _offset_s(text: str) -> int:
    match = _OFFSET.fullmatch(text)
    if match is None:
        raise EvaluationError("invalid_argument", "an unknown time zone")
    seconds = int(match[2]) * 3_600 + int(match[3]) * 60
    if seconds >= _DAY_S:
        raise EvaluationError("invalid_argument", "an unknown time zone")
    return -seconds if match[1] == "-" else seconds


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | int:
    """A named zone, or the seconds of a fixed offset."""
    if name[:1] in {"+", "-"} or name[:1].isdigit():
        return _offset_s(name)
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise EvaluationError("invalid_argument", "an unknown time zone") from None


def _local_s(at: Timestamp, zone: str) -> int:
    """Seconds since the epoch as the clocks of *zone* count them."""
    seconds = at.ns // SECOND_NS
    found = _zone(zone)
    if isinstance(found, int):
        return seconds + found
    near = min(max(seconds, _SAFE_S[0]), _SAFE_S[1])
    offset = (_EPOCH + timedelta(seconds=near)).astimezone(found).utcoffset() or timedelta()
    return seconds + int(offset.total_seconds())


def _year_month_day(at: Timestamp, zone: str) -> tuple[int, int, int]:
    return _date(_local_s(at, zone) // _DAY_S)


@declare("timestamp:getFullYear() -> int", "timestamp:getFullYear(string) -> int")
def _full_year(at: Timestamp, zone: str = "+00:00") -> int:
    return _year_month_day(at, zone)[0]


@declare("timestamp:getMonth() -> int", "timestamp:getMonth(string) -> int")
def _month(at: Timestamp, zone: str = "+00:00") -> int:
    return _year_month_day(at, zone)[1] - 1


@declare("timestamp:getDate() -> int", "timestamp:getDate(string) -> int")
def _day(at: Timestamp, zone: str = "+00:00") -> int:
    return _year_month_day(at, zone)[2]


@declare("timestamp:getDayOfMonth() -> int", "timestamp:getDayOfMonth(string) -> int")
def _day_of_month(at: Timestamp, zone: str = "+00:00") -> int:
    return _year_month_day(at, zone)[2] - 1


@declare("timestamp:getDayOfYear() -> int", "timestamp:getDayOfYear(string) -> int")
def _day_of_year(at: Timestamp, zone: str = "+00:00") -> int:
    days = _local_s(at, zone) // _DAY_S
    return days - _days(_date(days)[0], 1, 1)


@declare("timestamp:getDayOfWeek() -> int", "timestamp:getDayOfWeek(string) -> int")
def _day_of_week(at: Timestamp, zone: str = "+00:00") -> int:
    # The epoch was a Thursday; Sunday is 0.
    return (_local_s(at, zone) // _DAY_S + 4) % 7


@declare("timestamp:getHours() -> int", "timestamp:getHours(string) -> int")
def _hours(at: Timestamp, zone: str = "+00:00") -> int:
    return _local_s(at, zone) // 3_600 % 24


@declare("timestamp:getMinutes() -> int", "timestamp:getMinutes(string) -> int")
def _minutes(at: Timestamp, zone: str = "+00:00") -> int:
    return _local_s(at, zone) // 60 % 60


@declare("timestamp:getSeconds() -> int", "timestamp:getSeconds(string) -> int")
def _seconds(at: Timestamp, zone: str = "+00:00") -> int:
    return _local_s(at, zone) % 60


@declare("timestamp:getMilliseconds() -> int", "timestamp:getMilliseconds(string) -> int")
def _milliseconds(at: Timestamp, zone: str = "+00:00") -> int:
    _zone(zone)
    return at.ns // 1_000_000 % 1_000


def _whole(unit_ns: int) -> Any:
    def count(span: Duration) -> int:
        # Toward zero, as a count of whole hours is.
        return abs(span.ns) // unit_ns * (-1 if span.ns < 0 else 1)

    return count


declare("duration:getHours() -> int", certain=True)(_whole(3_600 * SECOND_NS))
declare("duration:getMinutes() -> int", certain=True)(_whole(60 * SECOND_NS))
declare("duration:getSeconds() -> int", certain=True)(_whole(SECOND_NS))


@declare("duration:getMilliseconds() -> int", certain=True)
def _duration_milliseconds(span: Duration) -> int:
    # Of the part below a second, as the specification has it.
    sign = -1 if span.ns < 0 else 1
    return sign * (abs(span.ns) % SECOND_NS // 1_000_000)
