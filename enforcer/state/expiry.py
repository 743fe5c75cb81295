"""
Which reservations end next.

The queue is a function of the rows. It may be filled as time goes on: nobody asks for what is not due
yet, so that what is due later may stay elsewhere as long (``stream.timers``). Its
answers depend on the entries alone, never on the order in which they came: by (due, key), so that
every owner of the partition expires the same reservations at the same event.

Work is bounded by what is due, not by what is held: one heap over all entries and one for each
budget row, which share their entries. An entry that was discarded stays in its heaps until half of
a heap is such; then the heap is rebuilt, so that memory stays within twice of what is open.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from enforcer.events import CallRow, WaitingUsageRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from enforcer.state.rows import Row

Entry = tuple[int, str]

OTHERS_MAX = 8  # Due reservations that an event expires beyond those it reads.
_DEAD_MIN = 16  # A heap with fewer discarded entries is not worth rebuilding.


class _Heap:
    """A heap with discarded entries in it; *live* counts the others."""

    __slots__ = ("entries", "live")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.live = 0


class ExpiryQueue:
    """Open reservations and waiting usage, by when they are due. See the top of the module."""

    __slots__ = ("_all", "_by_row", "_held", "elsewhere", "noted")

    def __init__(self, *, notes: bool = False) -> None:
        """*notes*: what is added is noted, for ``take_noted``."""
        self.noted: list[Entry] | None = [] if notes else None
        self.elsewhere: Callable[[str], bool] | None = None
        """Whether usage waits that is not held here yet, as long as there may be some."""
        self._held: dict[str, tuple[Entry, tuple[str, ...]]] = {}
        self._all = _Heap()
        self._by_row: dict[str, _Heap] = {}

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[str, Row]]) -> ExpiryQueue:
        """The queue of a table: other kinds of rows, and calls that hold nothing, are left out."""
        queue = cls()
        for key, row in rows:
            if isinstance(row, (CallRow, WaitingUsageRow)):
                queue.track(key, row)
        return queue

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, key: str) -> bool:
        return key in self._held

    def track(self, key: str, row: CallRow | WaitingUsageRow) -> None:
        """Hold a row for as long as it has something to expire: a part of a budget, or reports."""
        if isinstance(row, WaitingUsageRow):
            if row.reports:
                self.add(row.end_us, key, ())
            else:
                self.discard(key)
        elif row.status == "open" and row.budgets:
            self.add(row.expires_us, key, [allocation.row for allocation in row.budgets])
        else:
            self.discard(key)

    def add(self, due_us: int, key: str, rows: Sequence[str]) -> None:
        """
        Hold the call (or waiting usage) *key*, which has a part of the budget *rows*, or move it to
        a new time.
        """
        if key in self._held:
            self.discard(key)
        entry = (due_us, key)
        distinct = tuple(rows) if len(rows) < 2 else tuple(dict.fromkeys(rows))
        self._held[key] = entry, distinct
        if self.noted is not None:
            self.noted.append(entry)
        heappush(self._all.entries, entry)
        self._all.live += 1
        for row in distinct:
            heap = self._by_row.get(row)
            if heap is None:
                heap = self._by_row[row] = _Heap()
            heappush(heap.entries, entry)
            heap.live += 1

    def discard(self, key: str) -> None:
        """Let a call go; one that is not held is none to let go."""
        held = self._held.pop(key, None)
        if held is None:
            return
        self._bury(self._all)
        for row in held[1]:
            heap = self._by_row[row]
            if heap.live == 1:
                del self._by_row[row]
            else:
                self._bury(heap)

    def take_noted(self) -> list[Entry]:
        """What was noted since the last time, and is still held as it was."""
        noted, self.noted = self.noted or [], []
        return [entry for entry in noted if self._is_live(entry)]

    def concerns(self, now_us: int, key: str) -> bool:
        """
        Whether anything is due, or *key* is held: whether an event of *now_us* that asks for it must look further.

        *key* is that of waiting usage.
        """
        entries = self._all.entries
        return (bool(entries) and entries[0][0] <= now_us) or self.may_wait(key)

    def may_wait(self, key: str) -> bool:
        """Whether there may be waiting usage of this *key*: False is certain."""
        return key in self._held or (self.elsewhere is not None and self.elsewhere(key))

    def due_for(self, row_keys: Iterable[str], now_us: int) -> list[str]:
        """
        All due calls that hold a part of one of these budget rows, or are themselves named, in
        order.

        Args:
            row_keys: All rows that the event reads: budgets, its own call, its waiting usage.
            now_us: Event time. What is due at it is due.
        """
        if not self._all.entries or self._all.entries[0][0] > now_us:
            return []  # Nearly always: nothing at all is due.
        found: set[Entry] = set()
        for row in row_keys:
            held = self._held.get(row)
            if held is not None and held[0][0] <= now_us:
                found.add(held[0])
            heap = self._by_row.get(row)
            if heap is not None:
                found.update(self._first(heap, now_us, len(heap.entries)))
        return [key for _, key in sorted(found)]

    def due(self, now_us: int, limit: int = OTHERS_MAX) -> list[str]:
        """The first *limit* due calls, in order. They stay held until they are discarded."""
        if not self._all.entries or self._all.entries[0][0] > now_us:
            return []
        return [key for _, key in self._first(self._all, now_us, limit)]

    def _first(self, heap: _Heap, now_us: int, limit: int) -> list[Entry]:
        """
        The first *limit* entries of a heap that are due, in order, at a cost that grows with their
        number.
        """
        entries = heap.entries
        while entries and not self._is_live(entries[0]):
            heappop(entries)
        found: list[Entry] = []
        frontier = [(entries[0], 0)] if entries else []
        while frontier and len(found) < limit:
            entry, index = heappop(frontier)
            if entry[0] > now_us:
                break
            if self._is_live(entry):
                found.append(entry)
            for child in (2 * index + 1, 2 * index + 2):
                if child < len(entries):
                    heappush(frontier, (entries[child], child))
        return found

    def _is_live(self, entry: Entry) -> bool:
        held = self._held.get(entry[1])
        # By identity: the same key may be held anew, even for the same time.
        return held is not None and held[0] is entry

    def _bury(self, heap: _Heap) -> None:
        heap.live -= 1
        dead = len(heap.entries) - heap.live
        if dead > _DEAD_MIN and dead > heap.live:
            heap.entries = [entry for entry in heap.entries if self._is_live(entry)]
            heapify(heap.entries)
