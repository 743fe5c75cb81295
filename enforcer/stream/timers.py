"""
Timers: which calls fall due when, kept in the table beside their rows, so that a takeover looks through none of them.

Theory of operation
-------------------
The expiry queue is a function of the rows, but to find the few of half a million that are open by reading them all takes
seconds. So each write of a table that opens calls also writes *lists*: the keys that fall due within one second, under that
second and under the changelogs' positions, which no other write of the table shares. It costs one put a commit. Nothing is
deleted when a call is settled: whoever reads a list asks each row whether it is still open.

    Each row that is open, or waits, stands in a list of a second that is not after its own.          (1)

(1) holds because lists and rows are one batch, because time is only ever added to a call (it is renewed, never shortened),
and because a list goes only when none of its keys is open any more. A list too many costs time, never truth. The changelogs
know nothing of lists: they are made again from the rows as they are restored.

A tenure reads lists in the order of time, ``LEAD_US`` ahead of its own event time, a few with each cut; from then on the
queue in memory holds what they name. What it opens itself is in its queue already. When event time leaps over all that, the
rest is read at once before the next record is taken (``catch_up``), so that the queue answers as if it had held everything
from the beginning. Keys of waiting usage, for which the queue is asked before they are due, are asked of the table until the
last list that the takeover found has been read.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final

import orjson

from enforcer.errors import AgentCorruptedError
from enforcer.store.table import OWN
from enforcer.stream.rows import due_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from enforcer.state import ExpiryQueue
    from enforcer.store.table import Table
    from enforcer.stream.rows import RowCache

LISTS: Final = OWN + b"due/"
SECOND_US: Final = 1_000_000
LEAD_US: Final = 10 * SECOND_US
"""Event time by which a tenure's queue is ahead of it."""
KEYS_AT_ONCE: Final = 500
"""Rows asked for in one step; a row that is not in the cache costs about 10 us."""
LISTS_AT_ONCE: Final = 16
AGAIN_US: Final = 300 * SECOND_US
"""Event time after which lists that had to stay are looked at again."""
NEVER_US: Final = 1 << 62

_DIGITS: Final = 16
_AT: Final = slice(len(LISTS), len(LISTS) + _DIGITS)


def lists_of(due: Iterable[tuple[int, str]], positions: Mapping[str, int]) -> dict[bytes, bytes]:
    """
    What is to be put for rows that fall due.

    Args:
        due: Microseconds of event time, and row key.
        positions: Changelog to offset, as they will be after the write: no other write of the table has the same.
    """
    seconds: defaultdict[int, list[str]] = defaultdict(list)
    for due_us, key in due:
        seconds[due_us // SECOND_US].append(key)
    if not seconds:
        return {}
    mark = "-".join([str(positions[name]) for name in sorted(positions)]).encode()
    return {
        b"%b%0*d/%b" % (LISTS, _DIGITS, second * SECOND_US, mark): orjson.dumps(keys)
        for second, keys in seconds.items()
    }


def due_rows(puts: Mapping[bytes, bytes]) -> Iterable[tuple[int, str]]:
    """
    Of rows by key those that fall due, and when.

    Raises: AgentCorruptedError: one of them is no such row.
    """
    for raw_key, value in puts.items():
        if raw_key[:2] in (b"c/", b"u/"):
            key = raw_key.decode()
            due_us = due_of(key, value)
            if due_us is not None:
                yield due_us, key


class Timers:
    """The lists of one tenure's table, and how far they are in its queue."""

    __slots__ = ("_cursor", "_end", "_queue", "_rows", "_spent", "_table", "loaded_us")

    def __init__(self, table: Table, rows: RowCache, queue: ExpiryQueue) -> None:
        """All that is in the table is taken to be in *queue* already, until ``begin``."""
        self._table = table
        self._rows = rows
        self._queue = queue
        self._cursor = b""
        self._end = b""
        self._spent = SpentLists(table)
        self.loaded_us = NEVER_US
        """What falls due before it is in the queue."""

    async def begin(self, now_us: int) -> None:
        """Find what falls due until a little after *now_us*, some rows a turn of the loop; the rest as time goes on."""
        end = self._table.last(LISTS)
        if end is None:
            return
        self._end, self.loaded_us = end, 0
        self._queue.elsewhere = self._waits
        while not self._load(now_us + LEAD_US):  # noqa: ASYNC110 — work, and a turn for others between
            await asyncio.sleep(0)

    def _waits(self, key: str) -> bool:
        return self._rows.get(key) is not None

    def step(self, now_us: int) -> list[bytes]:
        """
        Read on, a few lists; with each cut, before the rows are cut.

        Returns: Lists of which nothing is open any more, to be deleted with this very cut.
        """
        if self.loaded_us <= now_us + LEAD_US:
            self._load(now_us + LEAD_US)
        return self._spent.step(min(now_us, self.loaded_us), self._queue.__contains__)

    def catch_up(self, now_us: int) -> None:
        """Everything that is due at *now_us* is in the queue when it returns."""
        while not self._load(now_us):
            pass

    def _load(self, until_us: int) -> bool:
        """Read some lists; True: all that falls due until *until_us* is in the queue."""
        if self.loaded_us == NEVER_US:
            return True
        read = 0
        found = list(self._table.scan(LISTS, start_after=self._cursor, limit=LISTS_AT_ONCE))
        for at, value in found:
            due_us = _second_of(at)
            if due_us > until_us:
                self.loaded_us = due_us
                return True
            keys = _keys_of(value)
            self._hold(keys)
            self._cursor = at
            read += len(keys)
            if at < self._end and read >= KEYS_AT_ONCE:
                return False
        if len(found) == LISTS_AT_ONCE and self._cursor < self._end:
            return False
        self.loaded_us, self._queue.elsewhere = NEVER_US, None
        return True

    def _hold(self, keys: list[str]) -> None:
        queue, rows = self._queue, self._rows
        noted, queue.noted = queue.noted, None  # They stand in a list already.
        for key in keys:
            if key not in queue and (row := rows.peek(key)) is not None:
                queue.track(key, row)
        queue.noted = noted


class SpentLists:
    """The walk over lists whose second is past: those of which nothing is open any more go."""

    __slots__ = ("_begun_us", "_cursor", "_next_us", "_table")

    def __init__(self, table: Table) -> None:
        self._table = table
        self._cursor = b""
        self._begun_us = 0
        self._next_us = 0
        """Before it no list that is not known yet is past."""

    def step(self, now_us: int, is_open: Callable[[str], bool]) -> list[bytes]:
        """The next lists that may be deleted at the event time *now_us*, some at a time."""
        if now_us < self._next_us:
            return []
        if now_us >= self._begun_us + AGAIN_US:
            self._begun_us, self._cursor = now_us, b""
        spent: list[bytes] = []
        left = KEYS_AT_ONCE
        for at, value in self._table.scan(LISTS, start_after=self._cursor, limit=LISTS_AT_ONCE):
            over_us = _second_of(at) + SECOND_US
            if over_us > now_us:
                self._next_us = over_us
                return spent
            keys = _keys_of(value)
            if not any(is_open(key) for key in keys):
                spent.append(at)
            self._cursor = at
            left -= len(keys)
            if left <= 0:
                return spent
        if not spent:
            self._next_us = now_us + SECOND_US
        return spent


def is_open_in(table: Table) -> Callable[[str], bool]:
    """Whether a row of *table* may still fall due: where no queue knows."""

    def is_open(key: str) -> bool:
        value = table.get(key.encode())
        return value is not None and due_of(key, value) is not None

    return is_open


def _second_of(at: bytes) -> int:
    return int(at[_AT])


def _keys_of(value: bytes) -> list[str]:
    try:
        keys: list[str] = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise AgentCorruptedError("a list of timers cannot be read") from error
    return keys
