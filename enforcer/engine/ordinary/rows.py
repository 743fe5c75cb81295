"""
The rows that ordinary requests book in: keys and their encodings, made once for each value of a limit's key.

An account has its own, and so has each window of a budget. What is kept is bounded: above the bound it is thrown away
and made again as it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from enforcer import events, state
from enforcer.engine import limits
from enforcer.engine.ordinary.pieces import EFFECT_HEADS
from enforcer.events.binary import encode_long, encode_string

if TYPE_CHECKING:
    from enforcer.policy import BudgetLimit, RateLimit

KEYS_MAX: Final = 4_096
"""Of one limit of one account."""
_FOREVER_US: Final = 1 << 62
_ZERO: Final = encode_long(0)

Values = tuple[str | None, ...]


class BudgetCell(NamedTuple):
    """One row of a budget: its key; effect, view and allocation up to their first number."""

    row: str
    effect: bytes
    view: bytes
    allocation: bytes


class RateCell(NamedTuple):
    """One row of a rate limit: its key; effect and allocation up to their first number."""

    row: str
    effect: bytes
    allocation: bytes


class BudgetRows:
    """The rows of a budget in the window that is open."""

    __slots__ = (
        "_account",
        "_key",
        "_limit",
        "_name",
        "_zone",
        "cells",
        "end_us",
        "start_us",
        "until",
        "until_us",
    )

    def __init__(self, limit: BudgetLimit, account: str, zone: str, key: bytes) -> None:
        self._limit = limit
        self._account = account
        self._zone = zone
        self._key = key
        self._name = ""
        self.cells: dict[str | Values | None, BudgetCell] = {}
        self.start_us = 0
        self.end_us = 0
        """Both of the window; an event outside of it turns to its own."""
        self.until_us = 0
        """The window's end as rows have it: 0 for ``total``."""
        self.until = _ZERO
        """The same, encoded."""

    def turn(self, now_us: int) -> None:
        """Turn to the window of *now_us*."""
        window = state.window(self._limit.per, self._zone, now_us)
        self.cells = {}
        self._name, self.until_us = window.name, window.end_us
        self.start_us = window.start_us
        self.end_us = window.end_us or _FOREVER_US
        self.until = encode_long(window.end_us)

    def cell(self, asked: str | Values | None) -> BudgetCell:
        """The row for the values of the key, one alone or several."""
        if len(self.cells) >= KEYS_MAX:
            self.cells.clear()
        limit = self._limit
        part = limits.row_part(_values(asked, limit.paths), limit.paths, self._key)
        row = state.budget_key(self._account, limits.policy_name(limit), limit.id, part, self._name)
        encoded = encode_string(row)
        view = encode_string(limit.policy) + encode_string(limit.id) + encode_string(part)
        found = self.cells[asked] = BudgetCell(
            row, EFFECT_HEADS["reserve"] + encoded, view, encoded
        )
        return found


class RateRows:
    """The rows of a rate limit."""

    __slots__ = ("_account", "_key", "_limit", "cells")

    def __init__(self, limit: RateLimit, account: str, key: bytes) -> None:
        self._limit = limit
        self._account = account
        self._key = key
        self.cells: dict[str | Values | None, RateCell] = {}

    def cell(self, asked: str | Values | None) -> RateCell:
        """The row for the values of the key, one alone or several."""
        if len(self.cells) >= KEYS_MAX:
            self.cells.clear()
        limit = self._limit
        part = limits.row_part(_values(asked, limit.paths), limit.paths, self._key)
        row = state.rate_key(self._account, limits.policy_name(limit), limit.id, part)
        encoded = encode_string(row)
        found = self.cells[asked] = RateCell(row, EFFECT_HEADS["take"] + encoded, encoded)
        return found


def _values(asked: str | Values | None, paths: tuple[str, ...]) -> Values:
    if not paths:
        return ()
    return asked if isinstance(asked, tuple) else (asked,)


def call_prefix(account: str) -> str:
    """What the keys of an account's calls begin with, less the letter of the table."""
    key = events.call_key(account, "", 1)
    return key.removesuffix("/1")
