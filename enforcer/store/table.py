"""One partition's rows on this machine: what a table promises, whichever way it keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from enforcer.errors import AgentCorruptedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

META_KEY = b"\x00meta"
"""Where the meta record lies. Row keys are plain UTF-8 and never begin with a zero byte."""
OWN = b"\x00"
"""Keys that begin with it are no rows: what a table knows of its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What a table was built from; written in the same batch as the rows it speaks of."""

    cluster_id: str
    topic_ids: Mapping[str, str]
    """Changelog topic to its id: a topic deleted and made again is another."""
    schema: str
    """Version of the rows' encoding."""
    partitions: int
    positions: Mapping[str, int] = field(default_factory=dict)
    """Changelog topic to the offset of the next record that is not in the rows."""
    written_ms: int = 0
    """Wall clock of the write, ms since the epoch: older than half the tombstones' retention is worthless."""

    def encode(self) -> bytes:
        """As JSON, which a human can read with any RocksDB tool."""
        return orjson.dumps(
            {
                "cluster_id": self.cluster_id,
                "topic_ids": dict(self.topic_ids),
                "schema": self.schema,
                "partitions": self.partitions,
                "positions": dict(self.positions),
                "written_ms": self.written_ms,
            }
        )

    @classmethod
    def decode(cls, value: bytes) -> Meta:
        """Back from ``encode``. Raises AgentCorruptedError."""
        try:
            fields: dict[str, Any] = orjson.loads(value)
            return cls(**fields)
        except (orjson.JSONDecodeError, TypeError) as error:
            raise AgentCorruptedError(f"the table's meta record is damaged: {error}") from error


class Table(Protocol):
    """
    Rows by key. One writer; synchronous, for a read costs a microsecond.

    Errors: ``AgentCorruptedError`` (wipe and restore), ``ConflictError`` (another process has it open),
    ``UnavailableError`` (disk full, or not readable). After ``close`` every call but ``close`` fails.
    """

    def get(self, key: bytes) -> bytes | None:
        """The row, or None."""

    def write(
        self,
        puts: Mapping[bytes, bytes],
        deletes: Iterable[bytes] = (),
        *,
        meta: Meta | None = None,
    ) -> None:
        """All of it or nothing, whenever this process is killed. A key in both is deleted."""

    def scan(
        self, prefix: bytes = b"", *, start_after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """
        Rows whose keys begin with *prefix*, in key order, after *start_after*, at most *limit*.

        What lies under ``OWN`` is given only for a *prefix* that begins so, the meta record never.

        No snapshot: rows written while it runs may be in it or not. Deleting what it has given is safe.
        """

    def last(self, prefix: bytes) -> bytes | None:
        """The last key that begins with *prefix*, which is not empty; None if there is none."""

    def meta(self) -> Meta | None:
        """The newest meta record; None in a new or wiped table."""

    def wipe(self) -> None:
        """Empty the table, meta record too."""

    def close(self) -> None:
        """Release the files and their lock. Twice is once."""
