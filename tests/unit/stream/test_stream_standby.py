"""A copy of a partition's tables: how old it is, and what becomes of one that cannot be read."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from stream_desk import NOW_MS, Cluster, Office, position, until

from enforcer import events
from enforcer.stream import standby
from enforcer.stream.standby import Copy, Standbys
from enforcer.stream.sweep import CopySweep


@contextlib.asynccontextmanager
async def copying(office):
    """A worker's copies of partition 0."""
    copies = Standbys(office, warmed=lambda: None)
    copies.want([0])
    task = asyncio.create_task(copies.run())
    try:
        yield copies
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=5)


@pytest.fixture
def office(monkeypatch):
    monkeypatch.setattr(standby, "RETRY_S", 0.02)
    monkeypatch.setattr(standby, "RETRY_S_MAX", 0.05)
    monkeypatch.setattr(standby, "PAUSE_S", 0.001)
    made = Office(Cluster())
    made.broker.log("state").append(b"p", events.encode_position_row(position()))
    return made


async def test_a_row_that_cannot_be_read_wipes_its_copy(office):
    """Else each further copy would come to it, and none would ever be warm for long."""
    positions = {"state": 1, "calls": 0}
    meta = replace(office.table_meta, positions=positions, written_ms=NOW_MS)
    office.table.write(
        {b"p": events.encode_position_row(position()), b"c/acme/r/1": b""}, meta=meta
    )
    async with copying(office) as copies:
        await until(lambda: office.table.rows().keys() == {b"p"} and copies.warm() == {0})


async def test_a_copy_that_is_behind_is_as_old_as_it_was(office):
    """Tombstones of what it has still to read may be compacted away before somebody goes on from it."""
    meta = replace(office.table_meta, positions={"state": 0, "calls": 0}, written_ms=NOW_MS - 5)
    office.table.write({}, meta=meta)
    for number in range(6):
        office.broker.log("calls").append(b"c/%d" % number, None)
    office.broker.per_poll = 1
    ages = []
    write = office.table.write

    def watched(puts, deletes=(), *, meta=None):
        write(puts, deletes, meta=meta)
        ages.append((sum(meta.positions.values()) == 7, meta.written_ms))

    office.table.write = watched
    async with copying(office) as copies:
        await until(lambda: copies.warm() == {0})
    assert len(ages) > 2
    assert set(ages) == {(False, NOW_MS - 5), (True, NOW_MS)}


async def test_a_copy_past_the_end_of_its_log_is_not_warm(office):
    """A log that ends before what was read of it was cut, or is another: nothing is known of how far the copy is."""

    class Cut:
        def position(self, topic, partition):
            return 10 if topic.endswith("state") else 0

        def end(self, topic, partition):
            return 4 if topic.endswith("state") else 0

    copies = Standbys(office, warmed=lambda: None)
    copy = Copy(office.table, {"state": 10, "calls": 0}, CopySweep(office.table))
    copies._write(Cut(), 0, copy)
    assert not copy.is_warm
