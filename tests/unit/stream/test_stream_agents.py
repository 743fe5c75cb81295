"""Agents and their worker, on a cluster in memory: every way in which a tenure ends, and what the next one finds."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from enforcement_check import check, read_topics
from enforcement_world import apply_policies
from stream_cluster import Died, FakeBroker
from stream_company import (
    PREFIX,
    Disk,
    OwnedEngine,
    ask,
    end_all_tasks,
    is_committed,
    ledger,
    make_cluster,
    make_worker,
    position,
    put,
    report,
    told,
    until,
    working,
)

from enforcer import events
from enforcer.errors import (
    AgentFencedError,
    ConfigError,
    EnforcerError,
    IntegrityError,
    UnavailableError,
)
from enforcer.stream import agent as agent_module
from enforcer.stream.agent import TRANSITIONS
from enforcer.stream.commit import TableWriteError
from enforcer.stream.installation import MisalignedError
from enforcer.stream.policy_follower import PolicyFollower

if TYPE_CHECKING:
    from stream_cluster import FakeCluster

    from enforcer.stream.worker import Worker


async def is_as_it_should_be(cluster: FakeCluster, versions: dict[str, int]) -> None:
    """Everything that must be true after any run."""
    found = check(await read_topics(FakeBroker(cluster), PREFIX), versions)  # type: ignore[arg-type]
    assert found.problems == {}, found.examples


def owned_anew(broker: FakeBroker) -> OwnedEngine:
    """An engine whose owner is another with every ledger producer: a second decision of anything would show."""

    class Engine(OwnedEngine):
        @property
        def owner(self) -> str:
            return f"ledger {len(broker.ledgers)}"

        @owner.setter
        def owner(self, _: str) -> None: ...

    return Engine()


# -- commits that fail ------------------------------------------------------------------------------------------

STEPS = ("begin", "send:audit", "send:state", "send:calls", "offsets", "commit")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["fail", "fail_after"])
async def test_after_any_failed_or_indefinite_step_both_producers_are_made_anew(
    step: str, when: str
) -> None:
    """The agent takes over from itself: what was told stands, what was committed is not committed again."""
    cluster, versions = await make_cluster()
    broker = FakeBroker(cluster)
    worker = make_worker(broker, Disk(), owned_anew(broker))
    async with working(worker, 0):
        ask(cluster, "r1")
        await until(lambda: is_committed(cluster))
        getattr(broker, when)[step] = UnavailableError("no answer", code="indefinite")
        for number in range(2, 6):
            ask(cluster, f"r{number}")
        await until(lambda: is_committed(cluster) and len(broker.ledgers) == 2)
        assert broker.ledgers[0].closed
        assert not broker.ledgers[1].closed
    await is_as_it_should_be(cluster, versions)
    assert [d.request_id for d in told(cluster)] == [f"r{n}" for n in range(1, 6)]
    row = position(cluster)
    assert row is not None
    assert row.starts == 0


async def test_a_verdict_that_was_not_acknowledged_is_not_in_the_ledger_as_told() -> None:
    """A failed send of the fast lane ends the tenure; its requests are decided anew."""
    cluster, versions = await make_cluster()
    broker = FakeBroker(cluster)
    worker = make_worker(broker, Disk(), owned_anew(broker))
    async with working(worker, 0):
        await until(lambda: worker.is_ready)
        broker.fail["fast:decisions"] = UnavailableError("refused")
        ask(cluster, "r1")
        await until(lambda: is_committed(cluster))
    await is_as_it_should_be(cluster, versions)
    assert len(told(cluster)) == 1


async def test_a_failed_write_of_the_table_stops_the_worker() -> None:
    """The ledger is ahead of the table: a later batch would skip these rows for ever."""
    cluster, versions = await make_cluster()
    disk, broker = Disk(), FakeBroker(cluster)
    worker = make_worker(broker, disk)
    async with working(worker, 0) as task:
        await until(lambda: worker.is_ready)

        def full(*_: object, **__: object) -> None:
            raise UnavailableError("the disk is full", code="disk_full")

        kept, disk.tables[0].write = disk.tables[0].write, full  # type: ignore[method-assign]
        ask(cluster, "r1")
        with pytest.raises(TableWriteError):
            await asyncio.wait_for(asyncio.shield(task), 20)
    assert is_committed(cluster)
    disk.tables[0].write = kept  # type: ignore[method-assign]
    async with working(make_worker(FakeBroker(cluster), disk), 0):
        ask(cluster, "r2")
        await until(lambda: is_committed(cluster))
    await is_as_it_should_be(cluster, versions)


async def test_a_disk_without_room_in_a_takeover_stops_the_worker_at_once() -> None:
    """No takeover of its own makes room, and another worker may have some."""
    cluster, _ = await make_cluster()
    disk, broker = Disk(), FakeBroker(cluster)
    table = disk.open(0)
    disk.died()

    def full(*_: object, **__: object) -> None:
        raise UnavailableError("the disk is full", code="disk_full")

    table.write = full  # type: ignore[method-assign]
    async with working(make_worker(broker, disk), 0) as task:
        with pytest.raises(UnavailableError) as caught:
            await asyncio.wait_for(asyncio.shield(task), 20)
    assert caught.value.code == "disk_full"
    assert len(broker.ledgers) == 1


async def test_rows_that_cannot_be_read_are_wiped_and_read_back() -> None:
    """A damaged row is the table's fault and nobody's request: no caller is denied for it."""
    cluster, versions = await make_cluster()
    disk, broker = Disk(), FakeBroker(cluster)
    worker = make_worker(broker, disk)
    async with working(worker, 0):
        ask(cluster, "r1")
        await until(lambda: is_committed(cluster))
    rows = disk.tables[0]
    damaged = {key: b"damaged" for key, _ in rows.scan(b"b/")}
    assert damaged
    rows.write(damaged)
    async with working(make_worker(FakeBroker(cluster), disk), 0):
        ask(cluster, "r2")
        await until(lambda: is_committed(cluster))
    await is_as_it_should_be(cluster, versions)
    assert [d.verdict for d in told(cluster)] == ["allow", "allow"]


async def test_too_many_failures_in_a_row_end_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is away for good is the supervisor's business."""
    monkeypatch.setattr(agent_module, "RETRY_WAIT_S", 0.001)
    cluster, _ = await make_cluster()
    broker = FakeBroker(cluster)
    worker = make_worker(broker, Disk(), takeovers_in_a_row_max=3)

    class Always(dict[str, Exception]):
        def __contains__(self, name: object) -> bool:
            return name == "commit"

        def pop(self, _: str) -> Exception:  # type: ignore[override]
            return UnavailableError("away")

    broker.fail = Always()
    async with working(worker, 0) as task:
        with pytest.raises(UnavailableError):
            await asyncio.wait_for(asyncio.shield(task), 20)
    assert len(broker.ledgers) == 4
    assert all(each.closed for each in broker.ledgers)


# -- owners that change -----------------------------------------------------------------------------------------


async def test_a_partition_given_away_in_a_takeover_is_not_claimed_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A takeover that went on would fence the rightful owner."""
    cluster, _ = await make_cluster()
    broker = FakeBroker(cluster)
    worker = make_worker(broker, Disk())
    end, may_end = PolicyFollower.end, asyncio.Event()
    may_end.set()

    async def slow(self: PolicyFollower) -> int:
        await may_end.wait()
        return await end(self)

    monkeypatch.setattr(PolicyFollower, "end", slow)
    async with working(worker):
        may_end.clear()
        broker.memberships[0].give(0)
        await until(lambda: "fast:decisions" in broker.journal)
        broker.memberships[0].give()
        await until(lambda: not worker.describe()["partitions"])
        assert broker.ledgers[0].closed
        assert position(cluster) is None


async def test_a_partition_given_away_and_back_at_once_has_one_agent() -> None:
    """The old agent ends before the new one opens the table, and nothing is decided twice."""
    cluster, versions = await make_cluster(2)
    broker = FakeBroker(cluster)
    worker = make_worker(broker, Disk(), owned_anew(broker))
    async with working(worker, 0, 1):
        for number in range(30):
            ask(cluster, f"r{number}", team=f"t{number}")
            if number % 5 == 0:
                await until(lambda: worker.is_ready)
                broker.memberships[0].give(0)
                if number % 2:
                    await asyncio.sleep(0)
                broker.memberships[0].give(0, 1)
                await asyncio.sleep(0.003)
        await until(lambda: is_committed(cluster, 0) and is_committed(cluster, 1))
    await is_as_it_should_be(cluster, versions)


async def test_a_replaced_owner_ends_quietly_when_the_group_says_so() -> None:
    """Fenced first, told by the group a little later: the worker goes on with what is still its own."""
    cluster, versions = await make_cluster(2)
    one, two = FakeBroker(cluster), FakeBroker(cluster)
    old, new = (
        make_worker(one, Disk(), OwnedEngine("old")),
        make_worker(two, Disk(), OwnedEngine("new")),
    )
    async with working(old, 0, 1) as task:
        await until(lambda: old.is_ready)
        async with working(new, 1):
            await until(lambda: new.is_ready)
            for number in range(20):
                ask(cluster, f"r{number}", team=f"t{number}")
            await until(lambda: is_committed(cluster, 1))
            one.memberships[0].give(0)
            await until(lambda: is_committed(cluster, 0))
            assert not task.done()
    await is_as_it_should_be(cluster, versions)
    assert {d.warnings[-1].message for d in told(cluster, 1)} == {"new"}


async def test_an_owner_replaced_without_a_word_of_the_group_ends_its_process() -> None:
    """It sends nothing more, and does not come back by itself."""
    cluster, versions = await make_cluster()
    one, two = FakeBroker(cluster), FakeBroker(cluster)
    old = make_worker(one, Disk(), OwnedEngine("old"), fenced_wait_ms=20)
    new = make_worker(two, Disk(), OwnedEngine("new"))
    async with working(old, 0) as task:
        await until(lambda: old.is_ready)
        async with working(new, 0):
            await until(lambda: new.is_ready)
            ask(cluster, "r1")
            with pytest.raises(AgentFencedError):
                await asyncio.wait_for(asyncio.shield(task), 20)
            await until(lambda: is_committed(cluster))
    assert len(one.ledgers) == 1
    await is_as_it_should_be(cluster, versions)


async def test_who_has_lost_its_seat_ends_before_it_sends_anything() -> None:
    """The seat is looked at before each slice, for after a long stop the decide loop may run first."""
    cluster, _ = await make_cluster()
    broker = FakeBroker(cluster)
    worker = make_worker(broker, Disk())
    async with working(worker, 0) as task:
        await until(lambda: worker.is_ready)
        sent = len(broker.journal)
        late = AgentFencedError("late", code="agent_late")
        broker.memberships[0].failure = late
        ask(cluster, "r1")
        with pytest.raises(AgentFencedError):
            await asyncio.wait_for(asyncio.shield(task), 20)
        assert broker.journal[sent:] == []
    assert not broker.memberships[0].left


# -- poison -----------------------------------------------------------------------------------------------------


async def test_an_exception_names_its_record_at_once() -> None:
    """Raised outside of the engine's own guard, rows half changed: one tenure, one denial, and on."""
    cluster, versions = await make_cluster()
    broker = FakeBroker(cluster)
    engine = owned_anew(broker)
    engine.raises = {"r3"}
    worker = make_worker(broker, Disk(), engine)
    async with working(worker, 0):
        for number in range(6):
            ask(cluster, f"r{number}")
        await until(lambda: is_committed(cluster))
    assert len(broker.ledgers) == 2
    codes = [[r.code for r in d.reasons] for d in told(cluster)]
    assert codes[3] == ["internal_error"]
    assert sum(code == ["internal_error"] for code in codes) == 1
    letters = [e.value for e in cluster.logs[f"{PREFIX}.dead-letters", 0].entries if e.value]
    assert [events.decode_dead_letter(each).code for each in letters] == ["internal_error"]
    assert versions


async def lives_until_committed(
    cluster: FakeCluster, disk: Disk, kills: set[str], *, partitions: int = 1
) -> int:
    """Start a process again and again until everything is in the ledger; how many have died."""
    for deaths in range(40):
        broker = FakeBroker(cluster)
        engine = OwnedEngine(f"life {deaths}", broker)
        engine.kills = kills
        worker = make_worker(broker, disk, engine)
        async with working(worker, *range(partitions)) as task:
            done = lambda: all(is_committed(cluster, n) for n in range(partitions))  # noqa: E731 — short
            await until(lambda: not broker.alive or task.done() or done())  # noqa: B023 — awaited here
            if broker.alive:
                return deaths
            await end_all_tasks()
        disk.died()
    raise AssertionError("it never ends")


async def test_a_record_that_kills_is_denied_and_nobody_else() -> None:
    """Among many records, on two partitions: a few deaths, one internal_error, on its own record."""
    cluster, _ = await make_cluster(2)
    for number in range(100):
        ask(cluster, f"r{number}", team=f"t{number}")
    deaths = await lives_until_committed(cluster, Disk(), {"r60"}, partitions=2)
    assert 5 <= deaths <= 8
    every = [*told(cluster, 0), *told(cluster, 1)]
    assert {d.request_id for d in every} == {f"r{n}" for n in range(100)}
    refused = [d.request_id for d in every if [r.code for r in d.reasons] == ["internal_error"]]
    assert refused == ["r60"]


async def dies_when_ready(cluster: FakeCluster, disk: Disk) -> events.PositionRow:
    """A process that takes over and is killed before it has taken any record; what it has committed."""
    broker = FakeBroker(cluster)
    worker = make_worker(broker, disk)
    async with working(worker, 0):
        await until(lambda: worker.is_ready)
        broker.alive = False
        await end_all_tasks()
    disk.died()
    row = position(cluster)
    assert row is not None
    return row


async def test_the_start_is_counted_before_any_record_is_taken() -> None:
    """The first commit of a takeover says so; it takes more than starts to deny a record."""
    cluster, _ = await make_cluster()
    disk = Disk()
    assert [(await dies_when_ready(cluster, disk)).starts for _ in range(5)] == [1, 2, 3, 4, 5]
    async with working(make_worker(FakeBroker(cluster), disk), 0):
        ask(cluster, "r1")
        await until(lambda: is_committed(cluster))
    assert told(cluster)[0].verdict == "allow"


async def test_a_planned_stop_is_no_death() -> None:
    """Workers that are stopped and started without traffic do not look for poison when it comes."""
    cluster, _ = await make_cluster()
    disk = Disk()
    for _ in range(5):
        worker = make_worker(FakeBroker(cluster), disk)
        async with working(worker, 0):
            await until(lambda: worker.is_ready)  # noqa: B023 — awaited here
    row = position(cluster)
    assert row is not None
    assert row.starts == 0


async def test_an_idle_partition_is_committed_now_and_then() -> None:
    """Kafka forgets a transactional id that is not used, and a table that is not written grows old."""
    cluster, _ = await make_cluster()
    broker = FakeBroker(cluster)
    worker = make_worker(broker, Disk(), idle_commit_ms=1_000)
    async with working(worker, 0):
        await until(lambda: worker.is_ready)
        assert broker.journal.count("commit") == 1
        await until(lambda: broker.journal.count("commit") == 2)
    assert ledger(cluster)[-1].kind == "policy_change"


# -- bounds -----------------------------------------------------------------------------------------------------


async def test_inputs_pause_when_too_much_is_told_and_not_committed() -> None:
    """The fast lane stops at its bound while acknowledgements are out; queues fill, inputs pause; then all goes on."""
    cluster, versions = await make_cluster()
    broker = FakeBroker(cluster)
    worker = make_worker(
        broker,
        Disk(),
        commit_records_max=10,
        uncommitted_records_max=20,
        queue_records_max=30,
    )
    async with working(worker, 0):
        await until(lambda: worker.is_ready)
        broker.ledgers[0].fast.held = held = []
        for number in range(200):
            ask(cluster, f"r{number}", team=f"t{number % 5}")
            if number % 20 == 0:
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        assert sum(len(records) for _, _, _, records in held) == 20
        assert told(cluster) == []
        broker.ledgers[0].fast.let_go()
        await until(lambda: is_committed(cluster))
    await is_as_it_should_be(cluster, versions)
    assert len(told(cluster)) == 200


async def test_an_interval_large_in_bytes_is_committed_early() -> None:
    """A transaction must fit into its producer's queue, however few its records are."""
    cluster, _ = await make_cluster()
    broker = FakeBroker(cluster)
    worker = make_worker(
        broker,
        Disk(),
        commit_interval_ms=4_000,
        commit_bytes_max=3_000,
        uncommitted_bytes_max=6_000,
    )
    async with working(worker, 0):
        await until(lambda: worker.is_ready)
        for number in range(40):
            ask(cluster, f"r{number}", team=f"t{number}")
        await until(lambda: broker.journal.count("commit") >= 4)
        row = position(cluster)
        assert row is not None
        assert row.request_offset > 20


async def test_an_idle_worker_commits_nothing_and_does_not_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No input: no slice, no transaction."""
    cluster, _ = await make_cluster()
    broker = FakeBroker(cluster)
    worker = make_worker(broker, Disk())
    slices = 0
    async with working(worker, 0):
        ask(cluster, "r1")
        await until(lambda: is_committed(cluster))
        tenure = worker._agents[0]._tenure
        assert tenure is not None
        take_slice = type(tenure).take_slice

        def counted(self: object) -> int:
            nonlocal slices
            slices += 1
            return take_slice(self)  # type: ignore[arg-type]

        monkeypatch.setattr(type(tenure), "take_slice", counted)
        done = len(broker.journal)
        await asyncio.sleep(0.2)
        # That it decides now is said once, to whoever waits for policies to be in force.
        assert [name for name in broker.journal[done:] if name != "fast:policy-acks"] == []
        assert slices <= 1
    assert position(cluster) is not None


async def test_a_stop_drains_what_was_fetched_and_leaves_the_group() -> None:
    """Decided, told and committed; offsets and tables with it."""
    cluster, versions = await make_cluster()
    disk, broker = Disk(), FakeBroker(cluster)
    worker = make_worker(broker, disk, commit_interval_ms=2_000, uncommitted_ms_max=5_000)
    async with working(worker, 0) as task:
        await until(lambda: worker.is_ready)
        for number in range(50):
            ask(cluster, f"r{number}")
        await until(lambda: len(told(cluster)) > 0)
        worker.stop()
        await asyncio.wait_for(task, 20)
    assert is_committed(cluster)
    assert cluster.groups[PREFIX][f"{PREFIX}.requests", 0] == 50
    assert broker.memberships[0].left
    assert not disk.tables[0].is_open
    await is_as_it_should_be(cluster, versions)


# -- times ------------------------------------------------------------------------------------------------------


async def test_a_record_from_the_future_waits_and_moves_no_clock() -> None:
    """It pauses its agent until its time has come, and nothing behind it overtakes."""
    cluster, _ = await make_cluster()
    now_ms = cluster.time_ms()
    broker = FakeBroker(cluster)
    worker = make_worker(broker, Disk())
    worker.now_ms = lambda: now_ms  # type: ignore[method-assign]
    async with working(worker, 0):
        ask(cluster, "r1", timestamp=now_ms)
        ask(cluster, "r2", timestamp=now_ms + 61_000)
        ask(cluster, "r3", timestamp=now_ms + 61_000)
        await until(lambda: len(told(cluster)) == 1)
        await asyncio.sleep(0.05)
        assert [d.time_us for d in told(cluster)] == [now_ms * 1000]
        now_ms += 2_000
        await until(lambda: len(told(cluster)) == 3)


async def test_a_time_that_is_the_producers_stops_the_worker() -> None:
    """There is no order, and no money, by such times."""
    cluster, _ = await make_cluster()
    worker = make_worker(FakeBroker(cluster), Disk())
    async with working(worker, 0) as task:
        ask(cluster, "r1", timestamp_type=0)
        with pytest.raises(ConfigError) as caught:
            await asyncio.wait_for(asyncio.shield(task), 20)
    assert caught.value.code == "append_time"
    assert told(cluster) == []


# -- what a takeover finds --------------------------------------------------------------------------------------


async def ends_with(worker: Worker, *partitions: int) -> EnforcerError:
    """How *worker* ends by itself."""
    async with working(worker, *partitions) as task:
        with pytest.raises(EnforcerError) as caught:
            await asyncio.wait_for(asyncio.shield(task), 20)
    return caught.value


async def decided(cluster: FakeCluster, disk: Disk, count: int) -> None:
    """A worker that has decided *count* requests and was stopped."""
    async with working(make_worker(FakeBroker(cluster), disk), 0):
        for number in range(count):
            ask(cluster, f"before{number}")
        await until(lambda: is_committed(cluster))


async def test_another_partition_count_stops_the_worker_and_names_the_way() -> None:
    """Accounts would live elsewhere: exit code 8, and the verb that moves them."""
    cluster, _ = await make_cluster()
    disk = Disk()
    await decided(cluster, disk, 1)
    cluster.partitions = 2
    error = await ends_with(make_worker(FakeBroker(cluster), disk), 0)
    assert isinstance(error, MisalignedError)
    assert error.exit_code == 8
    assert "enforcer topics repartition" in error.help
    cluster.counts[f"{PREFIX}.usage"] = 3
    error = await ends_with(make_worker(FakeBroker(cluster), disk), 0)
    assert isinstance(error, MisalignedError)
    assert "usage 3" in error.message


async def test_partitions_added_under_a_running_worker_stop_it() -> None:
    """The group gives out a number that did not exist at the start."""
    cluster, _ = await make_cluster()
    error = await ends_with(make_worker(FakeBroker(cluster), Disk()), 0, 1)
    assert isinstance(error, MisalignedError)


async def test_a_ledger_without_its_position_is_not_continued() -> None:
    """A second chain from zero would fork it."""
    cluster, _ = await make_cluster()
    await decided(cluster, Disk(), 1)
    del cluster.logs[f"{PREFIX}.state", 0]
    error = await ends_with(make_worker(FakeBroker(cluster), Disk()), 0)
    assert isinstance(error, IntegrityError)


async def test_an_input_that_ends_before_its_position_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Truncated, or made again: what comes now may be other records under offsets that were decided."""
    monkeypatch.setattr(agent_module, "RETRY_WAIT_S", 0.001)
    cluster, _ = await make_cluster()
    disk = Disk()
    await decided(cluster, disk, 3)
    cluster.logs[f"{PREFIX}.requests", 0].entries.pop()
    error = await ends_with(make_worker(FakeBroker(cluster), disk, takeovers_in_a_row_max=2), 0)
    assert error.code == "input_truncated"


async def test_input_that_retention_has_deleted_is_passed_over() -> None:
    """Before a takeover or under it: loud, and on with what there is."""
    cluster, _ = await make_cluster()
    disk = Disk()
    await decided(cluster, disk, 2)
    for number in range(4):
        ask(cluster, f"gone{number}")
    log = cluster.logs[f"{PREFIX}.requests", 0]
    log.delete_before(5)
    worker = make_worker(FakeBroker(cluster), disk)
    async with working(worker, 0):
        await until(lambda: is_committed(cluster))
        broker: FakeBroker = worker.broker  # type: ignore[assignment]
        assert broker.alive
        worker._reader.pause((f"{PREFIX}.requests", 0))
        for number in range(4):
            ask(cluster, f"lost{number}")
        log.delete_before(9)
        worker._reader.resume((f"{PREFIX}.requests", 0))
        await until(lambda: is_committed(cluster))
    assert [d.request_id for d in told(cluster)][2:] == ["gone3", "lost3"]


async def test_a_lost_tail_is_said_in_the_ledger() -> None:
    """Verdicts that were told may have been deleted unread."""
    cluster, versions = await make_cluster()
    disk = Disk()
    await decided(cluster, disk, 2)
    log = cluster.logs[f"{PREFIX}.decisions", 0]
    log.append(log.entries[-1])
    log.delete_before(log.end)
    await decided(cluster, disk, 1)
    assert [e.notes for e in ledger(cluster) if e.kind == "exception_use"] == [["tail_lost"]]
    assert versions


async def test_policies_never_run_backwards() -> None:
    """A takeover waits for every policy offset that the position row names."""
    cluster, _ = await make_cluster()
    disk = Disk()
    await decided(cluster, disk, 1)
    row = position(cluster)
    assert row is not None
    kept = cluster.logs[f"{PREFIX}.policies", 0].entries
    missing = kept.pop()
    missing_marker = kept.pop()
    broker = FakeBroker(cluster)
    worker = make_worker(broker, disk)
    async with working(worker, 0):
        ask(cluster, "r1")
        await asyncio.sleep(0.1)
        assert [d.request_id for d in told(cluster)] == ["before0"]
        kept.extend([missing_marker, missing])
        await until(lambda: is_committed(cluster))
    assert row.policy_offset <= told(cluster)[-1].source.policy_offset


async def test_changes_of_policies_stand_in_the_ledger_once_and_before_what_they_decide() -> None:
    """Also when the process dies between a change and its commit."""
    cluster, versions = await make_cluster()
    disk = Disk()
    await decided(cluster, disk, 1)
    dying = FakeBroker(cluster)
    worker = make_worker(dying, disk, OwnedEngine("dying", dying))
    async with working(worker, 0):
        await until(lambda: worker.is_ready)
        versions[await apply_policies(FakeBroker(cluster), PREFIX, 2)] = 2  # type: ignore[arg-type]
        await until(
            lambda: worker.policies.table.offset == cluster.logs[f"{PREFIX}.policies", 0].end
        )
        dying.fail["begin"] = Died()  # type: ignore[assignment]
        ask(cluster, "r1")
        await until(lambda: "begin" not in dying.fail)
        dying.alive = False
        await end_all_tasks()
    disk.died()
    await decided(cluster, Disk(), 2)
    await is_as_it_should_be(cluster, versions)
    seen: set[str] = set()
    for entry in ledger(cluster):
        if entry.kind == "policy_change":
            seen |= set(re.findall(r'"digest":"(\w+)"', entry.payload.decode()))
        elif entry.kind == "decision":
            decision = events.decode_decision(entry.payload)
            assert set(decision.policy_sets.values()) <= seen
    assert len([e for e in ledger(cluster) if e.kind == "policy_change"]) == 3


async def test_reservations_whose_call_is_forgotten_are_charged() -> None:
    """The changelog of calls forgets by age; what a budget still holds for such a call is charged, and said."""
    cluster, _ = await make_cluster()
    await decided(cluster, Disk(), 1)
    del cluster.logs[f"{PREFIX}.calls", 0]
    worker = make_worker(FakeBroker(cluster), Disk())
    async with working(worker, 0):
        await until(lambda: worker.is_ready)
        await asyncio.sleep(0.02)
    mended = [e for e in ledger(cluster) if "leaked" in e.notes]
    assert [e.kind for e in mended] == ["expiry"]
    rows = {
        e.key: events.decode_budget_row(e.value)
        for e in cluster.logs[f"{PREFIX}.state", 0].entries
        if e.value and (e.key or b"").startswith(b"b/")
    }
    assert rows
    assert all(row.reserved_usd_nano == 0 < row.spent_usd_nano for row in rows.values())


# -- the rest ---------------------------------------------------------------------------------------------------


async def test_usage_alone_is_settled_and_moves_its_position() -> None:
    """A silent input holds nobody up."""
    cluster, versions = await make_cluster()
    worker = make_worker(FakeBroker(cluster), Disk())
    async with working(worker, 0):
        report(cluster, "nobody", 5)
        await until(lambda: is_committed(cluster))
        put(cluster, "usage", b"garbage", account="acme/t1")
        await until(lambda: is_committed(cluster))
    assert [e.kind for e in ledger(cluster)] == ["policy_change", "policy_change", "settlement"]
    assert len(cluster.logs[f"{PREFIX}.dead-letters", 0].entries) == 2
    assert versions


def test_every_state_can_end_and_none_comes_back_from_the_dead() -> None:
    """Whatever happens, an agent can be released; a released one is no agent any more."""
    reach: dict[str, set[str]] = {state: set(to) for state, to in TRANSITIONS.items()}
    for _ in TRANSITIONS:
        for far in reach.values():
            far |= {further for near in set(far) for further in reach[near]}
    assert all("released" in far for state, far in reach.items() if state != "released")
    assert reach["released"] == set()
    assert reach["created"] | {"created"} == set(TRANSITIONS)
