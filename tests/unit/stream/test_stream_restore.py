"""Making a table whole: which stored ones are trusted, and what is read of the changelogs."""

from dataclasses import replace

import pytest
from stream_desk import META, NOW_MS, Cluster, Shelf, Transaction, call_row

from enforcer import events
from enforcer.errors import AgentCorruptedError, UnavailableError
from enforcer.stream.restore import restore, why_cold

AGE_MS = 1_000_000
CALL = events.encode_call_row(call_row())
BOUNDS = {"state": (5, 20), "calls": (0, 9)}
STORED = replace(META, positions={"state": 10, "calls": 9}, written_ms=NOW_MS)


def cold(stored, *, now_ms=NOW_MS, expected=META):
    return why_cold(stored, expected, bounds=BOUNDS, now_ms=now_ms, age_ms_max=AGE_MS)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cluster_id": "other"}, "cluster_id is another"),
        ({"topic_ids": {"state": "id-state", "calls": "made-again"}}, "topic_ids is another"),
        ({"schema": "0"}, "schema is another"),
        ({"partitions": 2}, "partitions is another"),
        ({"written_ms": NOW_MS - AGE_MS - 1}, "older than half the tombstone retention"),
        ({"written_ms": NOW_MS + AGE_MS + 1}, "from the future"),
        ({"positions": {"state": 4, "calls": 9}}, "state was deleted past its position"),
        ({"positions": {"state": 21, "calls": 9}}, "state ends before its position"),
        ({"positions": {"state": 10, "calls": 10}}, "calls ends before its position"),
        ({"positions": {"calls": 9}}, "state was deleted past its position"),
    ],
)
def test_every_reason_not_to_trust_a_table(change, why):
    """A table is cold for each of these alone."""
    assert cold(replace(STORED, **change)) == why


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"written_ms": NOW_MS - AGE_MS},
        {"written_ms": NOW_MS + AGE_MS},
        {"positions": {"state": 5, "calls": 0}},
        {"positions": {"state": 20, "calls": 9}},
        {"positions": {"state": 5}},
    ],
)
def test_a_table_is_warm_up_to_every_edge(change):
    """Exactly at an age or a bound it still is what reading everything would give."""
    assert cold(replace(STORED, **change)) is None


def test_a_table_without_meta_is_new():
    """A new or wiped table has nothing to be trusted."""
    assert cold(None) == "new"


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def table():
    return Shelf()


async def restored(cluster, table, *, silence_s=1.0, **kwargs):
    return await restore(
        cluster, table, partition=0, topic=lambda name: f"enforcer.{name}", identity=META,
        now_ms=NOW_MS, age_ms_max=AGE_MS, silence_s=silence_s, **kwargs,
    )  # fmt: skip


def put(cluster, name, *pairs, transaction=None):
    for key, value in pairs:
        cluster.log(name).append(key, value, transaction=transaction)


async def test_a_new_table_is_read_whole(cluster, table):
    """Everything of both changelogs, the newest value of a key; tombstones remove."""
    put(cluster, "state", (b"b/1", b"old"), (b"b/2", b"x"), (b"b/1", b"new"), (b"b/2", None))
    put(cluster, "calls", (b"c/1", CALL))
    found = await restored(cluster, table)
    assert table.rows() == {b"b/1": b"new", b"c/1": CALL}
    assert (found.rows, found.positions, found.cold) == (5, {"state": 4, "calls": 1}, "new")
    assert table.meta() == replace(META, positions={"state": 4, "calls": 1}, written_ms=NOW_MS)
    assert all(reader.closed for reader in cluster.readers)


async def test_of_a_warm_table_only_the_tail_is_read(cluster, table):
    """What the table holds already is not read again, and stays."""
    put(cluster, "state", (b"b/1", b"in the log"), (b"b/2", b"later"))
    put(cluster, "calls", (b"c/1", CALL))
    meta = replace(META, positions={"state": 1, "calls": 1}, written_ms=NOW_MS)
    table.write({b"b/1": b"in the table", b"b/0": b"compacted away"}, meta=meta)
    found = await restored(cluster, table)
    assert (found.rows, found.cold) == (1, None)
    assert table.rows() == {b"b/0": b"compacted away", b"b/1": b"in the table", b"b/2": b"later"}


async def test_a_cold_table_is_wiped_first(cluster, table):
    """Rows of another cluster do not survive; the log is read from its start."""
    put(cluster, "state", (b"b/1", b"x"))
    table.write({b"b/ghost": b"g"}, meta=replace(META, cluster_id="other", written_ms=NOW_MS))
    found = await restored(cluster, table)
    assert (found.cold, table.rows()) == ("cluster_id is another", {b"b/1": b"x"})


async def test_a_warm_table_at_the_end_reads_nothing(cluster, table):
    """A restart of an idle worker restores no row, and its table is as young as now."""
    put(cluster, "state", (b"b/1", b"x"))
    meta = replace(META, positions={"state": 1, "calls": 0}, written_ms=NOW_MS - 5)
    table.write({b"b/1": b"x"}, meta=meta)
    cluster.silent = True
    found = await restored(cluster, table)
    assert (found.rows, cluster.polls) == (0, 0)
    assert table.meta().written_ms == NOW_MS


async def test_compaction_and_deleted_starts_leave_gaps(cluster, table):
    """Offsets that hold nothing any more end no restore and are no loss."""
    log = cluster.log("state")
    log.gap(3)
    log.begin = 2
    put(cluster, "state", (b"b/1", b"x"))
    log.gap(2)
    put(cluster, "state", (b"b/2", b"y"), (None, b"no key"))
    log.gap(4)
    found = await restored(cluster, table)
    assert found.positions == {"state": 12, "calls": 0}
    assert set(table.rows()) == {b"b/1", b"b/2"}


async def test_aborted_records_move_the_position_and_are_not_read(cluster, table):
    """An old owner's transaction that was ended leaves no row behind."""
    put(cluster, "state", (b"b/1", b"x"))
    put(cluster, "state", (b"b/1", b"aborted"), transaction=Transaction("aborted"))
    cluster.log("state").gap()
    found = await restored(cluster, table)
    assert (table.rows(), found.positions["state"]) == ({b"b/1": b"x"}, 3)


async def test_what_is_not_committed_yet_is_not_waited_for(cluster, table):
    """The end is the last stable offset: an open transaction of somebody else is above it."""
    put(cluster, "state", (b"b/1", b"x"))
    put(cluster, "state", (b"b/1", b"open"), transaction=Transaction())
    found = await restored(cluster, table)
    assert (table.rows(), found.positions["state"]) == ({b"b/1": b"x"}, 1)


async def test_progress_and_batches(cluster, table):
    """However small the batches, everything is written with its position; progress ends at its total."""
    put(cluster, "state", *((b"b/%d" % n, b"x") for n in range(10)))
    cluster.per_poll = 3
    told = []
    await restored(cluster, table, progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 10), (6, 10), (9, 10), (10, 10)]
    assert len(table.rows()) == 10


async def test_a_log_that_loses_records_meanwhile_empties_the_table(cluster, table):
    """Offsets lost under a restore: nothing read so far may be taken for a beginning."""
    put(cluster, "state", *((b"b/%d" % n, b"x") for n in range(6)))
    cluster.per_poll = 2

    async def lose():
        cluster.log("state").begin = 2 * (cluster.polls > 1) * 2

    cluster.hooks["poll"] = lose
    with pytest.raises(AgentCorruptedError):
        await restored(cluster, table)
    assert (table.rows(), table.meta()) == ({}, None)
    assert all(reader.closed for reader in cluster.readers)


async def test_a_killed_restore_goes_on_where_it_was(cluster, table):
    """Each batch is written with its position, so the next restore reads only the rest."""
    put(cluster, "state", *((b"b/%d" % n, b"x") for n in range(6)))
    cluster.per_poll = 2

    async def fail():
        if cluster.polls == 3:
            raise UnavailableError("gone")

    cluster.hooks["poll"] = fail
    with pytest.raises(UnavailableError):
        await restored(cluster, table)
    assert table.meta().positions["state"] == 4
    cluster.hooks.clear()
    found = await restored(cluster, table)
    assert (found.rows, found.cold, len(table.rows())) == (2, None, 6)


async def test_a_killed_restore_makes_a_table_no_younger(cluster, table):
    """Behind, it is as old as it was: tombstones of what is still to be read may be gone when somebody goes on."""
    put(cluster, "state", *((b"b/%d" % n, b"x") for n in range(6)))
    table.write({}, meta=replace(META, positions={"state": 1, "calls": 0}, written_ms=NOW_MS - 5))
    cluster.per_poll = 2

    async def fail():
        if cluster.polls == 2:
            raise UnavailableError("gone")

    cluster.hooks["poll"] = fail
    with pytest.raises(UnavailableError):
        await restored(cluster, table)
    assert table.meta().positions["state"] == 3
    assert table.meta().written_ms == NOW_MS - 5
    cluster.hooks.clear()
    await restored(cluster, table)
    assert table.meta().written_ms == NOW_MS


async def test_a_silent_broker_ends_it(cluster, table):
    """Without a record or a moved position for so long the broker counts as gone."""
    put(cluster, "state", (b"b/1", b"x"))
    cluster.silent = True
    with pytest.raises(UnavailableError):
        await restored(cluster, table, silence_s=0.02)
