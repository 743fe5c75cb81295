"""The whole data plane on the real broker: traffic in, and everything it left checked against the inputs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from enforcement_check import check, read_topics
from enforcement_worker import running, until_ready
from enforcement_world import Traffic, apply_policies, make_topics, send_all, until_committed

from enforcer.broker import BrokerConfig, KafkaBroker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PARTITIONS = 4


@pytest.fixture
async def broker(bootstrap: str, prefix: str) -> AsyncIterator[KafkaBroker]:
    """The real broker, with all topics."""
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as opened:
        await make_topics(opened, prefix, PARTITIONS)
        yield opened


async def test_every_call_is_decided_once_and_the_rows_are_what_the_inputs_come_to(
    broker: KafkaBroker, prefix: str, tmp_path: Path
) -> None:
    """20,000 requests and their usage: one decision a call, a dense whole chain, money as a naive model has it."""
    versions = {await apply_policies(broker, prefix, 1): 1}
    traffic = Traffic(20_000)
    async with running(broker, prefix, tmp_path, "w1") as worker:
        await until_ready(worker, partitions=PARTITIONS)
        await send_all(broker, prefix, traffic, partitions=PARTITIONS, per_second=20_000)
        await until_committed(broker, prefix, timeout_s=60)
    found = check(await read_topics(broker, prefix), versions)
    assert found.problems == {}, found.examples
    assert found.requests == sum(n for kind, n in traffic.sent.items() if kind != "usage")
    assert min(found.codes[code] for code in ("WORD-1", "budget_exceeded", "CAP-001")) > 100
    await asyncio.sleep(0)
