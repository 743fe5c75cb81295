"""
Keeping tables small: rows that count as absent are deleted, a few per commit.

A cursor walks the table; each step looks at a few rows, twice as many as the interval had events, so a table
that grows by one row an event is walked faster than it grows. Nothing here changes any verdict: an ended
call, a full bucket and a window closed a month ago read as absent with or without their row.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from enforcer import events, state
from enforcer.stream.rows import changelog_of, decode_row

if TYPE_CHECKING:
    from enforcer.state import ExpiryQueue
    from enforcer.store.table import Table
    from enforcer.stream.rows import RowCache

SWEPT_KINDS: Final = "bcru"
ROWS_AT_ONCE: Final = 500
"""Read between two turns of the event loop, while a table is looked through at a takeover."""


class Sweep:
    """The walk over one table."""

    __slots__ = ("_cursor", "_rows", "_table")

    def __init__(self, table: Table, rows: RowCache) -> None:
        self._table = table
        self._rows = rows
        self._cursor = b""

    def step(self, now_us: int, *, rows: int) -> list[bytes]:
        """
        Look at the next *rows* rows and delete the spent ones.

        Only when no commit is under way: what is in the table and not changed in the cache is then the truth.

        Returns: Keys of ended rows of ``calls``: they go from the table without a tombstone, for every row
        there carries its end. Spent rows of ``state`` become changes of the cache, with tombstones.
        """
        ended: list[bytes] = []
        last = b""
        seen = 0
        for raw_key, value in self._table.scan(b"", start_after=self._cursor, limit=rows):
            last = raw_key
            seen += 1
            key = raw_key.decode()
            if key[0] not in SWEPT_KINDS or key[1] != "/" or self._rows.is_changed(key):
                continue
            if _is_young(key, value, now_us) or not state.is_spent(decode_row(key, value), now_us):
                continue
            if changelog_of(key) == "calls":
                ended.append(raw_key)
                self._rows.forget(key)
            else:
                self._rows.delete(key)
        self._cursor = last if seen == rows else b""
        return ended


def _is_young(key: str, value: bytes, now_us: int) -> bool:
    """Whether a row of a call has not reached its end: its first field says so, and most rows are young."""
    return key[0] in "cu" and events.end_of_row(value) > now_us


async def rebuild(table: Table, queue: ExpiryQueue, *, leaks: bool) -> tuple[events.Effect, ...]:
    """
    Put every open reservation and waiting report of *table* into *queue*, a few rows a turn of the loop.

    Args:
        leaks: Whether to look for reservations that no call holds any more, too. Only a table that was read
            back whole can have them: its changelog of calls forgets by age.

    Returns: The effects that mend them.
    """
    held: list[tuple[str, Any]] = []
    prefixes = (b"c/", b"u/", b"b/") if leaks else (b"c/", b"u/")
    for prefix in prefixes:
        for count, (raw_key, value) in enumerate(table.scan(prefix)):
            if count % ROWS_AT_ONCE == ROWS_AT_ONCE - 1:
                await asyncio.sleep(0)
            key = raw_key.decode()
            row = decode_row(key, value)
            if isinstance(row, events.BudgetRow):
                if row.reserved_usd_nano:
                    held.append((key, row))
                continue
            queue.track(key, row)
            if leaks and key in queue:
                held.append((key, row))
    return state.leaked(held) if leaks else ()
