"""A worker on a cluster in memory, with the policies of ``enforcement_world``; and processes that die."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enforcement_world import TENANT, apply_policies
from stream_cluster import Died, Entry, FakeBroker, FakeCluster

from enforcer import events
from enforcer.engine import Engine
from enforcer.engine.denials import deny
from enforcer.store import MemoryTable
from enforcer.stream.config import WorkerConfig
from enforcer.stream.worker import Worker
from enforcer.telemetry import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PREFIX = "e"


class KeptTable(MemoryTable):
    """A table that outlives its process: closing it only lets it go."""

    is_open = False

    def close(self) -> None:
        """Let go."""
        self.is_open = False


class Disk:
    """The tables of one worker's state directory."""

    def __init__(self) -> None:
        self.tables: dict[int, KeptTable] = {}

    def open(self, partition: int) -> KeptTable:
        """The table, which nobody else may have open."""
        table = self.tables.setdefault(partition, KeptTable())
        assert not table.is_open, "two agents have one table open"
        table.is_open = True
        return table

    def died(self) -> None:
        """The process is gone, and its locks with it."""
        for table in self.tables.values():
            table.is_open = False


class OwnedEngine(Engine):
    """Verdicts depend on who decides; what is in ``raises`` raises, what is in ``kills`` kills."""

    def __init__(self, owner: str = "", broker: FakeBroker | None = None) -> None:
        super().__init__()
        self.owner = owner
        self.broker = broker
        self.raises: set[str] = set()
        self.kills: set[str] = set()
        self.decided: list[str] = []

    def request(self, *rest: Any) -> Any:
        """As the engine, but for what raises outside of its own guard."""
        outcome = super().request(*rest)
        name = outcome.decision.request_id if outcome.decision is not None else ""
        if name in self.raises:
            raise ValueError("a bug")
        self.decided.append(name)
        return outcome

    def _ruling(self, case: Any, *rest: Any) -> Any:
        if case.request.id in self.kills and self.broker is not None:
            self.broker.alive = False
            raise Died
        ruling = super()._ruling(case, *rest)
        if self.owner:
            drawn = zlib.crc32(f"{self.owner} {case.request.id}".encode())
            if drawn % 3 == 0 and ruling.verdict != "deny":
                ruling = deny("owner", "this process says no")
            ruling.warnings.append(events.Reason("", "", "warn", "owner", self.owner))
        return ruling


def make_config(**settings: Any) -> WorkerConfig:
    """A worker's settings, quick enough for tests."""
    quick = {"commit_interval_ms": 5, "commits_per_second": 1_000, "lone_input_wait_ms": 5}
    return WorkerConfig(
        prefix=PREFIX,
        group_id=PREFIX,
        instance_id="w1",
        state_dir=Path("unused"),
        **{**quick, **settings},
    )


async def make_cluster(partitions: int = 1) -> tuple[FakeCluster, dict[str, int]]:
    """A cluster with the first policies in force, and which revision each set is."""
    cluster = FakeCluster(partitions)
    return cluster, {await apply_policies(FakeBroker(cluster), PREFIX, 1): 1}


def make_worker(
    broker: FakeBroker, disk: Disk, engine: Engine | None = None, **settings: Any
) -> Worker:
    """A worker on *broker*."""
    return Worker(
        make_config(**settings),
        broker=broker,
        engine=engine or OwnedEngine(),
        metrics=Metrics(),
        open_table=disk.open,
    )


@contextlib.asynccontextmanager
async def working(worker: Worker, *partitions: int) -> AsyncIterator[asyncio.Task[None]]:
    """Run *worker*, owning *partitions*; stopped and drained at the end, unless it has ended by itself."""
    broker: Any = worker.broker
    task = asyncio.create_task(worker.run())
    try:
        await until(lambda: bool(broker.memberships) or task.done())
        if broker.memberships:
            broker.memberships[-1].give(*partitions)
        yield task
    finally:
        if not task.done():
            worker.stop()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Any, *, timeout_s: float = 20.0) -> None:
    """Return when *condition* holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 — whatever it is that changes it
            await asyncio.sleep(0.001)


def put(cluster: FakeCluster, name: str, value: bytes, *, account: str, **more: Any) -> int:
    """Append one record to an input; its offset."""
    key = account.encode()
    partition = more.pop("partition", events.partition_of(key, cluster.partitions))
    time_ms = more.pop("timestamp", cluster.time_ms())
    log = cluster.logs[f"{PREFIX}.{name}", partition]
    return log.append(Entry(0, key, value, (), time_ms, -1, 0, **more))


def make_request(name: str, *, team: str = "t1", prompt: str = "hello", tokens: int = 10) -> Any:
    """A request of the company."""
    return events.Request(
        name,
        TENANT,
        team=events.Team(team),
        project=events.Project("p1"),
        llm=events.Llm("nobody", "unpriced", max_tokens=tokens, prompt=prompt),
    )


def ask(cluster: FakeCluster, name: str, *, team: str = "t1", **more: Any) -> int:
    """Send a request; its offset."""
    record = {k: more.pop(k) for k in ("timestamp", "timestamp_type", "partition") if k in more}
    request = make_request(name, team=team, **more)
    return put(
        cluster, "requests", events.encode_request(request), account=f"{TENANT}/{team}", **record
    )


def report(cluster: FakeCluster, name: str, cost: int, *, team: str = "t1", **more: Any) -> int:
    """Send a usage report; its offset."""
    usage = events.Usage(name, TENANT, outcome="completed", cost_usd_nano=cost, team=team)
    return put(cluster, "usage", events.encode_usage(usage), account=f"{TENANT}/{team}", **more)


def told(cluster: FakeCluster, partition: int = 0) -> list[events.Decision]:
    """Every verdict in ``decisions``, in order."""
    found = [
        events.read_decision(entry.value)
        for entry in cluster.logs[f"{PREFIX}.decisions", partition].entries
        if entry.value
    ]
    return [d for d in found if isinstance(d, events.Decision)]


def ledger(cluster: FakeCluster, partition: int = 0) -> list[events.Audit]:
    """Every committed record of ``audit``, in order."""
    return [
        events.decode_audit(entry.value or b"")
        for entry in cluster.logs[f"{PREFIX}.audit", partition].entries
        if entry.status == "committed"
    ]


def position(cluster: FakeCluster, partition: int = 0) -> events.PositionRow | None:
    """The newest committed position row."""
    rows = [
        entry.value
        for entry in cluster.logs[f"{PREFIX}.state", partition].entries
        if entry.status == "committed" and entry.key == b"p"
    ]
    return events.decode_position_row(rows[-1]) if rows else None


def is_committed(cluster: FakeCluster, partition: int = 0) -> bool:
    """Whether every input record is in the ledger."""
    row = position(cluster, partition)
    return row is not None and (
        row.request_offset >= cluster.logs[f"{PREFIX}.requests", partition].end
        and row.usage_offset >= cluster.logs[f"{PREFIX}.usage", partition].end
    )


async def end_all_tasks() -> None:
    """A process that is dead has no tasks."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for other in others:
        other.cancel()
    await asyncio.gather(*others, return_exceptions=True)
