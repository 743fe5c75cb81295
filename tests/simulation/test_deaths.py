"""A process dies at every one of its operations, before and after it is done; the next one makes it whole."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from enforcement_check import Findings, check, read_topics
from enforcement_world import TENANT, apply_policies, make_topics
from structlog.testing import CapturingLoggerFactory
from universe import JudgingEngine, quick_config

from enforcer import events
from enforcer.stream.worker import Worker
from enforcer.telemetry import Metrics
from enforcer.testing.simulation import (
    Cluster,
    Disk,
    Process,
    SimulatedBroker,
    SimulatedLoop,
    Weather,
    simulated_clock,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from enforcer.testing.simulation.weather import When

PREFIX = "d"
ACCOUNT = f"{TENANT}/t1".encode()
FINISH_S = 60.0
"""Within which all must be in the ledger, by the simulated clock."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Workers log into nothing."""
    structlog.configure(logger_factory=CapturingLoggerFactory())
    yield
    structlog.reset_defaults()


class Deadly(Weather):
    """Fair weather, but that the process called *victim* dies at its *dies_at*-th operation."""

    def __init__(self) -> None:
        super().__init__()
        self.victim = ""
        self.dies_at = 0
        self.when: When = "before"
        self.operations = 0

    def aim(self, victim: str, dies_at: int, when: When) -> None:
        """Choose who dies, and where; *dies_at* 0: nobody, and its operations are counted."""
        self.victim, self.dies_at, self.when, self.operations = victim, dies_at, when, 0

    def at(self, site: str, when: When, process: Process) -> None:
        """See ``Weather``."""
        if process.name == self.victim and when == self.when and process.is_alive:
            self.operations += 1
            if self.operations == self.dies_at:
                self.marks.sometimes(f"killed {when} {site}")
                process.kill()


class World:
    """A cluster with policies in force, and whoever lives on it, one process after the other."""

    def __init__(self) -> None:
        self.weather = Deadly()
        self.cluster = Cluster(self.weather)
        self.client = SimulatedBroker(self.cluster, Process("client"))
        self.versions: dict[str, int] = {}
        self.fed = 0

    async def prepare(self) -> None:
        """Make topics, and put policies in force."""
        await make_topics(self.client, PREFIX, 1)
        await self.change_policies(1)

    async def change_policies(self, version: int) -> None:
        """Another revision."""
        self.versions[await apply_policies(self.client, PREFIX, version)] = version

    def put(self, topic: str, value: bytes) -> None:
        """Append one record to an input."""
        log = self.cluster.log(f"{PREFIX}.{topic}", 0)
        log.append([(ACCOUNT, value, (), None)], now_ms=self.cluster.time_ms())

    def ask(self, name: str, prompt: str) -> None:
        """Send a request."""
        llm = events.Llm("nobody", "unpriced", max_tokens=10, prompt=prompt)
        team, project = events.Team("t1"), events.Project("p1")
        asked = events.Request(name, TENANT, team=team, project=project, llm=llm)
        self.put("requests", events.encode_request(asked))

    def report(self, name: str, cost_usd_nano: int) -> None:
        """Send a usage report."""
        usage = events.Usage(
            name, TENANT, outcome="completed", cost_usd_nano=cost_usd_nano, team="t1"
        )
        self.put("usage", events.encode_usage(usage))

    def feed(self, count: int) -> None:
        """Requests and reports: early, late and repeated ones among them."""
        for number in range(self.fed, self.fed + count):
            if number % 7 == 3:
                self.report(f"r{number}", 7_000_000)
            self.ask(f"r{number}", "word1. and more" if number % 5 == 0 else f"text {number}")
            if number % 3 == 0 and number:
                self.report(f"r{number - 1}", 5_000_000)
            if number % 6 == 5:
                self.ask(f"r{number - 2}", f"text {number - 2}")
        self.fed += count

    def is_committed(self) -> bool:
        """Whether every input record is in the ledger."""
        rows = [
            events.decode_position_row(entry.value or b"")
            for entry in self.cluster.log(f"{PREFIX}.state", 0).entries
            if entry.status == "committed" and entry.key == b"p"
        ]
        ends = [self.cluster.log(f"{PREFIX}.{name}", 0).end for name in ("requests", "usage")]
        return bool(rows) and [rows[-1].request_offset, rows[-1].usage_offset] == ends

    async def live(self, owner: str, disk: Disk, dies_at: int = 0, when: When = "before") -> int:
        """One process: until it dies, or everything is in the ledger. How many operations it did."""
        self.weather.aim(owner, dies_at, when)
        process = Process(owner)
        worker = Worker(
            quick_config(PREFIX, "w1", commit_records_max=3, commit_interval_ms=5),
            broker=SimulatedBroker(self.cluster, process),
            engine=JudgingEngine(process, self.weather.marks),
            metrics=Metrics(),
            open_table=lambda partition: disk.open(partition, process),
        )
        loop: Any = asyncio.get_running_loop()
        task = loop.spawn(process, worker.run())
        async with asyncio.timeout(FINISH_S):
            while process.is_alive and not task.done() and not self.is_committed():  # noqa: ASYNC110 — as below
                await asyncio.sleep(0.003)
            if process.is_alive:
                worker.stop()
            while process.is_alive and not task.done():  # noqa: ASYNC110 — the dead set no events
                await asyncio.sleep(0.003)
        if process.is_alive:
            await task
        return self.weather.operations

    async def found(self) -> Findings:
        """What is wrong with what the topics hold."""
        return check(await read_topics(self.client, PREFIX), self.versions)


def played(play: Callable[[World], Awaitable[Any]], seed: str) -> Any:
    """Run *play* in a world of its own, on a clock that costs nothing."""
    loop = SimulatedLoop(random.Random(seed))
    with simulated_clock(loop):
        try:
            return loop.run_until_complete(play(World()))
        finally:
            loop.bury()


async def a_death(world: World, operation: int, when: When) -> tuple[Findings, int, Counter[str]]:
    """One process dies at *operation*; another takes over, on the same disk or an empty one."""
    await world.prepare()
    disk = Disk(world.weather)
    world.feed(8)
    lived = await world.live("a", disk, operation, when)
    world.feed(4)
    await world.live("b", disk if operation % 2 else Disk(world.weather))
    return await world.found(), lived, world.weather.marks.seen


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_death_at_any_operation_loses_doubles_and_contradicts_nothing(when: When) -> None:
    """Every operation in turn is the last one of a process; another takes over, on the same or an empty disk."""
    seen = Counter[str]()
    operation = 0
    while True:
        operation += 1
        found, lived, marks = played(
            lambda world, at=operation: a_death(world, at, when), f"{when} {operation}"
        )
        assert found.problems == {}, (operation, found.examples)
        assert found.lost == found.contradicted == found.doubled == 0
        seen.update(marks)
        if lived < operation:
            break
    sites = {what.removeprefix(f"killed {when} ") for what in seen if what.startswith("killed")}
    assert {"ledger.start", "fast.send decisions", "ledger.commit", "table.write"} <= sites
    assert operation > 40


def test_fifty_deaths_at_random_cost_no_internal_error() -> None:
    """Processes that are killed wherever they stand, under traffic and changing policies: all is as it should be."""
    rng = random.Random(11)

    async def play(world: World) -> tuple[Findings, int, int]:
        await world.prepare()
        disks = [Disk(world.weather), Disk(world.weather)]
        for life in range(50):
            world.feed(rng.randrange(6))
            if life % 10 == 9:
                await world.change_policies(life)
            when: When = "after" if rng.random() < 0.5 else "before"
            await world.live(f"p{life}", rng.choice(disks), rng.randrange(1, 60), when)
        await world.live("last", Disk(world.weather))
        killed = sum(count for what, count in world.weather.marks.seen.items() if "killed" in what)
        return await world.found(), world.fed, killed

    found, fed, killed = played(play, "fifty")
    assert found.problems == {}, found.examples
    assert found.internal_errors == 0
    assert found.decided >= fed > 100
    assert killed > 25
