"""An agent's life: its states, its two loops, and what each failure makes of it."""

import asyncio
import contextlib

import pytest
from stream_desk import ACME, NOW_MS, Cluster, Office, Rec, position, until

from enforcer import events
from enforcer.errors import (
    AgentCorruptedError,
    AgentFencedError,
    ConfigError,
    IntegrityError,
    UnavailableError,
)
from enforcer.stream import agent as agent_module
from enforcer.stream.agent import TRANSITIONS, Agent
from enforcer.stream.commit import TableWriteError
from enforcer.stream.installation import MisalignedError


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Retries wait a moment only."""
    monkeypatch.setattr(agent_module, "RETRY_WAIT_S", 0.001)
    monkeypatch.setattr(agent_module, "NAP_S", 0.001)


class Floor:
    """An agent that runs, and a pump that feeds it."""

    def __init__(self, cluster, **settings):
        self.cluster = cluster
        self.office = Office(cluster, **settings)
        self.agent = Agent(0, self.office)
        self.task = None

    async def start(self):
        """Run, and return when it decides."""
        await self.office.policies.start()
        self.task = asyncio.create_task(self.agent.run())
        await until(lambda: self.agent.is_ready or self.task.done())

    def pump(self):
        """Feed what is there."""
        tenure = self.agent._tenure
        for name in ("requests", "usage"):
            queue = getattr(tenure.inputs, name)
            self.agent.feed(name, self.office.fetched(name, queue.fetched))

    async def commits(self):
        """Pump until all requests are in the ledger, over whatever resets."""
        end = self.cluster.log("requests").end

        def done():
            if self.agent.is_ready and self.agent._tenure is not None:
                self.pump()
            row = self.cluster.position()
            return self.task.done() or (row is not None and row.request_offset >= end)

        await until(done)

    async def end(self, *, drain=True):
        """Release it, and return when it has ended."""
        self.agent.release(drain=drain)
        await asyncio.wait_for(self.task, 5)


@pytest.fixture
async def cluster():
    made = Cluster()
    made.put_set(ACME)
    return made


@contextlib.asynccontextmanager
async def running(cluster, **settings):
    """An agent that decides; ended in the end, whatever became of it."""
    floor = Floor(cluster, **settings)
    await floor.start()
    try:
        yield floor
    finally:
        if not floor.task.done():
            floor.agent.release(drain=False)
        await asyncio.wait({floor.task}, timeout=5)
        if floor.task.done() and not floor.task.cancelled():
            floor.task.exception()


def decided(cluster):
    """Request ids in the ledger, in order."""
    found = [e for e in cluster.ledger() if e.kind == "decision"]
    return [events.read_decision(e.payload).request_id for e in found]


# -- states ---------------------------------------------------------------------------------------------------------


PAIRS = [(old, new) for old in TRANSITIONS for new in TRANSITIONS]


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_only_legal_changes_of_state(cluster_free_agent, old, new):
    """A change that the table does not name is a bug, and stops the process."""
    agent = cluster_free_agent
    agent.state = old
    if new in TRANSITIONS[old]:
        agent._become(new)
        assert agent.state == new
    else:
        with pytest.raises(AssertionError):
            agent._become(new)


@pytest.fixture
def cluster_free_agent():
    return Agent(0, Office(Cluster()))


def test_every_state_can_end():
    """From every state there is a way to ``released``, and from there none."""
    for state in TRANSITIONS:
        seen, left = {state}, [state]
        while left:
            for new in TRANSITIONS[left.pop()] - seen:
                seen.add(new)
                left.append(new)
        assert "released" in seen
    assert TRANSITIONS["released"] == frozenset()


# -- an ordinary life ---------------------------------------------------------------------------------------------------


async def test_from_takeover_to_release(cluster):
    """It takes over, commits its start, decides, drains what was fetched, and lets everything go."""
    async with running(cluster) as floor:
        assert cluster.position().starts == 1
        assert floor.office.sought == [(0, 0)]
        cluster.ask("r1")
        await floor.commits()
        assert decided(cluster) == ["r1"]
        assert cluster.position().starts == 0
        cluster.ask("r2")
        floor.pump()
        await floor.end()
    assert decided(cluster) == ["r1", "r2"]
    assert floor.agent.state == "released"
    assert floor.office.sought == [(0, 0), None]
    assert floor.office.forgotten == [0]
    assert cluster.owners["enforcer-0"].closed
    assert floor.agent.restored_rows == 0


async def test_the_start_is_committed_before_inputs_are_read(cluster):
    """Step 7: a record that kills must find its start counted."""
    seen = []
    floor = Floor(cluster)
    floor.office.seek_inputs = lambda *place: seen.append(cluster.position().starts)
    await floor.start()
    assert seen == [1]
    await floor.end()


async def test_a_release_before_the_start_takes_nothing_over(cluster):
    """An agent that was given away before it ran fences nobody."""
    floor = Floor(cluster)
    floor.agent.release(drain=False)
    await floor.agent.run()
    assert (floor.agent.state, cluster.journal) == ("released", [])
    assert floor.office.forgotten == [0]


async def test_a_release_during_takeover_cancels_it(cluster):
    """A takeover that went on after the partition was given away would fence its rightful owner."""
    floor = Floor(cluster)
    blocked = asyncio.Event()

    async def block():
        blocked.set()
        await asyncio.sleep(60)

    cluster.hooks["offsets_begin"] = block
    await floor.office.policies.start()
    floor.task = asyncio.create_task(floor.agent.run())
    await blocked.wait()
    await floor.end(drain=False)
    assert floor.agent.state == "released"
    assert "begin" not in cluster.journal


async def test_replaced_it_commits_what_was_told_and_leaves_the_rest(cluster):
    """Without a drain what is only fetched is the next owner's."""
    async with running(cluster, commit_interval_ms=5000) as floor:
        for n in range(3):
            cluster.ask(f"r{n}")
        floor.pump()
        await until(lambda: len(cluster.told()) == 3)
        cluster.ask("r3")
        floor.agent.release(drain=False)
        floor.pump()
        await asyncio.wait_for(floor.task, 5)
    assert decided(cluster) == ["r0", "r1", "r2"]
    assert len(cluster.told()) == 3


async def test_a_drain_has_an_end(cluster):
    """What cannot be decided within the drain's time is left: a record from the future, for one."""
    async with running(cluster, drain_timeout_ms=100) as floor:
        cluster.ask("r1", at_ms=NOW_MS + 10**9)
        floor.pump()
        await floor.end()
    assert cluster.told() == []
    assert floor.agent.state == "released"


async def test_commits_come_no_faster_than_their_interval(cluster):
    """What is told within an interval is one transaction."""
    async with running(cluster, commit_interval_ms=100, uncommitted_ms_max=1000) as floor:
        before = cluster.journal.count("commit")
        for n in range(5):
            cluster.ask(f"r{n}")
            floor.pump()
            await asyncio.sleep(0.004)
        await floor.commits()
        assert cluster.journal.count("commit") - before == 1


def told_group(cluster):
    """How often the group's offsets were written."""
    return cluster.journal.count("offsets")


async def test_the_group_hears_of_some_commits_and_of_the_last(cluster):
    """Its offsets go with the first commit, then not before their interval is over, and with the last of all."""
    async with running(cluster, group_offsets_interval_ms=60_000) as floor:
        assert told_group(cluster) == 1
        for n in range(3):
            cluster.ask(f"r{n}")
            await floor.commits()
        assert (told_group(cluster), cluster.journal.count("commit")) == (1, 4)
        await floor.end()
    assert told_group(cluster) == 2
    assert cluster.journal[-2:] == ["offsets", "commit"]


async def test_a_silent_input_is_told_to_the_group_when_the_interval_is_over(cluster):
    """Nothing more comes: a lag tool must not show a lag for ever."""
    async with running(cluster, group_offsets_interval_ms=100) as floor:
        cluster.ask("r1")
        await floor.commits()
        assert told_group(cluster) == 1
        await until(lambda: told_group(cluster) == 2)
        commits = cluster.journal.count("commit")
        await asyncio.sleep(0.2)
        assert cluster.journal.count("commit") == commits


async def test_an_idle_agent_commits_now_and_then(cluster):
    """Without any input it still commits, seldom: Kafka forgets an idle producer, and a table grows old."""
    floor = Floor(cluster)
    quick = floor.office.config.model_copy(update={"idle_commit_ms": 20})
    floor.agent._config = floor.office.config = quick
    await floor.start()
    before = cluster.journal.count("commit")
    await until(lambda: cluster.journal.count("commit") >= before + 2)
    row = cluster.position()
    assert (row.request_offset, row.starts, cluster.ledger()[1:]) == (0, 1, [])
    cluster.ask("r1")
    await floor.commits()
    await floor.end()
    assert decided(cluster) == ["r1"]


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 0), (2, 3)])
async def test_a_planned_stop_is_no_death(cluster, before, after):
    """Stopped before any input came, its start is taken back in a last commit; not in a search for poison."""
    row = events.encode_position_row(position(starts=before))
    cluster.log("state").append(b"p", row)
    async with running(cluster) as floor:
        assert cluster.position().starts == before + 1
        await floor.end()
    assert cluster.position().starts == after


async def test_a_large_interval_is_committed_at_once(cluster):
    """Many records do not wait for the interval."""
    settings = {"commit_interval_ms": 4000, "commit_records_max": 4, "uncommitted_records_max": 8}
    async with running(cluster, **settings) as floor:
        for n in range(4):
            cluster.ask(f"r{n}")
        await asyncio.wait_for(floor.commits(), 2)
        assert len(decided(cluster)) == 4


async def test_above_the_backlog_it_waits_for_a_commit(cluster):
    """While a commit hangs the fast lane goes on up to its bound, and no further."""
    let_go = asyncio.Event()
    settings = {"commit_records_max": 2, "uncommitted_records_max": 6}
    async with running(cluster, **settings) as floor:
        cluster.hooks["commit"] = let_go.wait
        for n in range(20):
            cluster.ask(f"r{n}")
        floor.pump()
        await until(lambda: len(cluster.told()) == 6)
        await asyncio.sleep(0.02)
        assert len(cluster.told()) == 6
        let_go.set()
        await floor.commits()
        assert decided(cluster) == [f"r{n}" for n in range(20)]


async def test_while_another_partition_has_a_trial_nothing_is_decided(cluster):
    """A death then has one name only."""
    async with running(cluster) as floor:
        floor.office.trial.begin(9)
        cluster.ask("r1")
        floor.pump()
        await asyncio.sleep(0.02)
        assert cluster.told() == []
        floor.office.trial.end(9)
        await floor.commits()
        assert decided(cluster) == ["r1"]


async def test_from_the_fourth_start_it_goes_one_by_one(cluster):
    """Each record is named in a commit before it is taken; all are decided in the end, and nobody is barred."""
    row = events.encode_position_row(position(starts=3))
    cluster.log("state").append(b"p", row)
    async with running(cluster) as floor:
        assert cluster.position().starts == 4
        for n in range(25):
            cluster.ask(f"r{n}")
        await floor.commits()
        assert decided(cluster) == [f"r{n}" for n in range(25)]
        rows = [events.decode_position_row(v) for v in cluster.log("state").values() if v]
        assert [r.trying for r in rows if r.trying is not None] == list(range(20))
        assert not floor.office.trial.bars(1)


async def test_policy_changes_and_lag_reach_the_tenure(cluster):
    """What the worker tells an agent goes to its tenure, if it has one; what it asks, too."""
    async with running(cluster) as floor:
        agent = floor.agent
        (change,) = floor.office.policies.table.apply(2, b"acme/set", None)
        agent.policy_changed(change)
        cluster.ask("r1", at_ms=NOW_MS - 70)
        assert agent.behind("requests", 5) == 5
        await floor.commits()
        assert (agent.behind("requests", 5), agent.behind("usage", 0), agent.lag_ms) == (4, 0, 70)
        assert [e.kind for e in cluster.ledger()] == ["policy_change", "policy_change", "decision"]


def test_without_a_tenure_there_is_nothing_to_tell(cluster_free_agent):
    """Before its takeover an agent has no queue, no lag, and hears of nothing."""
    agent = cluster_free_agent
    agent.feed("requests", [Rec(offset=0)])
    agent.policy_changed(None)
    assert (agent.lag_ms, agent.behind("usage", 9), agent.is_ready) == (0, 0, False)
    assert (agent.is_full("requests"), agent.has_room("usage")) == (False, True)


async def test_full_and_room_again(cluster):
    """An input is full at its bound of records or bytes, and has room when its queue is half empty."""
    settings = {"queue_records_max": 4, "queue_bytes_max": 2000}
    async with running(cluster, **settings) as floor:
        agent = floor.agent
        floor.office.trial.begin(9)  # So that nothing is taken.
        await asyncio.sleep(0.005)
        agent.feed("requests", [Rec(offset=n) for n in range(2)])
        assert (agent.is_full("requests"), agent.has_room("requests")) == (False, True)
        agent.feed("requests", [Rec(offset=2)])
        assert (agent.is_full("requests"), agent.has_room("requests")) == (False, False)
        agent.feed("requests", [Rec(offset=3)])
        assert agent.is_full("requests")
        agent.feed("usage", [Rec("enforcer.usage", value=b"x" * 900)])
        assert (agent.is_full("usage"), agent.has_room("usage")) == (False, False)
        agent.feed("usage", [Rec("enforcer.usage", offset=1, value=b"x" * 900)])
        assert agent.is_full("usage")
        with pytest.raises(ConfigError):
            agent.feed("usage", [Rec("enforcer.usage", offset=2, timestamp_type=0)])


# -- failures ------------------------------------------------------------------------------------------------------------


STEPS = [
    "start", "tell:decisions", "begin", "send audit", "send calls", "send state", "offsets",
    "commit", "committed",
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
async def test_after_a_failed_step_it_takes_over_from_itself(cluster, step):
    """Both producers are made anew; no verdict is told otherwise, none is twice in the ledger."""
    async with running(cluster) as floor:
        owner = cluster.owners["enforcer-0"]
        cluster.fail[step] = [UnavailableError("no")]
        if step == "start":  # Of the takeover that follows.
            cluster.fail["commit"] = [UnavailableError("no")]
        for n in range(4):
            cluster.ask(f"r{n}")
        await floor.commits()
        await until(lambda: owner.closed and floor.agent.is_ready)
        assert cluster.owners["enforcer-0"] is not owner
        assert decided(cluster) == ["r0", "r1", "r2", "r3"]
        assert [e.sequence for e in cluster.ledger()] == list(range(len(cluster.ledger())))
        told = {}
        for value in cluster.log("decisions").values(committed=False):
            decision = events.read_decision(value)
            if isinstance(decision, events.Decision):
                assert told.setdefault(decision.request_id, value) == value
        assert cluster.position().starts == 0


async def test_a_record_that_raises_is_refused_after_one_reset(cluster):
    """An exception names its record: it is denied ``internal_error``, the others are decided."""
    async with running(cluster) as floor:
        request = floor.office.engine.request

        class Engine(type(floor.office.engine)):
            __slots__ = ()

            def request(self, program, arrival, rows, queue):
                if arrival.source.offset == 1:
                    raise ValueError
                return request(program, arrival, rows, queue)

        floor.office.engine = Engine()
        for n in range(3):
            cluster.ask(f"r{n}")
        await floor.commits()
        told = {d.request_id: [r.code for r in d.reasons] for d in cluster.told()}
        assert told == {"r0": [], "r1": ["internal_error"], "r2": []}
        assert len(cluster.log("dead-letters").values()) == 1
        cluster.ask("r9")
        await floor.commits()
        assert floor.agent._condemned == set()


async def test_a_table_that_cannot_be_written_ends_the_worker(cluster):
    """Step 5 failed: a next batch would skip rows for ever."""
    async with running(cluster) as floor:
        floor.office.table.failure = OSError("full")
        cluster.ask("r1")
        floor.pump()
        await until(floor.task.done)
        assert isinstance(floor.task.exception(), TableWriteError)
        assert floor.agent.state == "failed"
        assert floor.office.forgotten == [0]


async def test_replaced_and_released_it_just_ends(cluster):
    """Fenced, and the group's word is on its way: not one byte more, and no error."""
    async with running(cluster, fenced_wait_ms=2000) as floor:
        await cluster.open_ledger("enforcer-0").start()
        sent = len(cluster.journal)
        cluster.ask("r1")
        floor.pump()
        await until(lambda: floor.agent.state == "fenced")
        await floor.end()
        assert (floor.agent.state, len(cluster.journal)) == ("released", sent)


async def test_replaced_without_a_word_the_worker_ends(cluster):
    """Fenced, and the group says that the partition is ours: we are the ones who know nothing."""
    async with running(cluster) as floor:
        await cluster.open_ledger("enforcer-0").start()
        cluster.ask("r1")
        floor.pump()
        await until(floor.task.done)
        assert isinstance(floor.task.exception(), AgentFencedError)
        assert floor.agent.state == "failed"


async def test_without_a_seat_nothing_is_sent(cluster):
    """The seat is asked for before each slice: after a long stop the partition may be another's."""
    async with running(cluster) as floor:
        floor.office.seat_lost = AgentFencedError("late")
        cluster.ask("r1")
        floor.pump()
        await until(floor.task.done)
        assert isinstance(floor.task.exception(), AgentFencedError)
        assert cluster.told() == []


async def test_many_failures_in_a_row_end_the_worker(cluster):
    """A broker that refuses for long is not asked for ever."""
    floor = Floor(cluster, takeovers_in_a_row_max=3)
    cluster.fail["start"] = [UnavailableError("no")] * 9
    await floor.start()
    assert isinstance(floor.task.exception(), UnavailableError)
    assert (floor.agent.state, cluster.journal.count("start")) == ("failed", 4)


async def test_a_commit_of_something_forgives(cluster):
    """Failures count in a row: a commit with events in between begins the count anew."""
    async with running(cluster, takeovers_in_a_row_max=1) as floor:
        for n in range(4):
            cluster.fail["begin"] = [UnavailableError("no")]
            cluster.ask(f"r{n}")
            await floor.commits()
        assert not floor.task.done()
        assert len(decided(cluster)) == 4


async def test_released_while_it_waits_to_try_again_it_ends(cluster, monkeypatch):
    """A release cuts the wait between two takeovers short."""
    monkeypatch.setattr(agent_module, "RETRY_WAIT_S", 5.0)
    floor = Floor(cluster, takeovers_in_a_row_max=1)
    cluster.fail["start"] = [UnavailableError("no")] * 9
    await floor.office.policies.start()
    floor.task = asyncio.create_task(floor.agent.run())
    await until(lambda: floor.agent.state == "resetting")
    await floor.end(drain=False)
    assert floor.agent.state == "released"


@pytest.mark.parametrize(
    ("prepare", "error"),
    [
        (lambda c: c.log("audit").append(b"acme", b"x"), IntegrityError),
        (
            lambda c: c.log("state").append(
                b"p", events.encode_position_row(position(partition_count=7))
            ),
            MisalignedError,
        ),
    ],
    ids=["ledger without position", "other partitions"],
)
async def test_what_only_an_operator_can_mend_ends_the_worker(cluster, prepare, error):
    """Nothing is tried again where trying does not help."""
    prepare(cluster)
    floor = Floor(cluster)
    await floor.start()
    assert isinstance(floor.task.exception(), error)
    assert (floor.agent.state, cluster.journal.count("start")) == ("failed", 1)


async def test_a_damaged_row_has_the_table_read_anew(cluster):
    """What cannot be trusted is wiped, and restored from the changelog."""
    async with running(cluster) as floor:
        cluster.ask("r1")
        await floor.commits()
        cluster.report("r1")
        floor.agent._tenure._rows.forget("c/acme/r1/1")
        floor.office.table.write({b"c/acme/r1/1": b"\xc3\x01damaged"})
        before = cluster.epoch
        floor.pump()
        await until(lambda: cluster.epoch > before and floor.agent.is_ready)
        cluster.ask("r2")
        await floor.commits()
        floor.pump()
        await until(lambda: any(e.kind == "settlement" for e in cluster.ledger()))
        row = events.decode_call_row(floor.office.table.get(b"c/acme/r1/1"))
        assert row.status == "settled"
        assert floor.agent.restored_rows > 0


async def test_a_damaged_table_at_takeover_is_wiped(cluster):
    """A log that lost records while it was read gives an empty table and another try."""
    floor = Floor(cluster)
    floor.office.table.write({b"b/ghost": b"x"})
    fails = [AgentCorruptedError("lost")]

    async def lose():
        if fails and cluster.journal:
            raise fails.pop()

    cluster.hooks["offsets_begin"] = lose
    await floor.start()
    assert floor.agent.is_ready
    assert floor.office.table.get(b"b/ghost") is None
    await floor.end()
