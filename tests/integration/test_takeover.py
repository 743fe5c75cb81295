"""Takeovers on the real broker: warm and cold tables, and what a death costs those who live."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from enforcement_check import check, read_topics
from enforcement_fleet import Fleet
from enforcement_worker import running, until_ready
from enforcement_world import (
    Traffic,
    apply_policies,
    make_topics,
    read,
    send_all,
    until_committed,
)

from enforcer import events
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.stream.tables import open_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from enforcer.store import Meta

PARTITIONS = 2
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
async def broker(bootstrap: str, prefix: str) -> AsyncIterator[KafkaBroker]:
    """The real broker, with all topics."""
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as opened:
        await make_topics(opened, prefix, PARTITIONS)
        yield opened


async def work(
    broker: KafkaBroker, prefix: str, state_dir: Path, name: str, traffic: Traffic
) -> dict[str, int]:
    """Decide all of *traffic* by one worker; how many rows it had to read back, by partition."""
    async with running(broker, prefix, state_dir, name) as worker:
        await until_ready(worker, partitions=PARTITIONS)
        await send_all(broker, prefix, traffic, partitions=PARTITIONS, per_second=5_000)
        await until_committed(broker, prefix, timeout_s=60)
        return dict(worker.describe()["restored_rows"])  # type: ignore[call-overload]


def stored(state_dir: Path, partition: int) -> tuple[Meta, dict[str, bytes]]:
    """What a table holds, its worker being stopped."""
    table = open_table(state_dir, partition)
    try:
        meta = table.meta()
        assert meta is not None
        return meta, {key.decode(): value for key, value in table.scan()}
    finally:
        table.close()


async def test_a_warm_table_needs_only_what_came_since(
    broker: KafkaBroker, bootstrap: str, prefix: str, tmp_path: Path
) -> None:
    """The changelogs' heads are deleted up to the stored positions: the rest suffices, and is all that is read."""
    versions = {await apply_policies(broker, prefix, 1): 1}
    first, second = tmp_path / "w1", tmp_path / "w2"
    assert await work(broker, prefix, first, "w1", Traffic(600, seed=1)) == {"0": 0, "1": 0}
    cold = await work(broker, prefix, second, "w2", Traffic(100, seed=2, name="s"))
    await delete_heads(broker, bootstrap, prefix, first)
    warm = await work(broker, prefix, first, "w1", Traffic(100, seed=3, name="t"))
    assert all(0 < warm[n] < cold[n] for n in cold), (warm, cold)

    tables = {n: stored(first, n)[1] for n in range(PARTITIONS)}
    found = check(await read_topics(broker, prefix), versions, tables=tables)
    assert found.problems == {}, found.examples


async def delete_heads(broker: KafkaBroker, bootstrap: str, prefix: str, state_dir: Path) -> None:
    """Delete from both changelogs what the tables in *state_dir* have."""
    changed = {"cleanup.policy": "compact,delete"}
    await broker.alter_topic_configs({f"{prefix}.state": changed})
    wanted = {
        TopicPartition(f"{prefix}.{name}", n): RecordsToDelete(offset)
        for n in range(PARTITIONS)
        for name, offset in stored(state_dir, n)[0].positions.items()
    }
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_records(wanted)
    finally:
        await admin.close()
    reader = await broker.open_reader()
    begins = await reader.offsets_begin([(tp.topic, tp.partition) for tp in wanted])
    await reader.close()
    assert begins == {(tp.topic, tp.partition): w.before_offset for tp, w in wanted.items()}


async def test_a_table_that_cannot_be_trusted_is_read_back_whole(
    broker: KafkaBroker, prefix: str, tmp_path: Path
) -> None:
    """Of another cluster, of another partition count, or damaged: wiped, and what was in it is gone."""
    versions = {await apply_policies(broker, prefix, 1): 1}
    state_dir = tmp_path / "w1"
    await work(broker, prefix, state_dir, "w1", Traffic(300, seed=1))
    lie = events.encode_budget_row(events.BudgetRow(10**15, 0, 0))
    for number, change in enumerate(({"cluster_id": "another"}, {"partitions": 99})):
        table = open_table(state_dir, 0)
        meta = table.meta()
        assert meta is not None
        table.write({b"b/acme%2Ft1/limits/account//total": lie}, meta=replace(meta, **change))
        table.close()
        rows = await work(
            broker, prefix, state_dir, "w1", Traffic(20, seed=5, name=f"again{number}-")
        )
        assert rows["0"] > 100
        assert rows["1"] == 0
    for file in (state_dir / "p1").glob("*.sst"):
        file.write_bytes(b"damaged")
    (state_dir / "p1" / "CURRENT").write_bytes(b"damaged")
    rows = await work(broker, prefix, state_dir, "w1", Traffic(20, seed=6, name="damaged-"))
    assert rows["1"] > 100

    tables = {n: stored(state_dir, n)[1] for n in range(PARTITIONS)}
    found = check(await read_topics(broker, prefix), versions, tables=tables)
    assert found.problems == {}, found.examples


async def test_survivors_of_a_kill_do_not_stop(bootstrap: str, prefix: str, tmp_path: Path) -> None:
    """One of three workers is killed: the other two's partitions have no gap over half a second."""
    count = 6
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, count)
        versions = {await apply_policies(broker, prefix, 1): 1}
        fleet = Fleet({"bootstrap": bootstrap, "prefix": prefix}, tmp_path)
        names = ["w0", "w1", "w2"]
        for name in names:
            fleet.start(name)
        try:
            await fleet.until_ready(*names)
            traffic = Traffic(3_000)
            sending = asyncio.create_task(
                send_all(broker, prefix, traffic, partitions=count, per_second=400)
            )
            await asyncio.sleep(3)
            fleet.signal("w1", signal.SIGKILL)
            await sending
            await until_committed(broker, prefix, timeout_s=60)
            assert await fleet.end() == [0, 0]
            assert fleet.processes["w1"].poll() == -signal.SIGKILL
        finally:
            fleet.kill()
        found = check(await read_topics(broker, prefix), versions)
        assert found.problems == {}, found.examples
        gaps_ms = await _gaps_ms(broker, prefix)
        assert len(gaps_ms) == count - 2, gaps_ms
        assert max(gaps_ms.values()) < 500, gaps_ms


async def _gaps_ms(broker: KafkaBroker, prefix: str) -> dict[int, int]:
    """The longest time without a verdict of each partition that had one owner after the load began."""
    gaps: dict[int, int] = {}
    for partition, records in (
        await read(broker, prefix, "decisions", read_committed=False)
    ).items():
        decoded = [(r.timestamp, events.read_decision(r.value or b"")) for r in records]
        claims = [at for at, each in decoded if isinstance(each, events.Claim)]
        told = [at for at, each in decoded if isinstance(each, events.Decision)]
        if claims[-1] < told[0]:
            gaps[partition] = max(after - before for before, after in pairwise(told))
    return gaps
