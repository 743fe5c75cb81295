"""The whole data plane on the real broker: traffic in, and everything it left checked against the inputs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from enforcement_check import Findings, check, read_topics
from enforcement_worker import running, until_ready
from enforcement_world import Traffic, apply_policies, make_topics, send_all, until_committed

from enforcer.broker import BrokerConfig, KafkaBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PARTITIONS = 4
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
async def broker(bootstrap: str, prefix: str) -> AsyncIterator[KafkaBroker]:
    """The real broker, with all topics."""
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as opened:
        await make_topics(opened, prefix, PARTITIONS)
        yield opened


async def checked(
    broker: KafkaBroker, prefix: str, traffic: Traffic, versions: dict[str, int]
) -> Findings:
    """Everything that must be true after any run."""
    found = check(await read_topics(broker, prefix), versions)
    assert found.problems == {}, found.examples
    assert found.requests == sum(n for kind, n in traffic.sent.items() if kind != "usage")
    assert (found.lost, found.doubled, found.contradicted) == (0, 0, 0)
    return found


async def test_every_call_is_decided_once_and_the_rows_are_what_the_inputs_come_to(
    broker: KafkaBroker, prefix: str, tmp_path: Path
) -> None:
    """20,000 requests and their usage: one decision a call, a dense whole chain, money as a naive model has it."""
    versions = {await apply_policies(broker, prefix, 1): 1}
    traffic = Traffic(20_000)
    async with running(broker, prefix, tmp_path, "w1") as worker:
        await until_ready(worker, partitions=PARTITIONS)
        await send_all(broker, prefix, traffic, partitions=PARTITIONS, per_second=20_000)
        await until_committed(broker, prefix, timeout_s=90)
    found = await checked(broker, prefix, traffic, versions)
    assert min(found.codes[code] for code in ("WORD-1", "budget_exceeded", "CAP-001")) > 100


async def test_a_stop_and_a_restart_in_mid_flow_go_on_exactly_where_they_were(
    broker: KafkaBroker, prefix: str, tmp_path: Path
) -> None:
    """What was fetched is decided and committed before the stop; the tables are warm, and nothing is read back."""
    versions = {await apply_policies(broker, prefix, 1): 1}
    traffic = Traffic(4_000, seed=2)
    async with asyncio.TaskGroup() as tasks:
        async with running(broker, prefix, tmp_path, "w1") as worker:
            await until_ready(worker, partitions=PARTITIONS)
            sending = send_all(broker, prefix, traffic, partitions=PARTITIONS, per_second=1_500)
            tasks.create_task(sending)
            await asyncio.sleep(2)
        committed = await broker.group_offsets(prefix)
        assert all(committed[f"{prefix}.requests", n] > 50 for n in range(PARTITIONS))
        async with running(broker, prefix, tmp_path, "w1") as worker:
            await until_ready(worker, partitions=PARTITIONS)
            assert set(worker.describe()["restored_rows"].values()) == {0}  # type: ignore[attr-defined]
            await asyncio.sleep(1)
            await until_committed(broker, prefix, timeout_s=60)
            while traffic.sent.get("request") != 4_000:  # noqa: ASYNC110 — the sender is another task
                await asyncio.sleep(0.1)
            await until_committed(broker, prefix, timeout_s=60)
    await checked(broker, prefix, traffic, versions)


async def test_two_workers_share_the_partitions_while_policies_change(
    broker: KafkaBroker, prefix: str, tmp_path: Path
) -> None:
    """A second worker comes and goes under load; every decision names sets that the history holds."""
    versions = {await apply_policies(broker, prefix, 1): 1}
    traffic = Traffic(4_000, seed=3)
    first, second = tmp_path / "w1", tmp_path / "w2"
    async with running(broker, prefix, first, "w1") as one, asyncio.TaskGroup() as tasks:
        await until_ready(one, partitions=PARTITIONS)
        sending = tasks.create_task(
            send_all(broker, prefix, traffic, partitions=PARTITIONS, per_second=500)
        )
        async with running(broker, prefix, second, "w2") as two:
            for version in range(2, 8):
                versions[await apply_policies(broker, prefix, version)] = version
                await asyncio.sleep(0.2)
            await until_ready(two, partitions=PARTITIONS // 2)
            await until_ready(one, partitions=PARTITIONS // 2)
        await until_ready(one, partitions=PARTITIONS)
        await sending
        await until_committed(broker, prefix, timeout_s=60)
    found = await checked(broker, prefix, traffic, versions)
    # Each set in force under load for a while; how many of the six were met depends on who else uses the machine.
    assert len([code for code in found.codes if code.startswith("WORD-")]) >= 3
