"""A table in memory, for tests and for the driver without a broker."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from enforcer.errors import UnavailableError
from enforcer.store.table import META_KEY, OWN, Meta

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class MemoryTable:
    """``Table`` over a dict."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._closed = False

    def get(self, key: bytes) -> bytes | None:
        """See ``Table``."""
        self._check()
        return self._rows.get(key)

    def write(
        self,
        puts: Mapping[bytes, bytes],
        deletes: Iterable[bytes] = (),
        *,
        meta: Meta | None = None,
    ) -> None:
        """See ``Table``."""
        self._check()
        self._rows.update(puts)
        for key in deletes:
            self._rows.pop(key, None)
        if meta is not None:
            self._rows[META_KEY] = meta.encode()

    def scan(
        self, prefix: bytes = b"", *, start_after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """See ``Table``."""
        self._check()
        own = prefix.startswith(OWN)
        keys = sorted(key for key in self._rows if key.startswith(OWN) == own and key != META_KEY)
        first = bisect_left(keys, prefix)
        if start_after is not None:
            first = max(first, bisect_right(keys, start_after))
        given = 0
        for key in keys[first:]:
            if not key.startswith(prefix) or given == limit:
                return
            value = self._rows.get(key)
            if value is not None:
                given += 1
                yield key, value

    def last(self, prefix: bytes) -> bytes | None:
        """See ``Table``."""
        self._check()
        return max((key for key in self._rows if key.startswith(prefix)), default=None)

    def meta(self) -> Meta | None:
        """See ``Table``."""
        value = self.get(META_KEY)
        return None if value is None else Meta.decode(value)

    def wipe(self) -> None:
        """See ``Table``."""
        self._check()
        self._rows.clear()

    def close(self) -> None:
        """See ``Table``."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise UnavailableError("the table is closed", code="closed")
