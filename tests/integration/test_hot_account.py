"""One account with nearly all of the traffic: the agents of the others go on as if it were not there."""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING

import pytest
from enforcement_worker import running, until_ready
from enforcement_world import TENANT, apply_policies, make_topics, read, until_committed

from enforcer import events
from enforcer.broker import BrokerConfig, KafkaBroker

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 4
BACKLOG, OTHERS = 3_000, 60
HOT = "t0"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def request(name: str, team: str) -> tuple[bytes, bytes]:
    """Key and value of a call."""
    account = events.account_of(TENANT, team, ("tenant", "team.id")).encode()
    llm = events.Llm("nobody", "unpriced", max_tokens=9, prompt=f"number {name}")
    asked = events.Request(
        name, TENANT, team=events.Team(team), project=events.Project("p1"), llm=llm
    )
    return account, events.encode_request(asked)


async def test_a_hot_account_starves_no_other_partition(
    bootstrap: str, prefix: str, tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    """Behind a backlog of one account, calls of other partitions are told long before that backlog is."""
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as broker:
        await make_topics(broker, prefix, PARTITIONS)
        await apply_policies(broker, prefix, 1)
        async with running(broker, prefix, tmp_path, "w1") as worker:
            await until_ready(worker, partitions=PARTITIONS)
            producer = await broker.open_producer()
            await producer.prepare([f"{prefix}.requests"])
            hot = events.partition_of(request("", HOT)[0], PARTITIONS)
            teams = [f"t{n}" for n in range(1, 60)]
            cold = [t for t in teams if events.partition_of(request("", t)[0], PARTITIONS) != hot]
            made = [(*request(f"h{n}", HOT), (), None) for n in range(BACKLOG)]
            await producer.send(f"{prefix}.requests", hot, made)
            for number in range(OTHERS):
                key, value = request(f"o{number}", cold[number % len(cold)])
                place = events.partition_of(key, PARTITIONS)
                await producer.send(f"{prefix}.requests", place, [(key, value, (), None)])
                await asyncio.sleep(0.005)
            await producer.close()
            await until_committed(broker, prefix, timeout_s=60)
        asked = await read(broker, prefix, "requests")
        told = await read(broker, prefix, "decisions", read_committed=False)
    waits: dict[bool, list[int]] = {True: [], False: []}
    ends: dict[bool, list[int]] = {True: [], False: []}
    for partition, records in told.items():
        times = {record.offset: record.timestamp for record in asked[partition]}
        for record in records:
            decision = events.read_decision(record.value or b"")
            if isinstance(decision, events.Decision):
                is_hot = partition == hot
                waits[is_hot].append(record.timestamp - times[decision.source.offset])
                ends[is_hot].append(record.timestamp)
    assert (len(waits[True]), len(waits[False])) == (BACKLOG, OTHERS)
    figures = {
        "hot_last_ms": max(waits[True]),
        "others_median_ms": round(statistics.median(waits[False])),
        "others_max_ms": max(waits[False]),
    }
    for name, figure in figures.items():
        record_property(name, figure)
    # Beside its own measure: whoever stood behind the backlog would have waited as long as its end.
    assert figures["others_median_ms"] < figures["hot_last_ms"] / 2
