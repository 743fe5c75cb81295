"""Amounts of money and lengths of time as authors write them, to exact integers."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

NANO = 1_000_000_000
# A billion dollars. Above it a limit is a slip of the keyboard, and sums stay far below 2^63.
USD_MAX = 1_000_000_000

SECOND_US = 1_000_000
PERIODS_US = {
    "second": SECOND_US,
    "minute": 60 * SECOND_US,
    "hour": 3_600 * SECOND_US,
    "day": 86_400 * SECOND_US,
}
_UNITS_US = {
    "ms": 1_000,
    "s": SECOND_US,
    "sec": SECOND_US,
    "m": 60 * SECOND_US,
    "min": 60 * SECOND_US,
    "h": 3_600 * SECOND_US,
    "d": 86_400 * SECOND_US,
}
_DURATION = re.compile(r"([0-9]{1,9}) ?([a-z]+)")
DURATION_MAX_US = 31 * 86_400 * SECOND_US


class AmountError(ValueError):
    """An amount or duration that cannot be used; the message says why."""


def usd_nano(amount: Any) -> int:
    """
    Nano-USD of an amount in USD, exactly: the digits as written, no binary fraction in between.

    Raises: AmountError, for anything but a number from 0 to 10^9 with at most 9 decimals.
    """
    if isinstance(amount, bool) or not isinstance(amount, (int, Decimal)):
        raise AmountError("an amount in USD must be a number")
    if amount < 0:
        raise AmountError("an amount in USD cannot be negative")
    if amount > USD_MAX:
        raise AmountError("an amount in USD cannot be above 1,000,000,000")
    nano = Decimal(amount).scaleb(9)
    if nano != nano.to_integral_value():
        raise AmountError("an amount in USD has at most 9 decimals")
    return int(nano)


def duration_us(text: Any) -> int:
    """
    Microseconds of a duration such as ``15 min``, ``90s``, ``1h``.

    Raises: AmountError, for another notation, for zero, and above 31 days.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None or match.group(2) not in _UNITS_US:
        raise AmountError("a duration is a number and a unit of ms, s, min, h or d")
    length_us = int(match.group(1)) * _UNITS_US[match.group(2)]
    if not 0 < length_us <= DURATION_MAX_US:
        raise AmountError("a duration must be above 0 and at most 31 days")
    return length_us
