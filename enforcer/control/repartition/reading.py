"""What stands in the topics before anything is moved: rows, inputs that wait, verdicts that are in no ledger yet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from enforcer.errors import ConflictError, UnavailableError
from enforcer.store import RocksTable
from enforcer.store.table import Meta
from enforcer.stream.commit import offsets_of
from enforcer.stream.restore import ROWS_VERSION, restore
from enforcer.stream.tail import read_tail
from enforcer.stream.topology import INPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from enforcer.broker.ports import Broker, Reader, Record
    from enforcer.events import PositionRow

WAITING_MAX: Final = 20_000
"""Inputs of one partition that may wait: they are sent on in one transaction."""
SILENCE_S: Final = 30.0
POLL_MS: Final = 100
DRAIN: Final = "start a worker, wait until its lag is 0, and stop it (SIGTERM): it drains"


async def restored(
    broker: Broker, prefix: str, partition: int, *, partitions: int, path: Path
) -> RocksTable:
    """The rows of a partition, whose last owner is fenced, in a table at *path*."""
    table = RocksTable(path)
    await restore(
        broker,
        table,
        partition=partition,
        topic=lambda name: f"{prefix}.{name}",
        identity=Meta(cluster_id="", topic_ids={}, schema=ROWS_VERSION, partitions=partitions),
        now_ms=0,
        age_ms_max=1,
        silence_s=SILENCE_S,
    )
    return table


async def waiting(
    broker: Broker,
    prefix: str,
    partition: int,
    *,
    position: PositionRow | None,
    counts: Mapping[str, int],
) -> dict[str, list[Record]]:
    """The inputs of a partition that nobody has taken yet, by topic; at most one more than may wait."""
    offsets = offsets_of(position) if position is not None else (0, 0, 0)
    found: dict[str, list[Record]] = {name: [] for name in INPUTS}
    reader = await broker.open_reader(read_committed=True)
    try:
        for name, offset in zip(INPUTS, offsets, strict=True):
            if partition < counts[name]:
                found[name] = await _read(reader, (f"{prefix}.{name}", partition), offset)
    finally:
        await reader.close()
    return found


async def _read(reader: Reader, place: tuple[str, int], offset: int) -> list[Record]:
    end = (await reader.offsets_end([place]))[place]
    begin = (await reader.offsets_begin([place]))[place]
    reader.assign([place])
    reader.seek(*place, max(offset, begin))
    records: list[Record] = []
    silent_s = asyncio.get_running_loop().time()
    while (reader.position(*place) or 0) < end and len(records) <= WAITING_MAX:
        polled = (await reader.poll(POLL_MS)).get(place, [])
        records += [record for record in polled if record.offset < end]
        now_s = asyncio.get_running_loop().time()
        silent_s = now_s if polled else silent_s
        if now_s - silent_s > SILENCE_S:
            raise UnavailableError(f"{place[0]}-{place[1]} cannot be read")
    return records


async def check_drained(
    broker: Broker,
    prefix: str,
    partition: int,
    *,
    position: PositionRow | None,
    inputs: Mapping[str, list[Record]],
) -> None:
    """Raise ConflictError where more waits than can be sent on, or verdicts were told that no ledger has."""
    if max(len(records) for records in inputs.values()) > WAITING_MAX:
        raise ConflictError(
            f"partition {partition} has more than {WAITING_MAX} inputs that nobody has decided",
            help=DRAIN,
            code="not_drained",
        )
    start, taken = (0, 0) if position is None else (position.tail_start, position.request_offset)
    reader = await broker.open_reader(read_committed=False)
    try:
        records = await _read(reader, (f"{prefix}.decisions", partition), start)
    finally:
        await reader.close()
    told = read_tail(records, request_offset=taken)
    if told:
        raise ConflictError(
            f"partition {partition} has {len(told)} verdicts that were told and are not in the ledger yet",
            help=DRAIN,
            code="not_drained",
        )
