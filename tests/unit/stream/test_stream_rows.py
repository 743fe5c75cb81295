"""Rows of one agent: decoded over a table, and what changed since the last cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_desk import NOW_MS, call_row, position

from enforcer import events
from enforcer.errors import AgentCorruptedError
from enforcer.store import MemoryTable
from enforcer.stream.rows import (
    CALL_BYTES,
    LARGE_ROW_BYTES,
    CallsSeen,
    RowCache,
    changelog_of,
    decode_row,
    encode_row,
)

BUDGET = "b/acme/p/id/-/total"
CALL = "c/acme/r1/1"


class Counting(MemoryTable):
    """Counts reads."""

    def __init__(self):
        super().__init__()
        self.reads = []

    def get(self, key):
        self.reads.append(key)
        return super().get(key)


def budget(spent=1):
    return events.BudgetRow(spent, 0, 0)


def cache_of(rows=(), *, cached_rows_max=100):
    """A cache over a table that holds *rows*."""
    table = Counting()
    table.write({key.encode(): encode_row(key, row) for key, row in dict(rows).items()})
    return RowCache(table, cached_rows_max=cached_rows_max), table


@pytest.mark.parametrize(
    ("key", "row", "changelog"),
    [
        (BUDGET, budget(), "state"),
        ("r/acme/p/id/-", events.RateRow(5, 0, 10), "state"),
        ("p", position(), "state"),
        (CALL, call_row(), "calls"),
        ("u/acme/r1/1", events.WaitingUsageRow(9, "acme", []), "calls"),
    ],
)
def test_each_kind_has_its_codec_and_its_changelog(key, row, changelog):
    """Money and position go to ``state``, calls and early usage to ``calls``; each comes back as it was."""
    assert decode_row(key, encode_row(key, row)) == row
    assert changelog_of(key) == changelog


@pytest.mark.parametrize(("key", "value"), [("x/what", b""), (BUDGET, b"\xc3\x01no"), (CALL, b"")])
def test_a_row_that_cannot_be_read_is_the_agents_own_fault(key, value):
    """No caller is blamed for a damaged table: the error is the agent's, and it restores."""
    with pytest.raises(AgentCorruptedError):
        decode_row(key, value)


def test_rows_are_read_through_once():
    """The table is asked the first time; a row that is not there is asked again, for it may come."""
    cache, table = cache_of({BUDGET: budget(7)})
    assert cache.get(BUDGET).spent_usd_nano == 7
    assert cache.get(BUDGET) is cache.get(BUDGET)
    assert table.reads == [BUDGET.encode()]
    assert cache.get(CALL) is None


def test_changes_are_seen_at_once_and_the_table_is_not_touched():
    """Reads see a put and a delete before any commit; the table holds only what is committed."""
    cache, table = cache_of({BUDGET: budget(7)})
    cache.put(BUDGET, budget(8))
    assert cache.get(BUDGET).spent_usd_nano == 8
    cache.delete(BUDGET)
    assert cache.get(BUDGET) is None
    assert decode_row(BUDGET, table.get(BUDGET.encode())).spent_usd_nano == 7


def test_a_cut_encodes_what_changed_once():
    """Each changed row is in a cut once, with its newest value; the next cut has only what changed since."""
    cache, _ = cache_of()
    for spent in (1, 2, 3):
        cache.put(BUDGET, budget(spent))
    cache.put(CALL, call_row())
    assert cache.changed_count == 2
    assert cache.is_changed(CALL)
    changes = cache.cut()
    assert changes.state == [(BUDGET.encode(), events.encode_budget_row(budget(3)))]
    assert changes.calls == [(CALL.encode(), events.encode_call_row(call_row()))]
    assert (cache.changed_count, cache.is_changed(CALL)) == (0, False)
    cache.put(BUDGET, budget(4))
    again = cache.cut()
    assert (len(again.state), again.calls) == (1, [])


def test_a_cut_is_not_changed_by_what_comes_after():
    """What a commit writes is the rows as of the cut, whatever the fast lane does meanwhile."""
    cache, _ = cache_of()
    row = budget(1)
    cache.put(BUDGET, row)
    changes = cache.cut()
    row.spent_usd_nano = 99
    assert changes.state[0][1] == events.encode_budget_row(budget(1))


def test_a_deleted_row_is_a_tombstone():
    """A deletion goes into the changelog, and stays in sight until the table has it."""
    cache, _ = cache_of({BUDGET: budget()})
    cache.delete(BUDGET)
    assert cache.cut().state == [(BUDGET.encode(), None)]
    assert cache.get(BUDGET) is None


def test_forget_drops_from_the_cache_alone():
    """A forgotten row makes no record; the next read asks the table."""
    cache, table = cache_of({CALL: call_row()})
    cache.get(CALL)
    cache.forget(CALL)
    cache.forget("c/never/seen/1")
    assert cache.cut().calls == []
    cache.get(CALL)
    assert len(table.reads) == 2


def test_settling_drops_the_oldest_above_the_limit():
    """Above half of the limit, of each kind, the rows longest in the cache go; the table has them."""
    keys = [f"c/acme/r{n}/1" for n in range(20)]
    cache, table = cache_of({key: call_row() for key in keys}, cached_rows_max=10)
    for key in keys:
        cache.get(key)
    cache.settle()
    table.reads.clear()
    for key in reversed(keys):
        cache.get(key)
    assert table.reads == [key.encode() for key in reversed(keys[:15])]


def test_settling_keeps_calls_and_money_apart():
    """Any number of calls drives no row of money out."""
    calls = {f"c/acme/r{n}/1": call_row() for n in range(50)}
    cache, table = cache_of({**calls, BUDGET: budget()}, cached_rows_max=10)
    cache.get(BUDGET)
    for key in calls:
        cache.get(key)
    cache.settle()
    table.reads.clear()
    cache.get(BUDGET)
    assert table.reads == []


def test_settling_never_drops_what_is_not_in_the_table():
    """Rows changed since the cut stay, however many they are and however large."""
    cache, _ = cache_of(cached_rows_max=4)
    large = call_row(decision=b"x" * LARGE_ROW_BYTES)
    for n in range(20):
        cache.put(f"c/acme/r{n}/1", large)
    cache.cut()
    for n in range(20):
        cache.put(f"c/acme/r{n}/1", large)
    cache.settle()
    assert all(cache.get(f"c/acme/r{n}/1") is large for n in range(20))


def test_large_rows_are_dropped_after_their_commit():
    """A count alone bounds no memory: rows with a large decision are not kept decoded, put or read."""
    large = call_row(decision=b"x" * LARGE_ROW_BYTES)
    cache, table = cache_of({CALL: large, "c/acme/r2/1": call_row()})
    cache.get(CALL)
    cache.get("c/acme/r2/1")
    cache.put("c/acme/r3/1", large)
    table.write({b"c/acme/r3/1": dict(cache.cut().calls)[b"c/acme/r3/1"]})
    cache.settle()
    table.reads.clear()
    for n in (1, 2, 3):
        assert cache.get(f"c/acme/r{n}/1") is not None
    assert table.reads == [b"c/acme/r1/1", b"c/acme/r3/1"]


def test_a_row_that_was_large_once_is_kept_when_it_is_small():
    """Only what is large now is dropped: a call settled into few bytes stays in memory as others do."""
    cache, table = cache_of()
    for size in (LARGE_ROW_BYTES, 1):
        cache.put(CALL, call_row(decision=b"x" * size))
        table.write({CALL.encode(): cache.cut().calls[0][1]})
        cache.settle()
    table.reads.clear()
    assert cache.get(CALL).decision == b"x"
    assert table.reads == []


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "delete", "get", "commit"]),
        st.sampled_from([BUDGET, "b/acme/p/id/k/total", CALL, "c/acme/r2/1", "r/acme/p/id/-"]),
        st.integers(0, 9),
    ),
    max_size=40,
)


def test_of_calls_that_are_larger_than_usual_fewer_are_kept():
    """Calls of 8 KB each take no more memory than calls of 1 KB: an eighth of them stay."""
    kept = {}
    for size in (100, 8 * CALL_BYTES):
        cache, table = cache_of(cached_rows_max=400)
        for number in range(1_000):
            key = f"c/acme/r{number}/1"
            cache.put_encoded(key, encode_row(key, call_row(decision=bytes(size))))
            if number % 10 == 9:
                changes = cache.cut()
                table.write(dict(changes.calls))
                cache.settle()
        table.reads.clear()
        for number in range(1_000):
            assert cache.get(f"c/acme/r{number}/1").decision == bytes(size)
        kept[size] = 1_000 - len(table.reads)

    assert kept == {100: 200, 8 * CALL_BYTES: pytest.approx(25, abs=3)}


@given(STEPS, st.integers(1, 6))
def test_a_cache_reads_as_a_dict_does(steps, cached_rows_max):
    """Whatever is put, deleted, cut, committed and dropped, a read gives what was put last."""
    cache, table = cache_of(cached_rows_max=cached_rows_max)
    model = {}
    for what, key, number in steps:
        if what == "commit":
            changes = cache.cut()
            newest = dict(changes.state + changes.calls)
            puts = {k: v for k, v in newest.items() if v is not None}
            table.write(puts, [k for k, v in newest.items() if v is None])
            cache.settle()
        elif what == "put":
            row = {"b": budget(number), "c": call_row(charged_usd_nano=number)}.get(
                key[0], events.RateRow(NOW_MS, number, 10)
            )
            model[key] = row
            cache.put(key, row)
        elif what == "delete":
            model.pop(key, None)
            cache.delete(key)
        assert cache.get(key) == model.get(key)


# -- calls that are nowhere ----------------------------------------------------------------------------------------


def test_a_new_call_is_not_looked_up():
    """A table is not asked for a call that was never put; for money, and where nobody knows, it is."""
    cache, table = cache_of()
    knowing = RowCache(table, cached_rows_max=100, seen=CallsSeen())
    assert (knowing.get(CALL), knowing.get(BUDGET)) == (None, None)
    assert table.reads == [BUDGET.encode()]
    cache.get(CALL)
    assert table.reads == [BUDGET.encode(), CALL.encode()]


@given(st.lists(st.tuples(st.sampled_from("pcwvei"), st.integers(0, 5))))
def test_a_call_in_the_table_is_never_taken_for_a_new_one(steps):
    """Whatever the order of puts, commits, walks of the sweep and evictions: what the table has is found."""
    table = Counting()
    cache = RowCache(table, cached_rows_max=2, seen=CallsSeen())
    known = set()
    for step, number in steps:
        key = f"c/acme/r{number}/1"
        if step == "p":
            cache.put(key, call_row())
            known.add(key)
        elif step == "c":
            table.write(dict(cache.cut().calls))
            cache.settle()
        elif step == "w":
            cache.walk_begins()
        elif step == "v":
            for raw_key, _ in table.scan(b""):
                cache.walked(raw_key.decode())
            cache.walk_ends()
        else:
            cache.settle()
        assert {k for k in known if cache.get(k) is None} == set()


def test_a_committed_call_is_kept_as_bytes_until_it_is_asked_for():
    """After a cut a row of a call is its encoding alone, and comes back as it was."""
    cache, table = cache_of()
    cache.put(CALL, call_row())
    table.write(dict(cache.cut().calls))
    assert cache.get(CALL) == call_row()
    assert table.reads == []
