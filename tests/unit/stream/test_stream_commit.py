"""One commit: five steps in order, and what each failure leaves behind."""

import asyncio
from dataclasses import replace

import pytest
from stream_desk import META, NOW_MS, Cluster, Shelf, position, settled

from enforcer import events
from enforcer.errors import AgentFencedError, UnavailableError
from enforcer.stream.commit import CommitTarget, TableWriteError, commit, write_table
from enforcer.stream.interval import Cut, Interval
from enforcer.stream.rows import Changes

STATE = [(b"b/1", b"new"), (b"b/2", None)]
CALLS = [(b"c/1", b"call")]
OLD = {b"b/1": b"old", b"b/2": b"gone soon", b"c/0": b"ended"}


class Journal(Shelf):
    """A table whose writes stand in the cluster's journal."""

    def __init__(self, cluster):
        super().__init__()
        self.cluster = cluster

    def write(self, puts, deletes=(), *, meta=None):
        self.cluster.journal.append("write")
        super().write(puts, deletes, meta=meta)


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
async def target(cluster):
    """A target over a table with a few rows, its ledger started."""
    table = Journal(cluster)
    positions = {"state": 0, "calls": 0}
    table.write(OLD, meta=replace(META, positions=positions, written_ms=1))
    ledger = cluster.open_ledger("enforcer-0")
    await ledger.start()
    cluster.journal.clear()
    return CommitTarget(
        0, "enforcer", lambda name: f"enforcer.{name}", ledger, table, META, positions, 0.05
    )


def cut(*, acks=(), keep=False, changes=None, letters=(), audit=(b"a1", b"a2"), **fields):
    """A cut of two audit records and three changed rows."""
    interval = Interval(0.0, events=2, acks=list(acks))
    for value in audit:
        interval.add_audit((b"acme", value, (), None))
    for value in letters:
        interval.add_dead_letter((b"k", value, (), None))
    changes = Changes(list(STATE), list(CALLS)) if changes is None else changes
    row = position(**{"request_offset": 7, "usage_offset": 3, **fields})
    return Cut(interval, changes, row, keep, [b"c/0"])


async def test_the_five_steps_in_order(cluster, target):
    """Begin, sends, offsets, commit, and the table last; everything is where it belongs."""
    done = cut(letters=[b"letter"])
    await commit(target, done, now_ms=NOW_MS)
    assert cluster.journal == [
        "begin", "send audit", "send dead-letters", "send calls", "send state",
        "offsets", "commit", "write",
    ]  # fmt: skip
    assert cluster.log("audit").values() == [b"a1", b"a2"]
    assert cluster.log("dead-letters").values() == [b"letter"]
    assert cluster.log("calls").values() == [b"call"]
    encoded = events.encode_position_row(done.position)
    assert cluster.log("state").values() == [b"new", None, encoded]
    assert cluster.groups["enforcer"] == {
        ("enforcer.requests", 0): 7, ("enforcer.usage", 0): 3, ("enforcer.leases", 0): 0,
    }  # fmt: skip
    assert target.table.rows() == {b"b/1": b"new", b"c/1": b"call", b"p": encoded}
    meta = target.table.meta()
    # Up to the end of what was written, the transaction's marker not known of.
    assert (meta.positions, meta.written_ms) == ({"state": 3, "calls": 1}, NOW_MS)
    assert meta.cluster_id == META.cluster_id


async def test_what_is_empty_is_not_sent(cluster, target):
    """A commit of nothing but a position touches one topic; the other changelog's position stays."""
    await commit(target, cut(changes=Changes(), audit=()), now_ms=NOW_MS)
    assert cluster.journal == ["begin", "send state", "offsets", "commit", "write"]
    assert target.table.meta().positions == {"state": 1, "calls": 0}


async def test_positions_follow_over_commits(cluster, target):
    """The second commit's offsets are past the first one's control record."""
    await commit(target, cut(), now_ms=NOW_MS)
    await commit(target, cut(), now_ms=NOW_MS)
    assert target.table.meta().positions == {"state": 3 + 1 + 3, "calls": 1 + 1 + 1}


BEFORE_COMMIT = [
    "begin", "send audit", "send dead-letters", "send calls", "send state", "offsets", "commit",
]  # fmt: skip


@pytest.mark.parametrize("step", BEFORE_COMMIT)
@pytest.mark.parametrize("error", [UnavailableError("no"), AgentFencedError("no")])
async def test_a_failure_before_the_commit_leaves_nothing(cluster, target, step, error):
    """Steps 2 to 4: the error comes out as it is; nothing is committed, and the table is as it was."""
    cluster.fail[step] = [error]
    with pytest.raises(type(error)):
        await commit(target, cut(letters=[b"l"]), now_ms=NOW_MS)
    assert "write" not in cluster.journal
    assert (step == "commit") == ("commit" in cluster.journal)
    assert target.table.rows() == OLD
    assert target.positions == {"state": 0, "calls": 0}
    # The next owner ends the transaction, and reads nothing of it.
    await cluster.open_ledger("enforcer-0").start()
    assert [cluster.log(n).values() for n in ("audit", "state", "calls")] == [[], [], []]
    assert cluster.groups == {}


async def test_a_commit_whose_answer_is_lost_leaves_the_table_behind(cluster, target):
    """Step 4, outcome unknown: the table is not written, a restore closes the gap."""
    cluster.fail["committed"] = [UnavailableError("no answer")]
    with pytest.raises(UnavailableError):
        await commit(target, cut(), now_ms=NOW_MS)
    assert target.table.rows() == OLD
    assert len(cluster.log("state").values()) == 3


async def test_a_table_that_cannot_be_written_stops_the_worker(cluster, target):
    """Step 5: the ledger is ahead of the table, and that has an error of its own."""
    target.table.failure = OSError("disk full")
    with pytest.raises(TableWriteError) as error:
        await commit(target, cut(), now_ms=NOW_MS)
    assert error.value.code == "table_write"
    assert isinstance(error.value.__cause__, OSError)
    assert target.table.rows() == OLD
    assert cluster.log("audit").values() == [b"a1", b"a2"]


@pytest.mark.parametrize("error", [UnavailableError("no"), AgentFencedError("fenced")])
async def test_verdicts_that_were_not_taken_stop_it_before_anything(cluster, target, error):
    """Step 1: an interval with a failed verdict is never begun."""
    acks = [(settled(4), 2), (settled(error), 1), (settled(9), 1)]
    with pytest.raises(type(error)):
        await commit(target, cut(acks=acks), now_ms=NOW_MS)
    assert cluster.journal == []


async def test_verdicts_that_are_never_acknowledged_stop_it(cluster, target):
    """Step 1 has a bound of its own, and its error says that the outcome is unknown."""
    never = asyncio.get_running_loop().create_future()
    with pytest.raises(UnavailableError) as error:
        await commit(target, cut(acks=[(never, 1)]), now_ms=NOW_MS)
    assert error.value.code == "indefinite"
    assert cluster.journal == []


@pytest.mark.parametrize("topic", ["audit", "calls", "state"])
async def test_records_that_are_never_acknowledged_stop_it(target, monkeypatch, topic):
    """Step 2 too: a broker that says neither yes nor no holds a partition up for a bounded time, and the table is as it was."""
    send = target.ledger.send

    def silent(name, partition, records):
        if name.endswith(f".{topic}"):
            return asyncio.get_running_loop().create_future()
        return send(name, partition, records)

    monkeypatch.setattr(target.ledger, "send", silent)
    with pytest.raises(UnavailableError, match="records of partition 0") as error:
        await commit(target, cut(), now_ms=NOW_MS)
    assert error.value.code == "indefinite"
    assert target.table.rows() == OLD


@pytest.mark.parametrize(
    ("acks", "keep", "before", "after"),
    [
        ([], False, 5, 5),
        ([(10, 3)], False, 5, 13),
        ([(10, 3), (20, 2)], False, 5, 22),
        ([(10, 3)], False, 50, 50),
        ([(10, 3)], True, 5, 5),
    ],
    ids=["nothing told", "after the last", "of the last slice", "never back", "tail not redone"],
)
async def test_the_tail_start_follows_what_was_told(target, acks, keep, before, after):
    """It moves past the interval's verdicts, never back, and not while verdicts of the tail are open."""
    acks = [(settled(offset), count) for offset, count in acks]
    done = cut(acks=acks, keep=keep, tail_start=before)
    await commit(target, done, now_ms=NOW_MS)
    assert done.position.tail_start == after
    stored = events.decode_position_row(target.table.get(b"p"))
    assert stored.tail_start == after


def test_of_one_key_the_last_change_counts():
    """A batch in the changelog's order: a row put after its tombstone is there, and the other way round."""
    table = Shelf()
    table.write({b"b/2": b"x"})
    changes = [(b"b/1", None), (b"b/1", b"again"), (b"b/2", b"y"), (b"b/2", None)]
    write_table(table, changes, [], meta=META)
    assert table.rows() == {b"b/1": b"again"}
