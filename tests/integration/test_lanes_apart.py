"""The ledger never delays a verdict: what the two lanes owe each other, on the real broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from enforcement_check import check, read_topics
from enforcement_worker import running, until_ready
from enforcement_world import TENANT, apply_policies, make_topics, until_committed

from enforcer import events
from enforcer.broker import BrokerConfig, KafkaBroker
from enforcer.broker.producer import KafkaLedger
from enforcer.client import Gateway

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 2
CALLS = 60
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def request(number: int) -> events.Request:
    return events.Request(
        f"stalled{number}",
        TENANT,
        user=events.User("u1"),
        team=events.Team(f"t{number % 8}"),
        project=events.Project("p1"),
        llm=events.Llm("nobody", "unpriced", max_tokens=9, prompt=f"number {number}"),
    )


async def test_verdicts_go_on_while_a_commit_stands_still(
    bootstrap: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every partition's commit is held in its last step: each call still gets its verdict, and is in the ledger later."""
    held, may_end = 0, asyncio.Event()
    may_end.set()
    commit = KafkaLedger.commit

    async def stalled(ledger: KafkaLedger) -> None:
        nonlocal held
        held += not may_end.is_set()
        await may_end.wait()
        await commit(ledger)

    monkeypatch.setattr(KafkaLedger, "commit", stalled)
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, PARTITIONS)
        versions = {await apply_policies(broker, prefix, 1): 1}
        async with (
            running(broker, prefix, tmp_path, "w1") as worker,
            Gateway(broker, prefix=prefix) as gateway,
        ):
            await until_ready(worker, partitions=PARTITIONS)
            may_end.clear()
            async with asyncio.timeout(30):
                # The first calls make work for the commits that then stand still.
                outcomes = [await gateway.decide(request(n), 20_000) for n in range(CALLS)]
                while held < PARTITIONS:  # noqa: ASYNC110 — the agents tell nobody
                    await asyncio.sleep(0.01)
                late = [await gateway.decide(request(CALLS + n), 20_000) for n in range(CALLS)]
            assert held == PARTITIONS
            assert not any(outcome.by_timeout for outcome in outcomes + late)
            may_end.set()
            await until_committed(broker, prefix, timeout_s=30)
        found = check(await read_topics(broker, prefix), versions)
        assert found.problems == {}, found.examples
        assert (found.requests, found.lost, found.doubled) == (2 * CALLS, 0, 0)


async def timed(gateway: Gateway, first: int, count: int) -> list[float]:
    """Milliseconds of as many calls, 10 ms apart, ascending."""
    calls = []
    for number in range(first, first + count):
        calls.append(asyncio.create_task(gateway.decide(request(number), 20_000)))
        await asyncio.sleep(0.01)
    return sorted(outcome.latency_ms for outcome in await asyncio.gather(*calls))


async def test_commits_that_take_half_a_second_leave_the_slowest_verdicts_as_they_are(
    bootstrap: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 99th percentile beside that of the same traffic before: a verdict that waited would be 500 ms late."""
    stall_s, stalled = 0.0, 0
    commit = KafkaLedger.commit

    async def slow(ledger: KafkaLedger) -> None:
        nonlocal stalled
        stalled += stall_s > 0
        await asyncio.sleep(stall_s)
        await commit(ledger)

    monkeypatch.setattr(KafkaLedger, "commit", slow)
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, PARTITIONS)
        versions = {await apply_policies(broker, prefix, 1): 1}
        async with (
            running(broker, prefix, tmp_path, "w1") as worker,
            Gateway(broker, prefix=prefix) as gateway,
        ):
            await until_ready(worker, partitions=PARTITIONS)
            await timed(gateway, 10_000, 100)
            before = await timed(gateway, 20_000, 300)
            stall_s = 0.5
            during = await timed(gateway, 30_000, 300)
            stall_s = 0.0
            await until_committed(broker, prefix, timeout_s=30)
        assert stalled >= 4, "commits were under way all the time"
        p99 = 300 * 99 // 100
        assert during[p99] < before[p99] + 250, (before[p99], during[p99])
        found = check(await read_topics(broker, prefix), versions)
        assert found.problems == {}, found.examples
        assert (found.requests, found.lost, found.doubled) == (700, 0, 0)
