"""Budgets: reservation, limits, windows, sweeping."""

from state_desk import DAY, START_US, TOTAL, TTL_US, WINDOW_END_US, Desk, usage

from enforcer import state
from enforcer.events import BudgetRow, CallRow, PositionRow, RateRow, WaitingUsageRow
from enforcer.state.budgets import DAY_US


def test_settled_reserved_and_new_stay_within_the_limit() -> None:
    """LANGUAGE: at every admission settled + reserved + the new reservation is within the limit."""
    assert state.admits(BudgetRow(300, 600, 0), 1_000, 100)
    assert not state.admits(BudgetRow(300, 600, 0), 1_000, 101)
    assert state.admits(None, 1_000, 1_000)
    assert not state.admits(None, 1_000, 1_001)
    assert state.remaining_usd_nano(BudgetRow(300, 600, 0), 1_000) == 100
    assert state.remaining_usd_nano(None, 1_000) == 1_000


def test_nothing_is_admitted_over_the_limit() -> None:
    """After an overrun not even a call at no cost fits."""
    assert not state.admits(BudgetRow(1_001, 0, 0), 1_000, 0)
    assert state.admits(BudgetRow(1_000, 0, 0), 1_000, 0)


def test_a_request_reserves_in_all_its_budgets_together() -> None:
    """LANGUAGE: only if the verdict is not deny are all rows written, together."""
    desk = Desk(limits={DAY: 1_000, TOTAL: 150})
    assert desk.request("r1", cost=100) == "allow"
    assert (desk.money(DAY), desk.money(TOTAL)) == ((0, 100), (0, 100))
    assert desk.request("r2", cost=100) == "deny"
    assert (desk.money(DAY), desk.money(TOTAL)) == ((0, 100), (0, 100))


def test_a_denied_request_consumes_nothing() -> None:
    """LANGUAGE: a denied request consumes nothing; not even a row of a budget is made."""
    desk = Desk()
    assert desk.request(denied=True) == "deny"
    assert [key for key, _ in desk.rows.items("b/")] == []
    assert len(desk.queue) == 0


def test_a_new_limit_acts_at_once() -> None:
    """
    LANGUAGE: a row is (policy, id, key, window): a new limit acts at once, a new id starts at zero.
    """
    desk = Desk(limits={DAY: 100, TOTAL: 5_000})
    assert desk.request("r1", cost=100) == "allow"
    desk.limits[DAY] = 150
    assert desk.request("r2", cost=50) == "allow"
    desk.limits[DAY] = 100
    assert desk.request("r3", cost=0) == "deny"
    assert desk.money(state.budget_key("acme", "guard", "other", "t1", "2026-11-23")) == (0, 0)


def test_a_settlement_books_in_its_reservations_window() -> None:
    """LANGUAGE: a settlement books in its reservation's window, also after that has closed."""
    desk = Desk(now_us=WINDOW_END_US - 1)
    desk.request(cost=100)
    desk.now_us = WINDOW_END_US + TTL_US // 2
    found = desk.report(usage(input_tokens=5, output_tokens=5))
    assert found.budgets == (DAY, TOTAL)
    assert desk.money(DAY) == (50, 0)
    assert desk.rows.get(DAY).window_end_us == WINDOW_END_US


def test_rows_of_a_closed_window_stay_32_days() -> None:
    """LANGUAGE: rows of a closed window stay 32 days for late usage, then they are deleted."""
    row = BudgetRow(5, 0, START_US)
    assert not state.is_spent(row, START_US + 32 * DAY_US - 1)
    assert state.is_spent(row, START_US + 32 * DAY_US)
    assert not state.is_spent(BudgetRow(5, 0, 0), START_US * 2)


def test_a_row_that_a_call_holds_a_part_of_stays() -> None:
    """A reservation that could not expire, because the partition was silent, keeps its row."""
    assert not state.is_spent(BudgetRow(5, 1, START_US), START_US + 400 * DAY_US)


def test_full_buckets_are_deleted() -> None:
    """LANGUAGE: rows of closed windows and full buckets are deleted."""
    assert not state.is_spent(RateRow(100, 0, 7), 99)
    assert state.is_spent(RateRow(100, 0, 7), 100)


def test_rows_of_calls_are_deleted_at_their_end() -> None:
    """A call that still holds a reservation, or usage not yet charged, has to expire first."""
    call = CallRow(100, "settled", b"", b"", 0, 50, "", "")
    assert not state.is_spent(call, 99)
    assert state.is_spent(call, 100)
    desk = Desk()
    desk.request()
    assert not state.is_spent(desk.call(), desk.now_us * 2)
    assert state.is_spent(WaitingUsageRow(100, "acme", []), 100)
    assert not state.is_spent(WaitingUsageRow(100, "acme", []), 99)
    assert not state.is_spent(WaitingUsageRow(100, "acme", [b"x"]), 100)


def test_the_position_stays() -> None:
    """The position row is never deleted."""
    row = PositionRow(0, 0, bytes(32), 0, 0, 0, 0, 4, 1)
    assert not state.is_spent(row, START_US * 2)
