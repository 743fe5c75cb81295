"""
Keeping tables small: rows that count as absent are deleted, a few per commit.

A cursor walks the table; each step looks at a few rows, twice as many as the interval had events, so a table
that grows by one row an event is walked faster than it grows. Between two walks it rests: nobody is helped by a
row that goes a few minutes earlier, and every row looked at costs microseconds. Nothing here changes any verdict:
an ended call, a full bucket and a window closed a month ago read as absent with or without their row.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from enforcer import events, state
from enforcer.errors import AgentCorruptedError
from enforcer.stream.rows import POSITION_KEY, changelog_of, decode_row
from enforcer.stream.timers import SpentLists, is_open_in

if TYPE_CHECKING:
    from enforcer.state import ExpiryQueue
    from enforcer.store.table import Table
    from enforcer.stream.rows import CallsSeen, RowCache

SWEPT_KINDS: Final = "bcrulg"
WALK_EVERY_US: Final = 300_000_000
"""Event time from the beginning of one walk to that of the next, at the least."""
ROWS_AT_ONCE: Final = 500
"""Read between two turns of the event loop, while a table is looked through at a takeover."""


class Sweep:
    """The walk over one table."""

    __slots__ = ("_begun_us", "_cursor", "_rows", "_table")

    def __init__(self, table: Table, rows: RowCache) -> None:
        self._table = table
        self._rows = rows
        self._cursor = b""
        self._begun_us: int | None = None

    def step(self, now_us: int, *, rows: int) -> list[bytes]:
        """
        Look at the next *rows* rows and delete the spent ones.

        Only when no commit is under way: what is in the table and not changed in the cache is then the truth.

        Returns: Keys of ended rows of ``calls``: they go from the table without a tombstone, for every row
        there carries its end. Spent rows of ``state`` become changes of the cache, with tombstones.
        """
        if not self._cursor:
            if self._begun_us is not None and now_us < self._begun_us + WALK_EVERY_US:
                return []
            self._begun_us = now_us
            self._rows.walk_begins()
        ended: list[bytes] = []
        last = b""
        seen = 0
        for raw_key, value in self._table.scan(b"", start_after=self._cursor, limit=rows):
            last = raw_key
            seen += 1
            key = raw_key.decode()
            if key[0] not in SWEPT_KINDS or key[1] != "/":
                continue
            if (
                self._rows.is_changed(key)
                or _is_young(key, value, now_us)
                or not state.is_spent(decode_row(key, value), now_us)
            ):
                self._rows.walked(key)
                continue
            if changelog_of(key) == "calls":
                ended.append(raw_key)
                self._rows.forget(key)
            else:
                self._rows.delete(key)
        self._cursor = last if seen == rows else b""
        if not self._cursor:
            self._rows.walk_ends()
        return ended


def _is_young(key: str, value: bytes, now_us: int) -> bool:
    """
    Whether a row of a call has not reached its end: its first field says so, and most rows are young.

    Raises: AgentCorruptedError: it is no such row.
    """
    try:
        return key[0] in "cu" and events.end_of_row(value) > now_us
    except events.CodecError as error:
        raise AgentCorruptedError(f"a row of kind {key[:1]!r} cannot be read") from error


class CopySweep:
    """
    The walk over a table that another agent owns: ended rows of ``calls`` go from it too.

    Their changelog tells of no end of theirs, and what is kept for others must not grow for ever. Rows of ``state`` go
    with the owner's tombstones. Lists of timers go when their second is past, so that a takeover finds few.
    """

    __slots__ = ("_begun_us", "_cursor", "_spent", "_table")

    def __init__(self, table: Table) -> None:
        self._table = table
        self._cursor = b""
        self._begun_us: int | None = None
        self._spent = SpentLists(table)

    def step(self, *, rows: int) -> list[bytes]:
        """Look at the next *rows* rows; the keys of what has ended by the owner's event time."""
        position = self._table.get(POSITION_KEY.encode())
        if position is None:
            return []
        now_us = decode_row(POSITION_KEY, position).now_us
        return self._walk(now_us, rows) + self._spent.step(now_us, is_open_in(self._table))

    def _walk(self, now_us: int, rows: int) -> list[bytes]:
        if not self._cursor:
            if self._begun_us is not None and now_us < self._begun_us + WALK_EVERY_US:
                return []
            self._begun_us = now_us
        ended: list[bytes] = []
        last, seen = b"", 0
        for raw_key, value in self._table.scan(b"", start_after=self._cursor, limit=rows):
            last, seen = raw_key, seen + 1
            key = raw_key.decode()
            if key[0] not in "cu" or key[1] != "/" or _is_young(key, value, now_us):
                continue
            if state.is_spent(decode_row(key, value), now_us):
                ended.append(raw_key)
        self._cursor = last if seen == rows else b""
        return ended


async def rebuild(
    table: Table, queue: ExpiryQueue, *, seen: CallsSeen
) -> tuple[events.Effect, ...]:
    """
    Put every open reservation and waiting report of *table* into *queue*, a few rows a turn of the loop.

    Only for a table that was read back whole, which took longer than this: its changelog of calls forgets by age, so that
    there may be reservations that no call holds any more.

    Args:
        seen: Gets every call.

    Returns: The effects that mend these.
    """
    held: list[tuple[str, Any]] = []
    for prefix in (b"c/", b"u/", b"b/"):
        for count, (raw_key, value) in enumerate(table.scan(prefix)):
            if count % ROWS_AT_ONCE == ROWS_AT_ONCE - 1:
                await asyncio.sleep(0)
            key = raw_key.decode()
            row = decode_row(key, value)
            if isinstance(row, events.BudgetRow):
                if row.reserved_usd_nano:
                    held.append((key, row))
                continue
            seen.add(key)
            queue.track(key, row)
            if key in queue:
                held.append((key, row))
    return state.leaked(held)
