"""
The rows of one agent: decoded over a table, with what changed since the last cut.

Reads see every change at once, told or not; the table holds only what is committed. ``cut`` encodes the
changed rows, each once, and hands them to the commit; the fast lane goes on changing rows meanwhile. When a
commit fails all this is thrown away: the table still is what the ledger says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol

from enforcer import events
from enforcer.errors import AgentCorruptedError

if TYPE_CHECKING:
    from collections.abc import Callable

POSITION_KEY: Final = "p"

_ENCODE: Final[dict[str, Callable[[Any], bytes]]] = {
    "b": events.encode_budget_row,
    "r": events.encode_rate_row,
    "c": events.encode_call_row,
    "u": events.encode_waiting_usage_row,
    "l": events.encode_lease_row,
    "g": events.encode_lent_row,
    "p": events.encode_position_row,
}
_DECODE: Final[dict[str, Callable[[bytes], Any]]] = {
    "b": events.decode_budget_row,
    "r": events.decode_rate_row,
    "c": events.decode_call_row,
    "u": events.decode_waiting_usage_row,
    "l": events.decode_lease_row,
    "g": events.decode_lent_row,
    "p": events.decode_position_row,
}
SLOTS_MIN: Final = 1 << 22
SLOTS_MAX: Final = 1 << 26
LARGE_ROW_BYTES: Final = 16 * 1024
"""Rows above it (calls with a large decision) are not kept decoded: a count alone bounds no memory."""
CALL_BYTES: Final = 1_024
"""Of an ordinary call. Where they have more on average, so many fewer are kept: what is bounded is bytes."""
_CALLS: Final = frozenset("cu")
"""First letters of the rows whose changelog is ``calls``."""


class Table(Protocol):
    """What is read from the store here."""

    def get(self, key: bytes) -> bytes | None:
        """The committed value."""


@dataclass(slots=True)
class Changes:
    """
    What one interval changed: records for both changelogs, and the same for the table.

    A None value is a tombstone. Rows of ``calls`` have none: they carry their end.
    """

    state: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    calls: list[tuple[bytes, bytes | None]] = field(default_factory=list)


def changelog_of(key: str) -> str:
    """The topic (without prefix) that a row's changes go to."""
    return "calls" if key[0] in _CALLS else "state"


def decode_row(key: str, value: bytes) -> Any:
    """
    A row from its stored bytes, by the first letter of its key.

    Raises: AgentCorruptedError: it is no such row. Never a RequestError, which would blame the caller.
    """
    try:
        return _DECODE[key[0]](value)
    except (events.CodecError, KeyError) as error:
        raise AgentCorruptedError(f"a row of kind {key[:1]!r} cannot be read") from error


def encode_row(key: str, row: Any) -> bytes:
    """A row's bytes, by the first letter of its key."""
    return _ENCODE[key[0]](row)


def due_of(key: str, value: bytes) -> int | None:
    """
    When a row of ``calls`` falls due, by its bytes; None of one that does not. Waiting usage that is settled may seem to.

    Raises: AgentCorruptedError: it is no such row.
    """
    try:
        return events.end_of_row(value) if key[0] == "u" else events.expiry_of_call(value)
    except events.CodecError as error:
        raise AgentCorruptedError(f"a row of kind {key[:1]!r} cannot be read") from error


class CallsSeen:
    """
    Which calls may be in the table: a filter of one byte a slot, so that a new call need not be looked up.

    Every call that was ever put is in it, or every answer is yes. Calls that are gone stay in it until the next
    walk of the sweep has made another. Above a byte in four it says yes too often to be of use; nothing else.
    """

    __slots__ = ("_bits", "_mask", "count")

    def __init__(self, expected: int = 0) -> None:
        """An empty one. *expected*: rows, as far as known."""
        size = SLOTS_MIN
        while size < min(expected * 8, SLOTS_MAX):
            size *= 2
        self._bits = bytearray(size)
        self._mask = size - 1
        self.count = 0

    def add(self, key: str) -> None:
        """The row may be in the table."""
        self._bits[hash(key) & self._mask] = 1
        self.count += 1

    def may_hold(self, key: str) -> bool:
        """False: the table has no such row."""
        return self._bits[hash(key) & self._mask] == 1


class RowCache:
    """
    ``state.Rows`` over a table. Not shared between agents, not safe across threads.

    Rows of calls and rows of money are kept apart: there is a new call every event, nearly always read once
    more, by its usage; the rows of a few thousand users and teams are read by every event of theirs.
    """

    __slots__ = (
        "_call_bytes",
        "_calls",
        "_changed",
        "_large",
        "_money",
        "_next",
        "_seen",
        "_table",
        "cached_rows_max",
    )

    def __init__(
        self, table: Table, *, cached_rows_max: int, seen: CallsSeen | None = None
    ) -> None:
        """*seen*: of all calls in the table; None: any may be there."""
        self._table = table
        self._seen = seen
        self._next: CallsSeen | None = None
        self._calls: dict[str, Any] = {}
        self._money: dict[str, Any] = {}
        self._changed: dict[str, Any] = {}
        self._large: set[str] = set()
        self._call_bytes = 0.0
        """Of a call, on average of the last cuts."""
        self.cached_rows_max = cached_rows_max

    def _kept(self, key: str) -> dict[str, Any]:
        return self._calls if key[0] in _CALLS else self._money

    def get(self, key: str) -> Any:
        """The row as of now, or None."""
        is_call = key[0] in _CALLS
        cached = self._calls if is_call else self._money
        row = cached.get(key)
        if row is None:
            if is_call and self._seen is not None and not self._seen.may_hold(key):
                return None
            if key in cached:
                return None
            value = self._table.get(key.encode())
            if value is None:
                return None
            row = cached[key] = decode_row(key, value)
            if len(value) > LARGE_ROW_BYTES:
                self._large.add(key)
        elif type(row) is bytes:
            row = cached[key] = decode_row(key, row)
        return row

    def put(self, key: str, row: Any) -> None:
        """Set a row; it belongs to the cache from now on."""
        if key[0] in _CALLS:
            self._calls[key] = row
            self._put_call(key)
        else:
            self._money[key] = row
        self._changed[key] = row

    def put_encoded(self, key: str, value: bytes) -> None:
        """Set the row of a call, given as its bytes: decoded when it is asked for."""
        self._calls[key] = self._changed[key] = value
        self._put_call(key)

    def _put_call(self, key: str) -> None:
        if self._seen is not None:
            self._seen.add(key)
        if self._next is not None:
            self._next.add(key)

    def peek(self, key: str) -> Any:
        """A row of ``calls`` as of now, or None; None also of a call that is not open. Nothing is kept of it."""
        kept = self._calls.get(key)
        if kept is None:
            value = None if key in self._calls else self._table.get(key.encode())
        elif type(kept) is bytes:
            value = kept
        else:
            return kept
        return None if value is None or due_of(key, value) is None else decode_row(key, value)

    def walk_begins(self) -> None:
        """A walk over the whole table begins: it is to be told of every call by ``walked``."""
        self._next = CallsSeen(0 if self._seen is None else self._seen.count)
        # No walk finds what is not in the table yet.
        for key in self._changed:
            self.walked(key)

    def walked(self, key: str) -> None:
        """The walk has found a row that stays."""
        if self._next is not None and key[0] in _CALLS:
            self._next.add(key)

    def walk_ends(self) -> None:
        """All of the table was walked: what the walk and ``put`` did not see since its begin is not there."""
        if self._next is not None:
            self._seen, self._next = self._next, None

    def delete(self, key: str) -> None:
        """Remove a row."""
        self._kept(key)[key] = None
        self._changed[key] = None

    def forget(self, key: str) -> None:
        """Drop a row from the cache alone: the table's row goes by other means."""
        self._kept(key).pop(key, None)

    def is_changed(self, key: str) -> bool:
        """Whether the row has a change that no cut has taken."""
        return key in self._changed

    @property
    def changed_count(self) -> int:
        """Rows the next cut will take."""
        return len(self._changed)

    def cut(self) -> Changes:
        """Encode what changed since the last cut, and forget that it changed."""
        changes = Changes()
        size = 0
        for key, row in self._changed.items():
            kind = key[0]
            value = row if row is None or type(row) is bytes else _ENCODE[kind](row)
            if value is not None and len(value) > LARGE_ROW_BYTES:
                self._large.add(key)
            if kind in _CALLS:
                changes.calls.append((key.encode(), value))
                if value is not None:
                    # One object in place of a dozen, until its usage comes.
                    self._calls[key] = value
                    size += len(value)
            else:
                changes.state.append((key.encode(), value))
        self._changed = {}
        if changes.calls:
            self._call_bytes += (size / len(changes.calls) - self._call_bytes) / 8
        return changes

    def settle(self) -> None:
        """
        Drop large rows, and the oldest above the limit. Only right after a commit, when no cut is under way.

        A row in the cache that is not in the table must stay: rows changed since the cut do.
        """
        changed = self._changed
        if self._large:
            for key in self._large:
                if key not in changed:
                    self._kept(key).pop(key, None)
            self._large.clear()
        rows_max = self.cached_rows_max // 2
        calls_max = int(rows_max * CALL_BYTES / max(CALL_BYTES, self._call_bytes))
        for cached, most in ((self._calls, calls_max), (self._money, rows_max)):
            excess = len(cached) - most
            if excess <= 0:
                continue
            for key in list(islice(cached, excess)):
                if key not in changed:
                    del cached[key]
