"""Two inputs, one order, whatever the batches they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_desk import NOW_MS, Rec

from enforcer import events
from enforcer.errors import ConfigError
from enforcer.stream.inputs import RECORD_OVERHEAD_BYTES, REQUESTS, USAGE, Inputs
from enforcer.stream.tail import Told

LATEST = NOW_MS + 60_000


def request(offset, time=0, **fields):
    return Rec("enforcer.requests", 0, offset, NOW_MS + time, **fields)


def usage(offset, time=0):
    return Rec("enforcer.usage", 0, offset, NOW_MS + time)


def told(offset, usage_offset):
    return Told(offset, usage_offset, None, b"")


def inputs(*, ends=(), told=(), wait_s=0.05, at=(0, 0)):
    """Inputs that are at their ends where *ends* names them; a set that a test may change."""
    return Inputs(*at, told=told, lone_wait_s=wait_s, at_end=lambda name: name in ends)


def drain(queues, *, now_s=0.0, latest=LATEST):
    """Take all that may go; r3 is the request at offset 3, u4 usage at 4."""
    found = []
    queues.look()
    while (item := queues.take(now_s, latest)) is not None:
        found.append(f"{'r' if item.is_request else 'u'}{item.record.offset}")
    return found


def test_the_smaller_time_goes_first():
    """Both inputs are merged by record time."""
    queues = inputs(ends={REQUESTS, USAGE})
    queues.feed(REQUESTS, [request(0, 1), request(1, 4)])
    queues.feed(USAGE, [usage(0, 0), usage(1, 3), usage(2, 5)])
    assert drain(queues) == ["u0", "r0", "u1", "r1", "u2"]


def test_a_request_goes_before_usage_of_the_same_time():
    """Of one millisecond, the request is first."""
    queues = inputs(ends={REQUESTS, USAGE})
    queues.feed(USAGE, [usage(0, 7)])
    queues.feed(REQUESTS, [request(0, 7), request(1, 7)])
    assert drain(queues) == ["r0", "r1", "u0"]


@pytest.mark.parametrize(("alone", "other"), [(REQUESTS, USAGE), (USAGE, REQUESTS)])
def test_a_lone_input_goes_when_the_other_is_at_its_end(alone, other):
    """Nothing can come before a record when the other input is known to be read up."""
    ends = set()
    queues = inputs(ends=ends)
    queues.feed(alone, [request(0) if alone == REQUESTS else usage(0)])
    assert drain(queues) == []
    ends.add(other)
    assert len(drain(queues)) == 1


@pytest.mark.parametrize(("alone", "waits"), [(REQUESTS, True), (USAGE, True)])
def test_a_lone_input_goes_after_the_wait(alone, waits):
    """An input that gives nothing holds the other up for 50 ms, and once waited out not again."""
    queues = inputs()
    make = request if alone == REQUESTS else usage
    queues.feed(alone, [make(0), make(1)])
    assert drain(queues, now_s=10.0) == []
    assert drain(queues, now_s=10.049) == []
    assert len(drain(queues, now_s=10.051)) == 2
    queues.feed(alone, [make(2)])
    # The queue was empty in between, so the wait begins anew.
    assert drain(queues, now_s=10.052) == []


def test_the_wait_begins_anew_when_the_other_input_has_spoken():
    """A record of the other input ends the wait for it."""
    queues = inputs()
    queues.feed(REQUESTS, [request(0, 0), request(1, 9)])
    assert drain(queues, now_s=1.0) == []
    queues.feed(USAGE, [usage(0, 5)])
    assert drain(queues, now_s=1.04) == ["r0", "u0"]
    assert drain(queues, now_s=1.06) == []
    assert drain(queues, now_s=1.1) == ["r1"]


def test_the_ends_are_asked_once_a_slice():
    """An end is asked when it is needed, once between two looks."""
    asked = []

    def at_end(name):
        asked.append(name)
        return True

    queues = Inputs(0, 0, lone_wait_s=1, at_end=at_end)
    queues.feed(REQUESTS, [request(n) for n in range(5)])
    assert len(drain(queues)) == 5
    assert asked == [USAGE]
    queues.feed(REQUESTS, [request(5)])
    assert len(drain(queues)) == 1
    assert asked == [USAGE, USAGE]


def test_positions_are_after_what_was_taken_and_jump_over_gaps():
    """Control records and compacted ones take no place in the order; the position passes them."""
    queues = inputs(ends={REQUESTS, USAGE}, at=(3, 5))
    queues.feed(REQUESTS, [request(4), request(9)])
    queues.feed(USAGE, [usage(7)])
    assert (queues.request_offset, queues.usage_offset) == (3, 5)
    assert drain(queues) == ["r4", "r9", "u7"]
    assert (queues.request_offset, queues.usage_offset) == (10, 8)


def test_what_was_fed_before_is_passed_over():
    """A fetch that was on its way during a seek gives records again: each is taken once."""
    queues = inputs(ends={REQUESTS, USAGE}, at=(2, 0))
    queues.feed(REQUESTS, [request(1), request(2), request(3)])
    queues.feed(REQUESTS, [request(2), request(3), request(4)])
    queues.feed(REQUESTS, [])
    assert drain(queues) == ["r2", "r3", "r4"]
    queues.feed(REQUESTS, [request(3)])
    assert drain(queues) == []


def test_sizes_are_records_and_bytes():
    """Key, value and an overhead count, and are given back when a record is taken."""
    queues = inputs(ends={REQUESTS, USAGE})
    queues.feed(REQUESTS, [request(0, key=b"abc", value=b"12345"), request(1, value=None)])
    assert queues.size(REQUESTS) == (2, 8 + 2 * RECORD_OVERHEAD_BYTES)
    assert queues.size(USAGE) == (0, 0)
    assert len(queues) == 2
    drain(queues)
    assert queues.size(REQUESTS) == (0, 0)


def test_a_time_of_the_producer_stops_the_worker():
    """There is no order by times that senders choose."""
    queues = inputs()
    with pytest.raises(ConfigError) as error:
        queues.feed(USAGE, [Rec("enforcer.usage", timestamp_type=0)])
    assert error.value.code == "append_time"


def test_a_record_from_the_future_is_left():
    """A record too far ahead of the clock holds everything behind it, and is named; later it goes."""
    queues = inputs(ends={REQUESTS, USAGE})
    queues.feed(REQUESTS, [request(0), request(1, 100)])
    assert drain(queues, latest=NOW_MS + 99) == ["r0"]
    assert queues.ahead is not None
    assert queues.ahead.offset == 1
    assert drain(queues, latest=NOW_MS + 100) == ["r1"]
    assert queues.ahead is None


def test_peek_names_what_take_gives():
    """A look ahead takes nothing."""
    queues = inputs(ends={REQUESTS, USAGE})
    assert queues.peek(0.0, LATEST) is None
    queues.feed(USAGE, [usage(4, 1)])
    queues.feed(REQUESTS, [request(2, 2)])
    assert queues.peek(0.0, LATEST) == (USAGE, 4)
    assert drain(queues) == ["u4", "r2"]


# -- the tail redone -------------------------------------------------------------------------------------------


def test_the_tail_is_redone_at_its_usage_positions():
    """Usage goes before a told request up to the position it was decided at, against record times."""
    queues = inputs(ends={REQUESTS, USAGE}, told=[told(0, 2), told(1, 2)])
    queues.feed(REQUESTS, [request(0, 0), request(1, 0), request(2, 0)])
    queues.feed(USAGE, [usage(0, 50), usage(1, 60), usage(2, -1)])
    assert queues.redoing
    assert drain(queues) == ["u0", "u1", "r0", "r1", "u2", "r2"]
    assert not queues.redoing


def test_each_told_request_comes_with_its_verdict():
    """A told verdict is given with its request, and only with it."""
    first, second = told(1, 0), told(2, 0)
    queues = inputs(ends={REQUESTS, USAGE}, told=[second, first])
    queues.feed(REQUESTS, [request(0), request(1), request(2), request(3)])
    queues.look()
    given = [queues.take(0.0, LATEST).told for _ in range(4)]
    assert given == [None, first, second, None]


def test_usage_that_a_verdict_saw_is_waited_for():
    """A told verdict's usage must come first, however long it takes, unless the log has ended before it."""
    ends = {REQUESTS}
    queues = inputs(ends=ends, told=[told(0, 2)])
    queues.feed(REQUESTS, [request(0)])
    queues.feed(USAGE, [usage(0)])
    assert drain(queues, now_s=0.0) == ["u0"]
    assert drain(queues, now_s=100.0) == []
    queues.feed(USAGE, [usage(1)])
    assert drain(queues, now_s=100.0) == ["u1", "r0"]

    gone = inputs(ends={REQUESTS, USAGE}, told=[told(0, 2)])
    gone.feed(REQUESTS, [request(0)])
    assert drain(gone) == ["r0"]


def test_usage_beyond_the_verdicts_position_waits():
    """Usage whose offset is at or above the told position goes after it, gaps or not."""
    queues = inputs(ends={REQUESTS, USAGE}, told=[told(0, 5)])
    queues.feed(REQUESTS, [request(0, 10)])
    queues.feed(USAGE, [usage(3), usage(6)])
    assert drain(queues) == ["u3", "r0", "u6"]


def test_untold_requests_between_told_ones_are_taken_in_their_place():
    """A request without a verdict before a told one goes by time against usage that is due."""
    queues = inputs(ends={REQUESTS, USAGE}, told=[told(2, 2)])
    queues.feed(REQUESTS, [request(0, 5), request(1, 20), request(2, 30)])
    queues.feed(USAGE, [usage(0, 10), usage(1, 25), usage(2, 0)])
    assert drain(queues) == ["r0", "u0", "r1", "u1", "r2", "u2"]


def test_a_told_request_that_the_log_has_lost_is_passed():
    """Retention may delete a told verdict's request: the verdict falls out, the rest goes on by time."""
    queues = inputs(ends={REQUESTS, USAGE}, told=[told(0, 1), told(1, 1)])
    queues.feed(REQUESTS, [request(5, 3)])
    queues.feed(USAGE, [usage(0, 1)])
    assert drain(queues) == ["u0", "r5"]
    assert not queues.redoing


def test_nothing_goes_while_the_told_requests_have_not_come():
    """While the tail is redone, usage alone does not go: its place is known only with the request."""
    queues = inputs(ends={REQUESTS, USAGE}, told=[told(0, 9)])
    queues.feed(USAGE, [usage(0)])
    assert drain(queues) == []


# -- laws --------------------------------------------------------------------------------------------------------


@st.composite
def streams(draw):
    """Two logs with gaps in offsets and times that grow, and how each is cut into batches."""
    logs = []
    for make in (request, usage):
        offset, time, records = 0, 0, []
        for skip, later in draw(
            st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=12)
        ):
            offset, time = offset + 1 + skip, time + later
            records.append(make(offset, time))
        logs.append(records)
    return logs


def run(logs, sizes, tail=(), *, plainly=False):
    """
    Feed in batches of *sizes*, an end being known only when all was fed; the whole order.

    With *plainly* requests are popped for as long as ``plain_until_ms`` says, as a slice does.
    """
    ends = {name for name, log in zip((REQUESTS, USAGE), logs, strict=True) if not log}
    queues = inputs(ends=ends, told=tail, wait_s=1e9)
    left = {REQUESTS: list(logs[0]), USAGE: list(logs[1])}
    order, given, turn = [], [], 0
    while any(left.values()):
        name = (REQUESTS, USAGE)[sizes[turn % len(sizes)] % 2]
        name = name if left[name] else (USAGE if name == REQUESTS else REQUESTS)
        size = 1 + sizes[turn % len(sizes)] // 2
        turn += 1
        queues.feed(name, left[name][:size])
        del left[name][:size]
        if not left[name]:
            ends.add(name)
        queues.look()
        plain_ms = queues.plain_until_ms(LATEST) if plainly else -1
        waiting = queues.requests.records
        while waiting and waiting[0].timestamp <= plain_ms:
            record = queues.requests.pop()
            order.append((True, record.offset))
            given.append((record.offset, queues.usage_offset))
        while (item := queues.take(0.0, LATEST)) is not None:
            order.append((item.is_request, item.record.offset))
            given.append((item.record.offset, queues.usage_offset) if item.is_request else None)
    return order, [g for g in given if g is not None]


SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=8)


@given(streams(), SIZES, SIZES)
def test_the_order_does_not_depend_on_the_batches(logs, one, other):
    """However records are fetched, they are taken in one order, all of them, and that is by time."""
    order, _ = run(logs, one)
    assert order == run(logs, other)[0]
    by_time = sorted(
        [(r.timestamp, 0, True, r.offset) for r in logs[0]]
        + [(u.timestamp, 1, False, u.offset) for u in logs[1]],
        key=lambda each: each[:2],
    )
    assert order == [each[2:] for each in by_time]


@given(streams(), SIZES)
def test_a_plain_stretch_is_the_one_order(logs, sizes):
    """Requests that go one after the other without being asked about are those that ``take`` would give."""
    assert run(logs, sizes, plainly=True) == run(logs, sizes)


def test_a_stretch_is_not_plain_where_something_is_to_be_waited_for():
    """Usage that may still come, a tail to be redone, what is read elsewhere, times to come: each is asked about."""
    queues = inputs()
    queues.feed(REQUESTS, [request(0)])
    assert queues.plain_until_ms(LATEST) == -1
    tail = inputs(ends={USAGE}, told=[told(5, 0)])
    tail.feed(REQUESTS, [request(0)])
    assert tail.plain_until_ms(LATEST) == -1
    held = inputs(ends={USAGE})
    held.feed(REQUESTS, [request(0)])
    held.held.add(0)
    assert held.plain_until_ms(LATEST) == -1
    late = inputs(ends={USAGE})
    late.feed(REQUESTS, [request(0, 90_000)])
    assert late.plain_until_ms(LATEST) == LATEST


def test_a_plain_stretch_ends_the_wait_before_it():
    """The wait for a silent input begins anew behind it."""
    ends = set()
    queues = inputs(ends=ends)
    queues.feed(REQUESTS, [request(0), request(1)])
    assert drain(queues) == []
    ends.add(USAGE)
    queues.look()
    assert queues.plain_until_ms(LATEST) == LATEST
    queues.requests.pop()
    ends.clear()
    assert drain(queues, now_s=1.0) == []
    assert drain(queues, now_s=1.1) == ["r1"]


@given(streams(), SIZES, SIZES, st.data())
def test_a_tail_is_redone_in_the_order_it_was_told(logs, one, other, data):
    """Whatever order the first owner took, the next one takes the same, from the usage positions it told."""
    # The first owner waited out: any merge of the two logs is one it may have told.
    left, order, tail, at = [list(logs[0]), list(logs[1])], [], [], 0
    while any(left):
        which = data.draw(st.integers(0, 1)) if all(left) else (0 if left[0] else 1)
        record = left[which].pop(0)
        order.append((which == 0, record.offset))
        if which == 0:
            tail.append(told(record.offset, at))
        else:
            at = record.offset + 1
    redone, seen = run(logs, one, tail)
    assert seen == [(t.offset, t.usage_offset) for t in tail]
    # Usage after the last told request is in nobody's verdict.
    last = max((at for at, each in enumerate(order) if each[0]), default=-1)
    assert redone[: last + 1] == order[: last + 1]
    assert redone == run(logs, other, tail)[0]


def test_told_verdicts_name_positions_of_decisions():
    """The usage position that orders the tail is the one in the decision's source."""
    source = events.Source("t", 0, 4, 7, 0, 0)
    assert (source.offset, source.usage_offset) == (4, 7)
