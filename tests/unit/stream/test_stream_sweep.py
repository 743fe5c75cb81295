"""Ended rows are deleted a few at a time; what is open is found again at a takeover."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_desk import NOW_MS, Shelf, call_row, position

from enforcer import events, state
from enforcer.errors import AgentCorruptedError
from enforcer.stream import sweep
from enforcer.stream.rows import CallsSeen, RowCache, encode_row
from enforcer.stream.sweep import WALK_EVERY_US, CopySweep, Sweep, rebuild

NOW_US = NOW_MS * 1000
MONTH_US = 33 * 86_400 * 1_000_000
BUDGET = "b/acme/p/id/-/total"


def table_of(rows):
    table = Shelf()
    table.write({key.encode(): encode_row(key, row) for key, row in rows.items()})
    return table


def swept(rows, *, now_us=NOW_US, count=100):
    """One step over a table of *rows*: keys deleted without a tombstone, and keys with one."""
    table = table_of(rows)
    cache = RowCache(table, cached_rows_max=100)
    ended = Sweep(table, cache).step(now_us, rows=count)
    changes = cache.cut()
    assert changes.calls == []
    assert all(value is None for _, value in changes.state)
    return [key.decode() for key in ended], [key.decode() for key, _ in changes.state]


def open_call(*, end_us=NOW_US - 1, amount=5):
    return call_row(
        end_us=end_us, status="open", expires_us=NOW_US + 9,
        reserved_usd_nano=amount, budgets=[events.Allocation(BUDGET, amount)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "row", "goes"),
    [
        ("c/acme/r/1", call_row(end_us=NOW_US), "alone"),
        ("c/acme/r/1", call_row(end_us=NOW_US + 1), "stays"),
        ("c/acme/r/1", open_call(), "stays"),
        ("u/acme/r/1", events.WaitingUsageRow(NOW_US - 1, "acme", []), "alone"),
        ("u/acme/r/1", events.WaitingUsageRow(NOW_US + 1, "acme", []), "stays"),
        ("b/acme/p/id/-/2026-10", events.BudgetRow(9, 0, NOW_US - MONTH_US), "tombstone"),
        ("b/acme/p/id/-/2026-10", events.BudgetRow(9, 1, NOW_US - MONTH_US), "stays"),
        ("b/acme/p/id/-/2026-11", events.BudgetRow(9, 0, NOW_US - 1), "stays"),
        (BUDGET, events.BudgetRow(9, 0, 0), "stays"),
        ("r/acme/p/id/-", events.RateRow(NOW_US, 0, 10), "tombstone"),
        ("r/acme/p/id/-", events.RateRow(NOW_US + 1, 0, 10), "stays"),
        ("p", position(), "stays"),
    ],
)
def test_what_goes_and_how(key, row, goes):
    """Rows of calls go from the table alone, spent money with a tombstone; the position never goes."""
    alone, tombstones = swept({key: row})
    assert (alone, tombstones) == (
        [key] if goes == "alone" else [],
        [key] if goes == "tombstone" else [],
    )


def test_a_row_with_a_change_under_way_stays():
    """What the cache has changed is not what the table says: it is left for the next round."""
    key = "r/acme/p/id/-"
    table = table_of({key: events.RateRow(NOW_US - 1, 0, 10)})
    cache = RowCache(table, cached_rows_max=100)
    cache.put(key, events.RateRow(NOW_US + 50, 0, 10))
    Sweep(table, cache).step(NOW_US, rows=10)
    assert cache.get(key).full_at_us == NOW_US + 50


def test_an_ended_call_is_forgotten_by_the_cache():
    """A call deleted from the table must not live on in memory, or a restart would decide otherwise."""
    key = "c/acme/r/1"
    table = table_of({key: call_row(end_us=NOW_US)})
    cache = RowCache(table, cached_rows_max=100)
    assert cache.get(key) is not None
    assert Sweep(table, cache).step(NOW_US, rows=10) == [key.encode()]
    table.write({}, [key.encode()])
    assert cache.get(key) is None


def test_the_cursor_walks_round_the_table():
    """Each step looks at the next few rows; after the last it rests, and then begins anew."""
    keys = [f"c/acme/r{n}/1" for n in range(5)]
    table = table_of({key: call_row(end_us=NOW_US) for key in keys})
    walk = Sweep(table, RowCache(table, cached_rows_max=100))
    times = [NOW_US, NOW_US, NOW_US, NOW_US + WALK_EVERY_US - 1, NOW_US + WALK_EVERY_US]
    seen = [[key.decode() for key in walk.step(at_us, rows=2)] for at_us in times]
    assert seen == [keys[:2], keys[2:4], keys[4:], [], keys[:2]]


@given(st.integers(1, 7), st.integers(1, 30))
def test_every_row_is_looked_at(count, rows):
    """Whatever the step, one round deletes all that has ended."""
    keys = [f"c/acme/r{n:02}/1" for n in range(rows)]
    table = table_of({key: call_row(end_us=NOW_US) for key in keys})
    walk = Sweep(table, RowCache(table, cached_rows_max=100))
    for _ in range(rows // count + 1):
        table.write({}, walk.step(NOW_US, rows=count))
    assert table.rows() == {}


# -- what is open --------------------------------------------------------------------------------------------------


async def test_open_calls_and_waiting_reports_are_in_the_queue_again():
    """The queue is a function of the rows: what holds money or reports, by when it is due."""
    usage = events.Usage("r2", "acme", outcome="completed", cost_usd_nano=1)
    rows = {
        "c/acme/r1/1": open_call(),
        "c/acme/r3/1": call_row(),
        "u/acme/r2/1": events.WaitingUsageRow(NOW_US + 5, "acme", [events.encode_usage(usage)]),
        BUDGET: events.BudgetRow(0, 5, 0),
        "p": position(),
    }
    queue = state.ExpiryQueue()
    assert await rebuild(table_of(rows), queue, seen=CallsSeen()) == ()
    assert queue.due(NOW_US + 9) == ["u/acme/r2/1", "c/acme/r1/1"]


async def test_what_no_call_holds_any_more_is_charged():
    """A table read back whole may have lost calls: what a budget holds for them is charged, fail closed."""
    rows = {"c/acme/r1/1": open_call(amount=5), BUDGET: events.BudgetRow(1, 12, 0)}
    queue = state.ExpiryQueue()
    effects = await rebuild(table_of(rows), queue, seen=CallsSeen())
    assert [(e.kind, e.row, e.amount) for e in effects] == [
        ("release", BUDGET, 7), ("charge", BUDGET, 7),
    ]  # fmt: skip


async def test_a_large_table_does_not_stop_the_loop(monkeypatch):
    """Between so many rows everything else of the process has its turn."""
    monkeypatch.setattr(sweep, "ROWS_AT_ONCE", 4)
    turns = []

    async def sleep(seconds):
        turns.append(seconds)

    monkeypatch.setattr(sweep.asyncio, "sleep", sleep)
    table = table_of({f"c/acme/r{n}/1": call_row() for n in range(10)})
    await rebuild(table, state.ExpiryQueue(), seen=CallsSeen())
    assert turns == [0, 0]


def test_a_copy_loses_what_has_ended_by_its_owners_time_and_nothing_else():
    """Ended calls and reports go a few at a time; money, rates and the position are the owner's business."""
    late = position()
    late.now_us = NOW_US
    ended = {f"c/acme/r{n}/1": call_row(end_us=NOW_US) for n in range(5)}
    stays = {
        "c/acme/young/1": call_row(end_us=NOW_US + 1),
        "c/acme/open/1": open_call(),
        "b/acme/p/id/-/2026-10": events.BudgetRow(9, 0, NOW_US - MONTH_US),
        "r/acme/p/id/-": events.RateRow(NOW_US, 0, 10),
    }
    table = table_of({**ended, **stays, "p": late})
    sweep_of = CopySweep(table)
    found = []
    for _ in range(12):
        found += [key.decode() for key in sweep_of.step(rows=2)]
    assert sorted(found) == sorted(ended), "one walk, and then it rests"
    assert CopySweep(table_of(ended)).step(rows=9) == [], "without a position nobody knows the time"


def test_a_row_that_cannot_be_read_is_the_tables_fault():
    """Whoever meets it wipes the table; an error of a request would end the worker, again at each start."""
    table = table_of({"p": position()})
    table.write({b"c/acme/r/1": b""})
    with pytest.raises(AgentCorruptedError):
        Sweep(table, RowCache(table, cached_rows_max=9)).step(NOW_US, rows=9)
    with pytest.raises(AgentCorruptedError):
        CopySweep(table).step(rows=9)
