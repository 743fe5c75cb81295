"""
A table in RocksDB.

One write is one WriteBatch through the write-ahead log, not synced to the disk: it survives the death of the
process. Should the machine die, the log is cut at some batch, rows and position alike, and the changelog
fills in the rest.
"""

from __future__ import annotations

import functools
import shutil
import weakref
from typing import TYPE_CHECKING, Any, Final

from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DbClosedError,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
)

from enforcer.errors import (
    AgentCorruptedError,
    ConflictError,
    EnforcerError,
    UnavailableError,
)
from enforcer.store.table import META_KEY, OWN, Meta

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_WRITE_BUFFER_BYTES = 4 << 20
_BLOCK_CACHE_BYTES = 64 << 20
"""One cache for all tables of the process; RocksDB's default is 32 MiB for each."""
_OPEN_FILES_MAX = 128
"""Of one table; a file has up to 64 MiB."""
_PAGE_ROWS = 1_000
_METADATA_BLOCK_BYTES = 16 << 10
_FAMILY = "default"
_ROWS = bytes([OWN[0] + 1])
_FULL = ("no space left", "file too large", "disk quota exceeded", "space limit reached")
_LOCKED = ("lock hold by current process", "/lock:", "while lock file")
_UNREADABLE = ("io error", "os error", "permission denied", "read-only file system")


_OPEN: Final[weakref.WeakSet[RocksTable]] = weakref.WeakSet()
_PARTS: Final = (
    ("memtables", "rocksdb.size-all-mem-tables"),
    ("readers", "rocksdb.estimate-table-readers-mem"),
)


def memory_bytes() -> dict[str, float]:
    """
    What RocksDB says it holds in memory for all tables that are open in this process.

    Returns: ``block_cache``, which is one for all; ``memtables``, rows that are not in files yet; ``readers``, what is
    held of open files outside the cache.
    """
    found: dict[str, float] = {"block_cache": float(_block_cache().get_usage())}
    for part, name in _PARTS:
        found[part] = float(sum(table.property_of(name) for table in list(_OPEN)))
    return found


class RocksTable:
    """``Table`` over one RocksDB database in the directory *path*, made if it does not exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: Any = None
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise UnavailableError(f"{path} cannot be made: {error}") from error
        self._database = self._open()

    def get(self, key: bytes) -> bytes | None:
        """See ``Table``."""
        try:
            value: bytes | None = self._database.get(key)
        except Exception as error:
            raise self._translated(error) from error
        return value

    def write(
        self,
        puts: Mapping[bytes, bytes],
        deletes: Iterable[bytes] = (),
        *,
        meta: Meta | None = None,
    ) -> None:
        """See ``Table``."""
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        for key, value in puts.items():
            put(key, value)
        for key in deletes:
            batch.delete(key)
        if meta is not None:
            put(META_KEY, meta.encode())
        try:
            self._database.write(batch)
        except Exception as error:
            raise self._translated(error) from error

    def scan(
        self, prefix: bytes = b"", *, start_after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """See ``Table``."""
        left = limit
        while left is None or left > 0:
            wanted = _PAGE_ROWS if left is None else min(left, _PAGE_ROWS)
            page = self._page(prefix, start_after, wanted)
            yield from page
            if len(page) < wanted:
                return
            start_after = page[-1][0]
            left = None if left is None else left - len(page)

    def last(self, prefix: bytes) -> bytes | None:
        """See ``Table``."""
        behind = prefix[:-1] + bytes([prefix[-1] + 1])
        try:
            for key in self._database.keys(backwards=True, from_key=behind):
                if key < behind:
                    return key if key.startswith(prefix) else None
        except Exception as error:
            raise self._translated(error) from error
        return None

    def meta(self) -> Meta | None:
        """See ``Table``."""
        value = self.get(META_KEY)
        return None if value is None else Meta.decode(value)

    def wipe(self) -> None:
        """See ``Table``."""
        self.close()
        self.destroy(self._path)
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._database = self._open()

    def close(self) -> None:
        """See ``Table``."""
        if self._database is None:
            return
        database, self._database = self._database, _CLOSED
        try:
            database.close()
        except DbClosedError:
            return
        except Exception as error:
            raise self._translated(error) from error

    @staticmethod
    def destroy(path: Path) -> None:
        """Delete the table in *path*, whatever state it is in; none is fine. It must not be open."""
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise UnavailableError(f"{path} cannot be deleted: {error}") from error

    def property_of(self, name: str) -> int:
        """A number that RocksDB tells about itself, by its name; 0 when the table is closed."""
        if self._database is None or self._database is _CLOSED:
            return 0
        return self._database.property_int_value(name) or 0

    def _open(self) -> Any:
        _OPEN.add(self)
        try:
            # By name, too: the binding opens the families of a database that exists by the options in its directory,
            # which know no filter, nor the cache that all tables share.
            options = _options()
            return Rdict(str(self._path), options, {_FAMILY: options})
        except Exception as error:
            raise self._translated(error) from error

    def _page(
        self, prefix: bytes, start_after: bytes | None, wanted: int
    ) -> list[tuple[bytes, bytes]]:
        # A page at a time: an iterator that lives keeps the database open, its lock held, after close().
        page: list[tuple[bytes, bytes]] = []
        begin = max(prefix or _ROWS, start_after or b"")
        try:
            items = self._database.items(from_key=begin, read_opt=_walking())
            for key, value in items:
                if not key.startswith(prefix):
                    break
                if key in (META_KEY, start_after):
                    continue
                page.append((key, value))
                if len(page) == wanted:
                    break
        except Exception as error:
            raise self._translated(error) from error
        return page

    def _translated(self, error: Exception) -> EnforcerError:
        # The binding raises plain Exception with RocksDB's status as text.
        text = str(error)
        lower = text.lower()
        if isinstance(error, DbClosedError):
            return UnavailableError("the table is closed", code="closed")
        if any(sign in lower for sign in _FULL):
            return UnavailableError(
                f"the disk of {self._path} is full", code="disk_full", help="Free some space."
            )
        if any(sign in lower for sign in _LOCKED):
            return ConflictError(
                f"{self._path} is in use by another process",
                help="One worker per state directory: stop the other, or choose another directory.",
            )
        # A file of its own that is gone is damage too: what is left is no table.
        is_gutted = "no such file" in lower and any(name in lower for name in ("manifest", ".sst"))
        if (
            is_gutted
            or lower.startswith("corruption")
            or not any(sign in lower for sign in _UNREADABLE)
        ):
            return AgentCorruptedError(f"{self._path}: {text}")
        return UnavailableError(f"{self._path}: {text}")


class _Closed:
    """Stands for a closed database: everything asked of it says so."""

    def __getattr__(self, name: str) -> Any:
        raise DbClosedError(name)

    def close(self) -> None:
        raise DbClosedError("close")


_CLOSED = _Closed()


@functools.cache
def _block_cache() -> Any:
    return Cache(_BLOCK_CACHE_BYTES)


@functools.cache
def _walking() -> Any:
    """Of scans: a walk over a table reads each row once, and must not push out those that are read again and again."""
    options = ReadOptions()
    options.fill_cache(False)  # type: ignore[call-arg] # its stub forgets the value
    return options


def _options() -> Any:
    blocks = BlockBasedOptions()
    blocks.set_block_cache(_block_cache())
    # Filters and indexes grow with the rows: in the cache they are bounded with all the rest.
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
    # In pieces: that of a large file as one block is more than a shard of the cache takes, and would be read,
    # and decompressed, again for every row.
    blocks.set_index_type(BlockBasedIndexType.two_level_index_search())
    blocks.set_partition_filters(True)
    blocks.set_metadata_block_size(_METADATA_BLOCK_BYTES)
    blocks.set_pin_top_level_index_and_filter(True)
    # Most reads of call rows look for keys that do not exist.
    blocks.set_bloom_filter(10, False)
    options = Options(raw_mode=True)
    options.set_block_based_table_factory(blocks)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(3)
    options.set_max_open_files(_OPEN_FILES_MAX)
    options.set_max_background_jobs(2)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(1)
    options.set_max_log_file_size(1 << 20)
    options.set_stats_dump_period_sec(0)
    return options
