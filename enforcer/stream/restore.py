"""
Making a table whole: which stored tables may be trusted, and reading the rest from the changelogs.

Theory of operation
-------------------
A table in RocksDB is a cache of two changelogs, ``state`` and ``calls``, up to the offsets stored in it in the
same batch as its rows. Restoring is reading on from there, read committed, to the last stable offset, with the
owner of this partition fenced: then nobody can move that end any more.

A stored table is *warm* when reading on gives the same rows as reading everything. It is not when

* it is of another cluster, topic (deleted and made again), schema or partition count: other rows;
* its position is below the log start: records between were deleted, tombstones among them; or above the end:
  the log was truncated;
* it was written longer ago than half of the changelog's ``delete.retention.ms``: a tombstone written since may
  be compacted away already, and its row would rise again.

Then it is wiped and everything is read. Nothing else about a table is believed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import structlog

from enforcer.errors import AgentCorruptedError, UnavailableError
from enforcer.stream.commit import write_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from enforcer.broker.ports import Broker, Reader
    from enforcer.store.table import Meta, Table

CHANGELOGS: Final = ("state", "calls")
POLL_MS: Final = 10
"""Short: what is left of a warm table's tail is often a commit's marker alone, which no poll returns for."""
ROWS_VERSION: Final = "2"
"""Version of the rows' encoding and of what stands beside them: a table of another version is wiped."""

_log = structlog.get_logger("enforcer.restore")


def why_cold(
    stored: Meta | None,
    expected: Meta,
    *,
    bounds: Mapping[str, tuple[int, int]],
    now_ms: int,
    age_ms_max: int,
) -> str | None:
    """
    Why a stored table cannot be trusted, or None when it is warm.

    Args:
        stored: The table's own meta record.
        expected: What a table of this partition must have been written for.
        bounds: Log start and last stable offset of each changelog.
        age_ms_max: Half of ``delete.retention.ms``.
    """
    if stored is None:
        return "new"
    for name in ("cluster_id", "topic_ids", "schema", "partitions"):
        if getattr(stored, name) != getattr(expected, name):
            return f"{name} is another"
    if now_ms - stored.written_ms > age_ms_max:
        return "older than half the tombstone retention"
    if stored.written_ms - now_ms > age_ms_max:
        return "from the future"  # One of the two clocks is wrong, so its age is not known.
    for name, (begin, end) in bounds.items():
        position = stored.positions.get(name, 0)
        if position < begin:
            return f"{name} was deleted past its position"
        if position > end:
            return f"{name} ends before its position"
    return None


def starts_of(stored: Meta | None, bounds: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Where reading begins, by changelog: where a warm table ends, else at the log start."""
    return {n: stored.positions.get(n, 0) if stored else bounds[n][0] for n in CHANGELOGS}


@dataclass(frozen=True, slots=True)
class Restored:
    """A table that is whole. *rows* were read: of a warm table only the missing tail."""

    rows: int
    positions: dict[str, int]
    cold: str | None


async def restore(  # noqa: PLR0913 — each is one thing a restore needs of its worker
    broker: Broker,
    table: Table,
    *,
    partition: int,
    topic: Callable[[str], str],
    identity: Meta,
    now_ms: int,
    age_ms_max: int,
    silence_s: float,
    progress: Callable[[int, int], None] | None = None,
) -> Restored:
    """
    Bring *table* to the end of its changelogs. The partition's last owner must be fenced already.

    Args:
        silence_s: How long the broker may give nothing before it counts as gone. The whole has no limit.
        progress: Told records read and records to read, as offsets go.

    Raises: AgentCorruptedError when the log lost records while it was read, and then the table is empty;
    UnavailableError.
    """
    reader = await broker.open_reader(read_committed=True)
    try:
        return await _restore(
            reader,
            table,
            {name: (topic(name), partition) for name in CHANGELOGS},
            identity=identity,
            now_ms=now_ms,
            age_ms_max=age_ms_max,
            silence_s=silence_s,
            progress=progress,
        )
    except AgentCorruptedError:
        table.wipe()
        raise
    finally:
        await reader.close()


async def _restore(
    reader: Reader,
    table: Table,
    partitions: Mapping[str, tuple[str, int]],
    *,
    identity: Meta,
    now_ms: int,
    age_ms_max: int,
    silence_s: float,
    progress: Callable[[int, int], None] | None,
) -> Restored:
    begins = await reader.offsets_begin(list(partitions.values()))
    ends = await reader.offsets_end(list(partitions.values()))
    bounds = {name: (begins[tp], ends[tp]) for name, tp in partitions.items()}
    stored = table.meta()
    cold = why_cold(stored, identity, bounds=bounds, now_ms=now_ms, age_ms_max=age_ms_max)
    if cold is not None:
        if cold != "new":
            _log.warning("table_wiped", partition=partitions["state"][1], reason=cold)
        table.wipe()
        stored = None
    starts = starts_of(stored, bounds)
    reader.assign(list(partitions.values()))
    for name, tp in partitions.items():
        reader.seek(*tp, starts[name])
    # Until all is read, a table is as old as what it went on from: a tombstone of the rest may be compacted
    # away before somebody goes on from here.
    begun_ms = now_ms if stored is None else stored.written_ms
    positions, rows = dict(starts), 0
    total = sum(bounds[name][1] - starts[name] for name in CHANGELOGS)
    moved_s = time.monotonic()
    while any(positions[name] < bounds[name][1] for name in CHANGELOGS):
        changes: list[tuple[bytes, bytes | None]] = []
        for records in (await reader.poll(POLL_MS)).values():
            changes.extend((r.key, r.value) for r in records if r.key is not None)
        # Past control and aborted records too: a position counts what need not be read again.
        before, positions = positions, {n: _reached(reader, *partitions[n]) for n in CHANGELOGS}
        if positions != before:
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > silence_s:
            raise UnavailableError(f"the changelog of partition {partitions['state'][1]} is silent")
        if changes:
            meta = replace(identity, positions=positions, written_ms=begun_ms)
            write_table(table, changes, [], meta=meta)
            rows += len(changes)
        if progress is not None:
            progress(total - sum(max(0, bounds[n][1] - positions[n]) for n in CHANGELOGS), total)
    write_table(table, [], [], meta=replace(identity, positions=positions, written_ms=now_ms))
    return Restored(rows, positions, cold)


def _reached(reader: Reader, topic: str, partition: int) -> int:
    position = reader.position(topic, partition)
    assert position is not None, "it was sought"
    return position
