"""The rows and positions of all partitions, and the changes that one transaction is to write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from enforcer.stream.rows import POSITION_KEY, decode_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from enforcer.broker.ports import Outgoing
    from enforcer.store import RocksTable

ROWS_MAX: Final = 2_000
BYTES_MAX: Final = 1024 * 1024
"""Of rows in one transaction, roughly: their ledger entries stay far below what a record may have."""


@dataclass(slots=True)
class Batch:
    """One transaction: changes by partition and key, what is sent on, and who is switched by it."""

    changes: dict[tuple[int, str], bytes | None] = field(default_factory=dict)
    inputs: dict[tuple[str, int], list[Outgoing]] = field(default_factory=dict)
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it is to be committed now."""
        return len(self.changes) >= ROWS_MAX or self.bytes >= BYTES_MAX


class House:
    """The rows and positions of all partitions: tables as they were restored, and what this run has changed."""

    def __init__(self) -> None:
        self.tables: dict[int, RocksTable] = {}
        self.batch = Batch()
        self._changed: dict[tuple[int, str], bytes | None] = {}

    def get(self, partition: int, key: str) -> bytes | None:
        """A row's bytes, as changed so far."""
        place = (partition, key)
        if place in self._changed:
            return self._changed[place]
        return self.tables[partition].get(key.encode())

    def put(self, partition: int, key: str, value: bytes | None) -> None:
        """Change a row, with the transaction at hand."""
        self.batch.changes[partition, key] = value
        self.batch.bytes += len(key) + len(value or b"")
        self._changed[partition, key] = value

    def remember(self, partition: int, position: bytes) -> None:
        """A position row that goes with the transaction at hand."""
        self._changed[partition, POSITION_KEY] = position

    def rows(self, partition: int) -> Iterator[tuple[str, bytes]]:
        """The rows as they were restored, those that this run has moved away left out; without the position."""
        for raw_key, _ in self.tables[partition].scan():
            key = raw_key.decode()
            value = self.get(partition, key) if key[1:2] == "/" else None
            if value is not None:
                yield key, value

    def position(self, partition: int) -> Any:
        """The position row, or None."""
        value = self.get(partition, POSITION_KEY)
        return None if value is None else decode_row(POSITION_KEY, value)
