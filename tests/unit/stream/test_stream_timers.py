"""Timers: a takeover finds what falls due without looking for it, and answers as if it had."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_desk import META, NOW_MS, Shelf, call_row, position

from enforcer import events, state
from enforcer.errors import AgentCorruptedError
from enforcer.stream import timers
from enforcer.stream.commit import write_table
from enforcer.stream.rows import RowCache, due_of, encode_row
from enforcer.stream.sweep import CopySweep
from enforcer.stream.timers import LEAD_US, LISTS, SECOND_US, Timers, lists_of

NOW_US = NOW_MS * 1000
BUDGETS = ("b/acme/p/id/x/total", "b/acme/p/id/y/total")


def open_row(due_us, budget=0):
    return call_row(
        status="open", expires_us=due_us, end_us=due_us + 900 * SECOND_US, reserved_usd_nano=1,
        budgets=[events.Allocation(BUDGETS[budget], 1)],
    )  # fmt: skip


def waiting_row(due_us):
    usage = events.Usage("r", "acme", outcome="completed", cost_usd_nano=1)
    return events.WaitingUsageRow(due_us, "acme", [events.encode_usage(usage)])


def lists_in(table):
    return dict(table.scan(LISTS))


def restored(rows, *, position_calls=1, table=None):
    """A table as a restore writes it."""
    table = table or Shelf()
    changes = [(key.encode(), encode_row(key, row)) for key, row in rows.items()]
    meta = replace(META, positions={"calls": position_calls, "state": 1})
    write_table(table, changes, [], meta=meta)
    return table


class Tenure:
    """What a tenure has of a table: cache, queue and timers; the commit is the test's."""

    def __init__(self, table, now_us):
        self.table, self.now_us = table, now_us
        self.rows = RowCache(table, cached_rows_max=4)
        self.queue = state.ExpiryQueue(notes=True)
        self.timers = Timers(table, self.rows, self.queue)
        asyncio.run(self.timers.begin(now_us))

    def put(self, key, row):
        self.rows.put(key, row)
        self.queue.track(key, row)

    def passes(self, now_us):
        self.now_us = max(self.now_us, now_us)
        if self.now_us >= self.timers.loaded_us:
            self.timers.catch_up(self.now_us)

    def commit(self, positions):
        """The changes, as the changelog has them."""
        gone = self.timers.step(self.now_us)
        due = self.queue.take_noted()
        changes = self.rows.cut().calls
        meta = replace(META, positions=positions)
        write_table(self.table, changes, gone, meta=meta, due=due)
        self.rows.settle()
        return changes


def test_a_takeover_asks_no_row_that_is_not_due():
    """Of calls that are open for long only their lists are there; what is due soon is in the queue."""
    soon, late = NOW_US + LEAD_US - SECOND_US, NOW_US + 10 * LEAD_US
    rows = {f"c/acme/r{n}/1": open_row(soon if n < 3 else late) for n in range(50)}
    tenure = Tenure(restored(rows), NOW_US)
    assert len(tenure.queue) == 3
    assert tenure.queue.due(late, 50) == [f"c/acme/r{n}/1" for n in range(3)]


def test_a_leap_of_time_reads_what_it_passes():
    """Whatever the step of event time: what is due at the next event is in the queue before it is taken."""
    rows = {f"c/acme/r{n}/1": open_row(NOW_US + n * 60 * SECOND_US) for n in range(30)}
    tenure = Tenure(restored(rows), NOW_US)
    at_us = NOW_US + 20 * 60 * SECOND_US
    tenure.passes(at_us)
    assert len(tenure.queue.due(at_us, 99)) == 21


def test_a_settled_call_is_passed_over():
    """Nothing is deleted from a list when a call closes: the row says that it has."""
    key = "c/acme/r/1"
    table = restored({key: open_row(NOW_US + 1)})
    restored({key: call_row(status="settled")}, table=table, position_calls=2)
    assert len(lists_in(table)) == 1
    assert len(Tenure(table, NOW_US).queue) == 0


def test_lists_go_when_nothing_of_them_is_open():
    """A list of a past second stays as long as one of its calls is open, renewed or not, and no longer."""
    keys = [f"c/acme/r{n}/1" for n in range(2)]
    tenure = Tenure(restored({key: open_row(NOW_US) for key in keys}), NOW_US)
    tenure.passes(NOW_US + 5 * SECOND_US)
    tenure.put(keys[0], call_row(status="settled"))
    tenure.put(keys[1], open_row(NOW_US + 500 * SECOND_US))
    tenure.commit({"calls": 3, "state": 3})
    first, renewed = lists_in(tenure.table)
    tenure.passes(NOW_US + timers.AGAIN_US + 6 * SECOND_US)
    tenure.put(keys[1], call_row(status="settled"))
    tenure.commit({"calls": 4, "state": 4})
    assert list(lists_in(tenure.table)) == [renewed]
    tenure.passes(NOW_US + 600 * SECOND_US)
    tenure.commit({"calls": 4, "state": 5})
    assert (lists_in(tenure.table), first < renewed) == ({}, True)


def test_usage_that_waits_is_known_before_it_is_read():
    """The ordinary path asks for waiting usage that is due later: what is not in the queue yet is looked up."""
    waits = NOW_US + 600 * SECOND_US
    tenure = Tenure(restored({"u/acme/r/1": waiting_row(waits)}), NOW_US)
    assert tenure.queue.concerns(NOW_US, "u/acme/r/1")
    assert not tenure.queue.concerns(NOW_US, "u/acme/other/1")
    tenure.passes(waits - 1)
    tenure.timers.step(waits - 1)
    assert (len(tenure.queue), tenure.queue.elsewhere) == (1, None)


def test_a_copy_drops_lists_of_past_seconds_by_their_rows():
    """Nobody there has a queue: a list stays as long as a row of it is open."""
    table = restored(
        {
            "c/acme/r1/1": open_row(NOW_US - 5 * SECOND_US),
            "c/acme/r2/1": open_row(NOW_US - 9 * SECOND_US),
            "c/acme/r3/1": open_row(NOW_US + SECOND_US),
        }
    )
    restored({"c/acme/r2/1": call_row(status="expired")}, table=table, position_calls=2)
    late = position()
    late.now_us = NOW_US
    table.write({b"p": encode_row("p", late)})
    gone = [at for at in CopySweep(table).step(rows=10) if at.startswith(LISTS)]
    assert [lists_in(table)[at] for at in gone] == [b'["c/acme/r2/1"]']


def test_a_list_is_of_one_write():
    """Two writes never share a list, so that none takes another's place."""
    due = [(NOW_US, "c/a/1/1"), (NOW_US + 1, "c/a/2/1"), (NOW_US + SECOND_US, "c/a/3/1")]
    one, two = (lists_of(due, {"state": 5, "calls": calls}) for calls in (7, 8))
    assert [len(one), len(one | two)] == [2, 4]
    assert lists_of([], {}) == {}


def test_a_damaged_list_is_a_damaged_table():
    """What cannot be read is not passed over: the table is wiped and read back."""
    table = Shelf()
    table.write({LISTS + b"%016d/1-1" % NOW_US: b"no list"})
    with pytest.raises(AgentCorruptedError):
        Tenure(table, NOW_US)


def unlisted(table):
    """What breaks (1): rows that fall due and stand in no list of a second that is not after their own."""
    lists = [(int(at[len(LISTS) :][:16]), value) for at, value in lists_in(table).items()]
    found = set()
    for raw_key, value in (*table.scan(b"c/"), *table.scan(b"u/")):
        row = events.decode(value)
        is_open = row.reports if raw_key[:1] == b"u" else row.status == "open"
        due_us = due_of(raw_key.decode(), value)
        if is_open and not any(at_us <= due_us and raw_key in keys for at_us, keys in lists):
            found.add(raw_key)
    return found


class Story:
    """A partition, its owner's table and another worker's copy, beside a queue that has everything."""

    def __init__(self):
        self.copy, self.logged = Shelf(), 0
        self.sweep = CopySweep(self.copy)
        self.whole, self.committed = {}, {}
        self.tenure = Tenure(Shelf(), NOW_US)

    def open(self, number):
        key = f"c/acme/r{number}/1"
        if key not in self.whole:
            row = open_row(self.tenure.now_us + (number * 7 + 1) * SECOND_US, number % 2)
            self.whole[key] = row
            self.tenure.put(key, row)

    def settle(self, number):
        key = f"c/acme/r{number}/1"
        if self.whole.pop(key, None) is not None:
            self.tenure.rows.put(key, call_row(status="settled"))
            self.tenure.queue.discard(key)

    def renew(self, number):
        key = f"c/acme/r{number}/1"
        if key in self.whole:
            later = max(self.whole[key].expires_us, self.tenure.now_us + 40 * SECOND_US)
            row = self.whole[key] = open_row(later, number % 2)
            self.tenure.rows.put(key, row)
            if key in self.tenure.queue:  # As ``effects`` does it.
                self.tenure.queue.track(key, row)

    def wait(self, number):
        key = f"u/acme/w{number}/1"
        row = self.whole[key] = waiting_row(self.tenure.now_us + 50 * SECOND_US)
        self.tenure.put(key, row)

    def passes(self, number):
        self.tenure.passes(self.tenure.now_us + number * SECOND_US)

    def leap(self, number):
        self.tenure.passes(self.tenure.now_us + number * LEAD_US)

    def commit(self, _):
        self.logged += 1
        positions = {"calls": self.logged, "state": self.logged}
        at = position()
        at.now_us = self.tenure.now_us
        changes = self.tenure.commit(positions)
        changed = [key for key, _ in changes]
        swept = [key for key in self.sweep.step(rows=10) if key not in changed]
        changes.append((b"p", encode_row("p", at)))
        write_table(self.copy, changes, swept, meta=replace(META, positions=positions))
        self.committed = dict(self.whole)

    def take_over(self, _):
        self.tenure = Tenure(self.tenure.table, self.tenure.now_us)
        self.whole = dict(self.committed)

    def move(self, number):
        last, self.tenure.table = self.tenure.table, self.copy
        self.copy, self.sweep = last, CopySweep(last)
        self.take_over(number)

    def check(self):
        reference = state.ExpiryQueue.from_rows(self.whole.items())
        queue, now_us = self.tenure.queue, self.tenure.now_us
        assert queue.due(now_us, 99) == reference.due(now_us, 99)
        for asked in (*BUDGETS, *self.whole):
            assert queue.due_for([asked], now_us) == reference.due_for([asked], now_us)
        for waiting in (f"u/acme/w{n}/1" for n in range(6)):
            assert queue.concerns(now_us, waiting) or not reference.concerns(now_us, waiting)
        assert unlisted(self.tenure.table) | unlisted(self.copy) == set()


STEPS = ("open", "settle", "renew", "wait", "passes", "leap", "commit", "take_over", "move")


@given(st.lists(st.tuples(st.sampled_from((*STEPS, "open", "commit")), st.integers(0, 5))))
def test_a_tenure_answers_as_if_it_had_looked_at_every_row(steps):
    """Against a queue that has everything: any order of calls, renewals, leaps of time, commits, takeovers and copies."""
    story = Story()
    for step, number in steps:
        getattr(story, step)(number)
        story.check()
