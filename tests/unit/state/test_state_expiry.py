"""The order and the bounds of expiry."""

from hypothesis import given
from hypothesis import strategies as st
from state_desk import DAY, TOTAL, TTL_US, Desk, usage

from enforcer import state

KEYS = [f"c/{letter}" for letter in "abcdefgh"]
BUDGETS = ["b/1", "b/2", "b/3"]
ADD = st.tuples(
    st.just("add"),
    st.sampled_from(KEYS),
    st.integers(0, 9),
    st.lists(st.sampled_from(BUDGETS), max_size=3),
)
DISCARD = st.tuples(st.just("discard"), st.sampled_from(KEYS), st.just(0), st.just([]))


@given(steps=st.lists(ADD | DISCARD, max_size=200), now_us=st.integers(0, 10))
def test_the_queue_is_a_function_of_what_it_holds(steps, now_us) -> None:
    """Whatever came and went, the answers are those of a sorted list."""
    queue, model = state.ExpiryQueue(), {}
    for step, key, due_us, rows in steps:
        if step == "add":
            queue.add(due_us, key, rows)
            model[key] = (due_us, key, rows)
        else:
            queue.discard(key)
            model.pop(key, None)
    due = [entry for entry in sorted(model.values()) if entry[0] <= now_us]

    assert len(queue) == len(model)
    assert queue.due(now_us, limit=3) == [key for _, key, _ in due][:3]
    for row in BUDGETS:
        assert queue.due_for([row], now_us) == [key for _, key, rows in due if row in rows]
    both = [key for _, key, rows in due if {"b/1", "b/2"} & set(rows) or key == "c/a"]
    assert queue.due_for(["b/2", "b/1", "c/a", "b/none"], now_us) == both


def test_memory_is_bounded_by_what_is_open() -> None:
    """Settled calls leave the heaps long before they would have been due."""
    queue = state.ExpiryQueue()
    for number in range(10_000):
        queue.add(number, f"c/{number}", ["b/all", f"b/{number % 50}"])
        if number >= 10:
            queue.discard(f"c/{number - 10}")
    assert len(queue) == 10
    assert len(queue._all.entries) < 50
    assert len(queue._by_row["b/all"].entries) < 50
    assert len(queue._by_row) == 11
    assert "c/9999" in queue


def test_an_event_expires_what_it_reads_then_eight_others() -> None:
    """
    LANGUAGE: taking an event first expires the due rows it reads, then at most 8 others in order of
    expiry.
    """
    desk = Desk(limits={DAY: 10_000, TOTAL: 10_000})
    for number in range(10):
        desk.request(f"day-{number}", cost=1, budgets=(DAY,))
    for number in range(20):
        desk.now_us += 1
        desk.request(f"all-{number:02}", cost=1, budgets=(TOTAL,))
    desk.now_us += TTL_US
    desk.request("reads-the-day", cost=1, budgets=(DAY,))
    assert desk.money(DAY) == (10, 1)
    assert desk.money(TOTAL) == (8, 12)
    first = [f"c/acme/all-{number:02}/1" for number in range(8)]
    assert [one.effects[0].row for one in desk.expiries[10:]] == first
    desk.pass_time(0)
    assert desk.money(TOTAL) == (16, 4)


def test_an_event_reads_its_own_call() -> None:
    """A due call is expired before its own redelivery, or its usage, is looked at."""
    desk = Desk(limits={DAY: 10_000, TOTAL: 10_000})
    for number in range(20):
        desk.request(f"r{number:02}", cost=1, budgets=(TOTAL,))
    desk.request("last", cost=1, budgets=())
    desk.now_us += TTL_US
    desk.report(usage("r19", input_tokens=1))
    assert desk.call("r19").status == "settled"
    assert desk.expiries[0].effects[0].row == "c/acme/r00/1"
    assert len(desk.expiries) == 20


def test_expiry_makes_room_before_the_verdict() -> None:
    """A due reservation that would be released does not deny the next request."""
    desk = Desk(limits={DAY: 100, TOTAL: 5_000})
    desk.request("r1", release=True)
    desk.now_us += TTL_US
    assert desk.request("r2") == "allow"


def test_the_queue_is_rebuilt_from_the_rows() -> None:
    """A restore knows nothing but the rows."""
    desk = Desk()
    desk.request("r1")
    desk.request("r2", denied=True)
    desk.request("r3", budgets=())
    desk.report(usage("early", input_tokens=1))
    desk.request("r4")
    desk.report(usage("r4", input_tokens=1))
    restored = state.ExpiryQueue.from_rows(desk.rows.items())
    assert restored._held == desk.queue._held
    assert set(restored._held) == {"c/acme/r1/1", "u/acme/early/1"}


def test_a_renewed_call_is_due_later() -> None:
    """A partial report moves the entry."""
    desk = Desk()
    desk.request()
    desk.now_us += TTL_US - 1
    desk.report(usage(final=False, output_tokens=1))
    assert desk.queue.due(desk.now_us + TTL_US - 1) == []
    assert desk.queue.due(desk.now_us + TTL_US) == ["c/acme/r1/1"]
