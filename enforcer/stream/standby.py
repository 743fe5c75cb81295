"""
Standing by: tables of partitions that are another worker's, kept so close to their changelogs that a takeover reads moments.

Theory of operation
-------------------
One reader, apart from that of the inputs, tails ``state`` and ``calls`` of every partition that the group has told this
worker to stand by for, read committed, and writes what comes into the partition's table in this worker's own directory: rows
and positions in one batch, as a commit does. Such a table is a table like any other. It is trusted for the reasons in
``restore``, and a takeover restores it from its positions to the last stable offset, so that a copy that lags costs time and
never truth.

A partition is *warm* once its reader has been at the end that it knew of, and stays so while it lags by no more than
``WARM_LAG_RECORDS``. The group is told at each rebalance; when all that is to become ours is warm, we ask for one.

A table has one holder: a standby lets go of it before an agent opens it (``want``), and takes it up when the agent is gone.
Whatever fails here costs warmth alone: tables are closed, and after a pause it is tried again. No failure ends the worker.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import structlog

from enforcer.errors import AgentCorruptedError, EnforcerError
from enforcer.stream.commit import write_table
from enforcer.stream.restore import CHANGELOGS, starts_of, why_cold
from enforcer.stream.sweep import CopySweep

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from enforcer.broker.ports import Partition, Reader, Record
    from enforcer.store.table import Table
    from enforcer.stream.services import Services

WARM_LAG_RECORDS: Final = 20_000
"""A takeover reads so many in a fraction of a second."""
POLL_MS: Final = 100
PAUSE_S: Final = 0.1
"""Between two polls: a batch of many rows costs a table less than many of few, and a copy may be that late."""
RENEW_MS: Final = 60_000
"""A copy to which nothing comes is marked as current so often: a table grows old by its last write."""
RETRY_S: Final = 1.0
RETRY_S_MAX: Final = 30.0
SWEEP_ROWS: Final = 200
"""Looked at in each round."""

_log = structlog.get_logger("enforcer.standby")


@dataclass(slots=True)
class Copy:
    """One partition's table, and how far it is."""

    table: Table
    positions: dict[str, int]
    sweep: CopySweep
    is_warm: bool = False
    written_ms: int = 0
    changes: list[tuple[bytes, bytes | None]] = field(default_factory=list)


class Standbys:
    """All copies of one worker. ``run`` is a task of it."""

    def __init__(self, services: Services, *, warmed: Callable[[], None]) -> None:
        """*warmed*: told when another partition has become warm."""
        self._services = services
        self._warmed = warmed
        self._wanted: frozenset[int] = frozenset()
        self._copies: dict[int, Copy] = {}
        self._reader: Reader | None = None
        self._changed = asyncio.Event()

    def want(self, partitions: Collection[int]) -> None:
        """Stand by for exactly these; tables of others are closed when this returns."""
        self._wanted = frozenset(partitions)
        gone = self._copies.keys() - self._wanted
        for partition in gone:
            self._copies.pop(partition).table.close()
            self._services.metrics.standby_forget(partition)
        if gone:
            self._assign()
        self._changed.set()

    def warm(self) -> frozenset[int]:
        """Partitions that could be taken over within moments."""
        return frozenset(n for n, copy in self._copies.items() if copy.is_warm)

    def describe(self) -> dict[str, str]:
        """For /ready: each partition, ``warm``, ``restoring`` or ``waiting``."""
        states = {}
        for partition in sorted(self._wanted):
            copy = self._copies.get(partition)
            is_warm = copy is not None and copy.is_warm
            states[str(partition)] = (
                "warm" if is_warm else "restoring" if copy is not None else "waiting"
            )
        return states

    async def run(self) -> None:
        """Follow until cancelled."""
        wait_s = RETRY_S
        while True:
            begun_s = time.monotonic()
            try:
                await self._follow()
            except EnforcerError as error:
                _log.warning("standby_interrupted", code=error.code, error=str(error))
            finally:
                await self._close()
            is_again = time.monotonic() - begun_s < RETRY_S_MAX
            wait_s = min(wait_s * 2, RETRY_S_MAX) if is_again else RETRY_S
            await asyncio.sleep(wait_s)

    async def _close(self) -> None:
        for partition, copy in self._copies.items():
            copy.table.close()
            self._services.metrics.standby_forget(partition)
        self._copies.clear()
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def _follow(self) -> None:
        """Open what is wanted, read on, write, until something fails."""
        reader = self._reader = await self._services.broker.open_reader(read_committed=True)
        while True:
            if not self._wanted:
                self._changed.clear()
                await self._changed.wait()
            for partition in sorted(self._wanted - self._copies.keys()):
                await self._open(reader, partition)
            polled = await reader.poll(POLL_MS)
            self._collect(polled)
            for partition, copy in list(self._copies.items()):
                self._write(reader, partition, copy)
            await asyncio.sleep(PAUSE_S)

    async def _open(self, reader: Reader, partition: int) -> None:
        """Open the table of *partition* and begin to read where it ends."""
        services = self._services
        places = [(services.config.topic(name), partition) for name in CHANGELOGS]
        begins = await reader.offsets_begin(places)
        ends = await reader.offsets_end(places)
        if partition not in self._wanted:
            return  # Taken over, or given to another, while the broker was asked.
        bounds = {
            name: (begins[place], ends[place])
            for name, place in zip(CHANGELOGS, places, strict=True)
        }
        table = services.open_table(partition)
        try:
            stored = table.meta()
            cold = why_cold(
                stored,
                services.table_meta,
                bounds=bounds,
                now_ms=services.now_ms(),
                age_ms_max=services.table_age_ms_max,
            )
            if cold is not None:
                table.wipe()
                stored = None
        except EnforcerError:
            table.close()
            raise
        positions = starts_of(stored, bounds)
        written_ms = services.now_ms() if stored is None else stored.written_ms
        self._copies[partition] = Copy(table, positions, CopySweep(table), written_ms=written_ms)
        self._assign()
        for name, place in zip(CHANGELOGS, places, strict=True):
            reader.seek(*place, positions[name])
        _log.info("standby_begins", partition=partition, reason=cold)

    def _assign(self) -> None:
        if self._reader is not None:
            topic = self._services.config.topic
            self._reader.assign(
                [(topic(name), n) for n in sorted(self._copies) for name in CHANGELOGS]
            )

    def _collect(self, polled: Mapping[Partition, list[Record]]) -> None:
        for (_, partition), records in polled.items():
            copy = self._copies.get(partition)
            if copy is not None:
                copy.changes.extend((r.key, r.value) for r in records if r.key is not None)

    def _write(self, reader: Reader, partition: int, copy: Copy) -> None:
        """What has come, and how far it goes, in one batch."""
        services = self._services
        topic, now_ms = services.config.topic, services.now_ms()
        changes, copy.changes = copy.changes, []
        positions, lag, is_known = dict(copy.positions), 0, True
        for name in CHANGELOGS:
            position = reader.position(topic(name), partition)
            end = reader.end(topic(name), partition)
            # Past control and aborted records too.
            positions[name] = copy.positions[name] if position is None else position
            is_known = is_known and end is not None
            # Past an end that is known, another end was known before: it is not current, whatever it is.
            lag += abs((end or 0) - positions[name])
        try:
            swept = copy.sweep.step(rows=SWEEP_ROWS) if copy.is_warm else []
            is_old = now_ms - copy.written_ms > RENEW_MS
            is_current = lag == 0 and is_known
            changed = {key for key, _ in changes}
            swept = [key for key in swept if key not in changed]  # Opened anew, it has not ended.
            if changes or swept or positions != copy.positions or (is_old and is_current):
                # Behind, it is as old as it was: a tombstone of what is to come may be compacted away meanwhile.
                written_ms = now_ms if is_current or copy.is_warm else copy.written_ms
                meta = replace(services.table_meta, positions=positions, written_ms=written_ms)
                write_table(copy.table, changes, swept, meta=meta)
                copy.positions, copy.written_ms = positions, written_ms
        except AgentCorruptedError:
            copy.table.wipe()  # Else the next copy would come to the same row.
            raise
        was_warm = copy.is_warm
        copy.is_warm = is_known and lag <= (WARM_LAG_RECORDS if was_warm else 0)
        services.metrics.standby(partition, lag, is_warm=copy.is_warm)
        if copy.is_warm and not was_warm:
            _log.info("standby_warm", partition=partition)
            self._warmed()
