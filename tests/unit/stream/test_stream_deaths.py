"""A process dies at every one of its operations, before and after it is done; the next one makes it whole."""

from __future__ import annotations

import random

import pytest
from enforcement_check import check, read_topics
from enforcement_world import apply_policies
from stream_cluster import FakeBroker, FakeCluster
from stream_company import (
    PREFIX,
    Disk,
    OwnedEngine,
    ask,
    end_all_tasks,
    is_committed,
    make_cluster,
    make_worker,
    report,
    told,
    until,
    working,
)


def feed(cluster: FakeCluster, number: int) -> None:
    """A few requests and reports: early, late, repeated and unreadable ones among them."""
    name = f"r{number}"
    if number % 7 == 3:
        report(cluster, name, 7_000_000)
    ask(cluster, name, prompt="word1. and more" if number % 5 == 0 else f"text {number}")
    if number % 3 == 0 and number:
        report(cluster, f"r{number - 1}", 5_000_000)
    if number % 6 == 5:
        ask(cluster, f"r{number - 2}", prompt=f"text {number - 2}")


async def live(
    cluster: FakeCluster, disk: Disk, owner: str, *, dies_at: int = 0, after: bool = False
) -> int:
    """One process: until it dies, or everything is in the ledger. Returns its operations."""
    broker = FakeBroker(cluster, dies_at=dies_at, after=after)
    worker = make_worker(broker, disk, OwnedEngine(owner, broker), commit_records_max=3)
    async with working(worker, 0) as task:
        await until(lambda: not broker.alive or task.done() or is_committed(cluster))
        if not broker.alive:
            await end_all_tasks()
    disk.died()
    return broker.operations


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_death_at_any_operation_loses_doubles_and_contradicts_nothing(after: bool) -> None:
    """Every operation in turn is the last one of a process; another takes over, on the same or an empty disk."""
    operation = 0
    while True:
        operation += 1
        cluster, versions = await make_cluster()
        disk = Disk()
        for number in range(8):
            feed(cluster, number)
        lived = await live(cluster, disk, "a", dies_at=operation, after=after)
        for number in range(8, 12):
            feed(cluster, number)
        await live(cluster, disk if operation % 2 else Disk(), "b")
        found = check(await read_topics(FakeBroker(cluster), PREFIX), versions)  # type: ignore[arg-type]
        assert found.problems == {}, (operation, found.examples)
        assert found.lost == found.contradicted == found.doubled == 0
        if lived < operation:
            break
    assert operation > 25


async def test_fifty_deaths_at_random_cost_no_internal_error() -> None:
    """Processes that are killed wherever they stand, under traffic and changing policies: all is as it should be."""
    rng = random.Random(11)
    cluster, versions = await make_cluster()
    disks = [Disk(), Disk()]
    number = 0
    for life in range(50):
        for _ in range(rng.randrange(6)):
            feed(cluster, number)
            number += 1
        if life % 10 == 9:
            versions[await apply_policies(FakeBroker(cluster), PREFIX, life)] = life  # type: ignore[arg-type]
        disk = rng.choice(disks)
        await live(
            cluster, disk, f"p{life}", dies_at=rng.randrange(1, 60), after=rng.random() < 0.5
        )
    await live(cluster, Disk(), "last")
    found = check(await read_topics(FakeBroker(cluster), PREFIX), versions)  # type: ignore[arg-type]
    assert found.problems == {}, found.examples
    assert found.internal_errors == 0
    assert len({d.id for d in told(cluster)}) >= number > 100
