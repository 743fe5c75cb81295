"""A worker: its tasks around its agents, from joining to leaving."""

import asyncio
import contextlib
import gc
from dataclasses import replace

import pytest
from stream_desk import ACME, NOW_MS, Cluster, Shelf, config, deny_word, until

from enforcer import events
from enforcer.broker import Assignment
from enforcer.engine import Engine
from enforcer.errors import (
    AgentFencedError,
    ConfigError,
    IntegrityError,
    NotFoundError,
    UnavailableError,
)
from enforcer.stream import memory
from enforcer.stream import worker as worker_module
from enforcer.stream.commit import TableWriteError
from enforcer.stream.installation import MisalignedError
from enforcer.stream.topology import INPUTS
from enforcer.stream.worker import CACHED_ROWS_MIN, Worker
from enforcer.telemetry import Metrics


@pytest.fixture(autouse=True)
def _times(monkeypatch):
    """The worker's clock stands at the records' times, whatever the machine's says."""
    monkeypatch.setattr(worker_module, "LAG_EVERY_S", 0.01)
    monkeypatch.setattr(Worker, "now_ms", staticmethod(lambda: NOW_MS))


@pytest.fixture
async def cluster():
    made = Cluster(partitions=2)
    made.put_set(ACME)
    return made


def worker_on(cluster, tables=None, on_restore=None, **settings):
    tables = {} if tables is None else tables
    return Worker(
        config(**settings), broker=cluster, engine=Engine(), metrics=Metrics(),
        open_table=lambda partition: tables.setdefault(partition, Shelf()), on_restore=on_restore,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def working(cluster, *partitions, **kwargs):
    """A worker that owns *partitions* and is ready; stopped in the end, unless it has ended."""
    cluster.gives = partitions
    worker = worker_on(cluster, **kwargs)
    task = worker.task = asyncio.create_task(worker.run())
    try:
        await until(lambda: task.done() or worker.is_ready)
        yield worker
    finally:
        worker.stop()
        await asyncio.gather(task, return_exceptions=True)


def committed(cluster, partition=0):
    row = cluster.position(partition)
    return row is not None and (
        row.request_offset >= cluster.log("requests", partition).end
        and row.usage_offset >= cluster.log("usage", partition).end
    )


def decided(cluster, partition=0):
    """Request ids in the ledger, in order."""
    found = [e for e in cluster.ledger(partition) if e.kind == "decision"]
    return [events.read_decision(e.payload).request_id for e in found]


async def ended(worker):
    """What it died of."""
    await until(worker.task.done)
    return worker.task.exception()


async def test_a_worker_decides_what_it_was_given(cluster):
    """Every partition it owns, and none else; a planned stop drains and gives the seat back."""
    async with working(cluster, 0) as worker:
        for partition in (0, 1):
            cluster.ask("r1", partition=partition)
        cluster.report("r1")
        await until(lambda: committed(cluster))
        cluster.ask("r2")
        await until(lambda: len(cluster.told(0)) == 2)
    assert decided(cluster) == ["r1", "r2"]
    assert cluster.told(1) == []
    assert worker.task.exception() is None
    assert cluster.seat.left
    assert all(reader.closed for reader in cluster.readers)
    assert cluster.owners["enforcer-0"].closed


async def test_what_it_says_of_itself(cluster):
    """/ready: partitions and their states, restored rows, policies, what is invalid among them."""
    async with working(cluster, 0, 1, instance_id="w7") as worker:
        found = worker.describe()
        assert found.pop("policy_age_ms") < found.pop("policy_stale_ms_max")
        assert found == {
            "ready": True,
            "instance_id": "w7",
            "partitions": {"0": "deciding", "1": "deciding"},
            "standbys": {},
            "restored_rows": {"0": 0, "1": 0},
            "policy_offset": 2,
            "policy_sets": {"acme": worker.policies.table.sets()[0].digest},
            "policy_refused": [],
            "policy_invalid": [],
        }
        cluster.log("policies").append(b"acme/set", b"broken")
        await until(lambda: worker.describe()["policy_invalid"])
    assert worker.transactional_id(3) == "enforcer-3"


async def test_ready_only_with_an_assignment_and_all_partitions(cluster):
    """Before the first assignment a worker is not ready; with an empty one it is."""
    worker = worker_on(cluster)
    assert not worker.is_ready
    worker._assigned(Assignment())
    assert worker.is_ready
    worker._assigned(Assignment(frozenset({0})))
    assert not worker.is_ready


async def test_a_rebalance_moves_partitions_and_stops_nothing(cluster):
    """A partition given away ends, one given is begun, one kept goes on with the agent it had."""
    async with working(cluster, 0) as worker:
        kept = worker._agents[0]
        cluster.seat.give(0, 1)
        await until(lambda: worker.is_ready)
        assert worker._agents[0] is kept
        cluster.ask("r1", partition=1)
        await until(lambda: committed(cluster, 1))
        cluster.seat.give(0)
        await until(lambda: set(worker._agents) == {0})
        assert cluster.owners["enforcer-1"].closed
        assert worker._reader.assigned == [(f"enforcer.{name}", 0) for name in INPUTS]
        cluster.seat.give(1)
        await until(lambda: set(worker._agents) == {1} and worker.is_ready)
        cluster.seat.give()
        await until(lambda: not worker._agents)
        assert worker._reader.assigned == []
        cluster.seat.give(0)
        await until(lambda: worker.is_ready)
        cluster.ask("r2")
        await until(lambda: committed(cluster))


async def test_policy_changes_reach_every_agent(cluster):
    """A set that comes into force is in each partition's ledger before what it decides."""
    async with working(cluster, 0, 1) as worker:
        cluster.put_set(deny_word("hi"))
        await until(lambda: worker.policies.table.offset == 4)
        for partition in (0, 1):
            cluster.ask("r1", partition=partition)
            await until(lambda n=partition: committed(cluster, n))
            assert cluster.told(partition)[0].verdict == "deny"
            accounts = [e.account for e in cluster.ledger(partition) if e.kind == "policy_change"]
            assert accounts == ["acme", "*"]


async def test_a_full_queue_pauses_its_input_alone_until_it_is_half_empty(cluster):
    """An input ahead pauses, the other goes on; nothing is lost by it."""
    settings = {"queue_records_max": 4, "commit_records_max": 2, "uncommitted_records_max": 4}
    cluster.per_poll = 6
    paused = []
    async with working(cluster, 0, **settings) as worker:
        let_go = asyncio.Event()
        cluster.hooks["commit"] = let_go.wait
        for n in range(60):
            cluster.ask(f"r{n}")
        await until(lambda: worker._reader.paused)
        paused = set(worker._reader.paused)
        let_go.set()
        await until(lambda: committed(cluster))
        assert worker._reader.paused == worker._paused == set()
    assert paused == {("enforcer.requests", 0)}
    assert [d.request_id for d in cluster.told()] == [f"r{n}" for n in range(60)]


async def test_lag_is_measured_and_forgotten(cluster):
    """Each owned input's distance to its end is shown, and is gone with the partition."""
    async with working(cluster, 0) as worker:
        cluster.ask("r1")
        await until(lambda: committed(cluster))
        line = 'enforcer_lag_records{partition="0",topic="requests"} 0.0'
        await until(lambda: line in worker.metrics.exposition().decode())
        cluster.seat.give()
        await until(lambda: 'partition="0"' not in worker.metrics.exposition().decode())


async def test_lag_in_seconds_only_where_something_waits(cluster, monkeypatch):
    """Behind its end, an input is as late as its newest record was; at its end it is not late."""
    async with working(cluster, 0) as worker:
        cluster.ask("r1")
        await until(lambda: committed(cluster))
        worker.trial.begin(1)  # Nothing more is taken.
        cluster.ask("r2")
        found = 'enforcer_lag_records{partition="0",topic="requests"} 1.0'
        await until(lambda: found in worker.metrics.exposition().decode())
        assert worker._agents[0].lag_ms >= 0
        worker.trial.end(1)


async def test_input_that_retention_deleted_is_skipped_loudly(cluster):
    """What nobody had decided and nobody can read any more does not stop what comes after it."""
    async with working(cluster, 0) as worker:
        log = cluster.log("requests")
        for _ in range(3):
            log.gap()
        log.begin = 3
        worker._reader.seek("enforcer.requests", 0, 1)
        cluster.ask("r3")
        await until(lambda: committed(cluster))
        assert [d.request_id for d in cluster.told()] == ["r3"]


async def test_an_input_cut_short_ends_the_worker(cluster):
    """A topic that ends before what was read of it was truncated, or made again: no offset means anything."""
    async with working(cluster, 0) as worker:
        cluster.ask("r1")
        await until(lambda: committed(cluster))
        log = cluster.log("requests")
        log.records.clear()
        log.end = 0
        error = await ended(worker)
        assert isinstance(error, IntegrityError)
        assert error.code == "input_truncated"


async def test_a_lost_seat_ends_the_worker_where_it_stands(cluster):
    """Fenced as a member: nothing more is sent, nothing drained, no seat given back."""
    async with working(cluster, 0) as worker:
        cluster.seat.lost.set()
        assert isinstance(await ended(worker), AgentFencedError)
    assert not cluster.seat.left


async def test_what_an_agent_dies_of_ends_the_worker(cluster):
    """A table that cannot be written stops the process, and every agent of it."""
    tables = {0: Shelf(), 1: Shelf()}
    async with working(cluster, 0, 1, tables=tables) as worker:
        tables[1].failure = OSError("full")
        cluster.ask("r1", partition=1)
        assert isinstance(await ended(worker), TableWriteError)
        assert all(ledger.closed for ledger in cluster.owners.values())


async def test_more_partitions_than_at_the_start_end_the_worker(cluster):
    """A topic that grew under it holds accounts elsewhere: the worker must be started anew."""
    async with working(cluster, 0) as worker:
        cluster.seat.give(0, 2)
        assert isinstance(await ended(worker), MisalignedError)


async def test_an_installation_that_does_not_fit_is_refused(cluster):
    """Without its topics a worker joins no group."""
    del cluster.topics["enforcer.state"]
    with pytest.raises(NotFoundError, match=r"enforcer\.state"):
        await worker_on(cluster).run()
    assert cluster.seat is None


async def test_an_input_with_the_producers_time_ends_the_worker(cluster):
    """The topic's setting may be the broker's default: then the first record tells."""
    name = "enforcer.usage"
    cluster.topics[name] = replace(cluster.topics[name], config={})
    async with working(cluster, 0) as worker:
        cluster.log("usage").append(b"acme", b"{}", kind=0)
        error = await ended(worker)
        assert isinstance(error, ConfigError)
        assert error.code == "append_time"


async def test_a_broker_that_is_gone_at_the_start_is_said_so(cluster):
    """What failed while joining comes out, and leaves no reader open."""

    async def gone():
        raise UnavailableError("no")

    cluster.hooks["poll"] = gone
    with pytest.raises(UnavailableError):
        await worker_on(cluster).run()
    assert all(reader.closed for reader in cluster.readers)


async def test_progress_of_a_restore_names_its_partition(cluster):
    """Who watches hears of each partition; a warm worker, of nothing to read."""
    told = []
    tables = {}
    async with working(cluster, 0, tables=tables):
        cluster.ask("r1")
        await until(lambda: committed(cluster))
    tables.clear()
    async with working(
        cluster, 0, tables=tables, on_restore=lambda *progress: told.append(progress)
    ) as worker:
        assert worker.describe()["restored_rows"]["0"] > 0
    assert told
    assert told[-1][0] == 0
    assert told[-1][1] == told[-1][2]


async def test_a_restart_goes_on_where_the_last_one_ended(cluster):
    """Decided once, told once, over restarts with the same tables and with none."""
    tables = {}
    for n, keeps in enumerate((True, True, False)):
        if not keeps:
            tables.clear()
        async with working(cluster, 0, tables=tables) as worker:
            cold = worker.describe()["restored_rows"]["0"]
            assert (cold > 0) == (not keeps)
            cluster.ask(f"r{n}")
            cluster.ask("r0")
            await until(lambda: committed(cluster))
    assert [e.sequence for e in cluster.ledger()] == [0, 1, 2, 3]
    told = [d.request_id for d in cluster.told()]
    assert told == ["r0", "r0", "r1", "r0", "r2", "r0"]


def test_rows_are_shared_out_among_agents(cluster):
    """The bound is the process's: each agent has its part, and never less than some."""
    worker = worker_on(cluster, cached_rows_max=10_000)
    assert worker.cached_rows_max() == 10_000
    worker._agents = dict.fromkeys(range(4))
    assert worker.cached_rows_max() == 2_500
    worker._agents = dict.fromkeys(range(1000))
    assert worker.cached_rows_max() == CACHED_ROWS_MIN


def test_nothing_is_at_its_end_that_is_not_fetched(cluster):
    """An input whose end nobody has told is not at its end."""
    worker = worker_on(cluster)
    assert not worker.is_at_end("requests", 0)
    assert worker.restore_progress(0) is None


async def test_the_collector_is_as_it_was(cluster):
    """A worker tunes Python's garbage collector for itself and leaves it as it found it."""
    before = gc.get_threshold()
    async with working(cluster, 0):
        assert gc.get_threshold() == memory.GC_THRESHOLDS
    assert gc.get_threshold() == before
