"""
Keeping tables small: rows that count as absent are deleted, a few per commit.

A cursor walks the table; each step looks at a few rows, twice as many as the interval had events, so a table
that grows by one row an event is walked faster than it grows. Nothing here changes any verdict: an ended
call, a full bucket and a window closed a month ago read as absent with or without their row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from enforcer import state
from enforcer.stream.rows import changelog_of, decode_row

if TYPE_CHECKING:
    from enforcer.state import ExpiryQueue
    from enforcer.store.table import Table
    from enforcer.stream.rows import RowCache

SWEPT_KINDS = "bcru"


class Sweep:
    """The walk over one table."""

    __slots__ = ("_cursor", "_rows", "_table")

    def __init__(self, table: Table, rows: RowCache) -> None:
        self._table = table
        self._rows = rows
        self._cursor = b""

    def rebuild(self, queue: ExpiryQueue) -> int:
        """Put every open reservation and waiting report into *queue*. Returns how many."""
        before = len(queue)
        for prefix in (b"c/", b"u/"):
            for raw_key, value in self._table.scan(prefix):
                key = raw_key.decode()
                queue.track(key, decode_row(key, value))
        return len(queue) - before

    def step(self, now_us: int, *, rows: int) -> list[bytes]:
        """
        Look at the next *rows* rows and delete the spent ones.

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
            if not state.is_spent(decode_row(key, value), now_us):
                continue
            if changelog_of(key) == "calls":
                ended.append(raw_key)
                self._rows.forget(key)
            else:
                self._rows.delete(key)
        self._cursor = last if seen == rows else b""
        return ended
