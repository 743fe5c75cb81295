"""A machine's disk: tables that outlive their process, are lost, damaged, older than they were, or have no room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from enforcer.errors import AgentCorruptedError, ConflictError, UnavailableError
from enforcer.store import MemoryTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from enforcer.store.table import Meta
    from enforcer.testing.simulation.loop import Process
    from enforcer.testing.simulation.weather import Weather


class Disk:
    """The tables of one worker's state directory."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.is_full = False
        self._kept: dict[int, MemoryTable] = {}
        self._snapshots: dict[int, dict[bytes, bytes]] = {}
        self._damaged: set[int] = set()
        self._holders: dict[int, Process] = {}

    def open(self, partition: int, process: Process) -> SimulatedTable:
        """
        The table of *partition*, for *process*. One that is damaged is deleted, as ``stream.tables`` does.

        Raises: ConflictError when a living process has it open.
        """
        self.stand("table.open", process)
        holder = self._holders.get(partition)
        if holder is not None and holder.is_alive:
            raise ConflictError(f"the table of partition {partition} is open in {holder.name}")
        if partition in self._damaged:
            self._damaged.discard(partition)
            self._kept.pop(partition, None)
            self.weather.marks.sometimes("damaged table found at opening")
        self._holders[partition] = process
        rows = self._kept.setdefault(partition, MemoryTable())
        return SimulatedTable(self, partition, rows, process)

    def stored(self) -> dict[int, tuple[Meta, dict[str, bytes]]]:
        """What is stored and can be read, by partition: the meta record, and the rows."""
        found: dict[int, tuple[Meta, dict[str, bytes]]] = {}
        for partition, table in self._kept.items():
            meta = table.meta()
            if meta is not None and partition not in self._damaged:
                found[partition] = (meta, {key.decode(): value for key, value in table.scan()})
        return found

    # -- what befalls it -------------------------------------------------------------------------------------

    def lose(self) -> None:
        """Every table is gone, those that are open too: their process must be dead."""
        assert not any(holder.is_alive for holder in self._holders.values())
        self._kept.clear()
        self._damaged.clear()

    def damage(self) -> None:
        """No table can be read any more, open or not."""
        self._damaged |= set(self._kept)

    def remember(self) -> None:
        """Take a copy, to be put back by ``put_back``."""
        self._snapshots = {n: dict(table._rows) for n, table in self._kept.items()}  # noqa: SLF001 — meta record and all

    def put_back(self) -> None:
        """The copy takes the place of the tables, as after a restored backup. The process must be dead."""
        assert not any(holder.is_alive for holder in self._holders.values())
        for partition, rows in self._snapshots.items():
            table = self._kept[partition] = MemoryTable()
            table._rows.update(rows)  # noqa: SLF001 — as above

    def stand(self, site: str, process: Process) -> None:
        """Be at a site before it is done, as on the wire."""
        process.check()
        self.weather.at(site, "before", process)
        process.check()

    def is_damaged(self, partition: int) -> bool:
        """Whether reading fails."""
        return partition in self._damaged

    def repair(self, partition: int) -> None:
        """It was wiped."""
        self._damaged.discard(partition)

    def release(self, partition: int, process: Process) -> None:
        """The table is closed."""
        if self._holders.get(partition) is process:
            del self._holders[partition]


class SimulatedTable:
    """``store.Table`` on a disk."""

    def __init__(self, disk: Disk, partition: int, rows: MemoryTable, process: Process) -> None:
        self._disk = disk
        self._partition = partition
        self._rows = rows
        self._process = process
        self._writes = 0

    def _check(self) -> None:
        self._process.check()
        if self._disk.is_damaged(self._partition):
            raise AgentCorruptedError(f"the table of partition {self._partition} is damaged")

    def get(self, key: bytes) -> bytes | None:
        """See ``store.Table``."""
        self._check()
        return self._rows.get(key)

    def write(
        self,
        puts: Mapping[bytes, bytes],
        deletes: Iterable[bytes] = (),
        *,
        meta: Meta | None = None,
    ) -> None:
        """See ``store.Table``."""
        site = "table.write" if self._writes else "table.write first"
        self._disk.stand(site, self._process)
        self._check()
        if self._disk.is_full:
            self._disk.weather.marks.sometimes("disk full")
            raise UnavailableError("no space left on the device", code="disk_full")
        self._rows.write(puts, deletes, meta=meta)
        self._writes += 1
        self._disk.weather.at(site, "after", self._process)
        self._process.check()

    def scan(
        self, prefix: bytes = b"", *, start_after: bytes | None = None, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """See ``store.Table``."""
        self._check()
        return self._rows.scan(prefix, start_after=start_after, limit=limit)

    def meta(self) -> Meta | None:
        """See ``store.Table``."""
        self._check()
        return self._rows.meta()

    def wipe(self) -> None:
        """See ``store.Table``."""
        self._disk.stand("table.wipe", self._process)
        self._disk.repair(self._partition)
        self._rows.wipe()

    def close(self) -> None:
        """See ``store.Table``."""
        self._disk.release(self._partition, self._process)

    def __getattr__(self, name: str) -> Any:
        # What the store's tables have beyond the protocol (statistics) is the table's own.
        return getattr(self._rows, name)
