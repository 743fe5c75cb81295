"""The one place where rows change."""

from copy import deepcopy

import pytest
from state_desk import DAY, START_US, TOKENS, TTL_US, WINDOW_END_US, Desk, usage

from enforcer import events, state
from enforcer.errors import AgentCorruptedError
from enforcer.events import Allocation, BudgetRow, CallRow, Effect, RateRow, WaitingUsageRow


def apply(rows, *effects) -> None:
    """Apply effects one by one."""
    for effect in effects:
        state.apply(rows, effect)


def test_what_adds_creates_the_row() -> None:
    """Every effect has a meaning on no row."""
    rows = state.MemoryRows()
    apply(rows, Effect("reserve", "b/1", 5, 0, 9), Effect("charge", "b/2", 6, 0, 9))
    apply(rows, Effect("take", "r/1", 2, 10, 0, 4, 8))
    assert rows.get("b/1") == BudgetRow(0, 5, 9)
    assert rows.get("b/2") == BudgetRow(6, 0, 9)
    assert rows.get("r/1") == RateRow(14, 0, 4)


def test_what_takes_away_from_nothing_does_nothing() -> None:
    """A budget row that was swept long ago is not made anew by what takes away from it."""
    rows = state.MemoryRows()
    apply(rows, Effect("release", "b/1", 5), Effect("give", "b/1", 5), Effect("drop", "u/1"))
    apply(rows, Effect("settle", "c/1", 5, 1), Effect("charge", "c/1", 5))
    state.apply_all(rows, [Effect("expire", "c/1", 5, 1), Effect("expire", "u/1", 5, 1)])
    assert rows.rows == {}


def test_an_amount_of_nothing_changes_no_row() -> None:
    """It only names a row, for the call to remember."""
    rows = state.MemoryRows()
    apply(rows, Effect("reserve", "b/1", 0, 0, 9), Effect("take", "r/1", 0, 1, 9, 1, 1))
    assert rows.rows == {}


def test_a_limit_of_nothing_has_nothing_to_settle() -> None:
    """An effect on a limit of 0 does nothing."""
    rows = state.MemoryRows()
    apply(rows, Effect("take", "r/1", 5, 1))
    assert rows.rows == {}


def test_a_reservation_never_falls_below_zero() -> None:
    """
    Then rows and effects do not belong together, and the agent starts again from the changelog.
    """
    rows = state.MemoryRows()
    apply(rows, Effect("reserve", "b/1", 5))
    with pytest.raises(AgentCorruptedError):
        apply(rows, Effect("release", "b/1", 6))
    assert rows.get("b/1") == BudgetRow(0, 5, 0)


def test_what_was_spent_never_falls_below_zero() -> None:
    """A correction may outlive the row that was charged."""
    rows = state.MemoryRows()
    apply(rows, Effect("charge", "b/1", 5), Effect("give", "b/1", 6))
    assert rows.get("b/1") == BudgetRow(0, 0, 0)


def test_open_takes_its_figures_from_the_effects() -> None:
    """What a call holds is in the decision that was told, so that a takeover sees the same."""
    rows = state.MemoryRows()
    effects = [
        Effect("reserve", "b/1", 100, 0, 77),
        Effect("take", "r/tokens", 30, 1, 500, 1_000, 60),
        Effect("take", "r/requests", 1, 1, 0, 60, 60),
        Effect("open", "c/a/1/1", 100, 500, 900, 20, 30),
    ]
    call = CallRow(0, "open", b"c" * 32, b"told", 1, 0, "openai", "gpt-4o", None)
    state.apply_all(rows, effects, call=call)
    assert rows.get("c/a/1/1") == CallRow(
        end_us=900,
        status="open",
        content=b"c" * 32,
        decision=b"told",
        time_us=1,
        expires_us=500,
        provider="openai",
        model="gpt-4o",
        reserved_usd_nano=100,
        input_usd_nano=20,
        estimated_tokens=30,
        budgets=[Allocation("b/1", 100, 77)],
        token_rates=[Allocation("r/tokens", 30, 0, 1_000, 60)],
    )


def test_rows_are_never_changed_in_place() -> None:
    """What a table gave out stays as it was: a commit in flight may hold it."""
    desk = Desk()
    desk.request(tokens=100)
    desk.report(usage("r2", input_tokens=1))
    held = dict(desk.rows.items())
    before = deepcopy(held)
    desk.report(usage(final=False, input_tokens=3))
    desk.request("r2")
    desk.pass_time(TTL_US * 3)
    desk.report(usage(input_tokens=5))
    assert held == before
    changed = {key for key, row in held.items() if desk.rows.get(key) != row}
    assert {key[0] for key in changed} == {"b", "c", "r", "u"}


def test_a_group_is_void_if_its_row_has_nothing_to_expire() -> None:
    """
    A told expiry may be redone on rows that settled the call meanwhile: its charges are not made
    twice.
    """
    rows = state.MemoryRows()
    rows.put("u/1", WaitingUsageRow(50, "a", []))
    rows.put("u/2", WaitingUsageRow(50, "a", [b"x"]))
    group = [Effect("expire", "u/1", 5, 60, 90), Effect("charge", "b/1", 5, 0, 9)]
    other = [Effect("expire", "u/2", 5, 60, 90), Effect("charge", "b/2", 5, 0, 9)]
    state.apply_all(rows, [*group, *other, Effect("reserve", "b/1", 3, 0, 9)])
    assert rows.get("b/1") == BudgetRow(0, 3, 9)
    assert rows.get("b/2") == BudgetRow(5, 0, 9)
    assert rows.get("u/2") == WaitingUsageRow(90, "a", [])


def test_an_expiry_of_a_settled_call_is_void() -> None:
    """The call's row is the guard."""
    desk = Desk()
    desk.request()
    desk.report(usage(input_tokens=5))
    before = deepcopy(desk.rows.rows)
    state.apply_all(desk.rows, [Effect("expire", "c/acme/r1/1", 100, desk.now_us)])
    assert desk.rows.rows == before


def test_a_list_is_split_into_its_expiries_and_its_own() -> None:
    """Each expiry is an audit record of its own."""
    groups = [
        Effect("expire", "c/1", 5),
        Effect("expire", "u/2", 5),
        Effect("charge", "b/1", 5),
        Effect("charge", "b/2", 5),
        Effect("expire", "c/3"),
    ]
    own = (Effect("reserve", "b/1", 3), Effect("open", "c/4", 3))
    found, rest = state.split([*groups, *own])
    assert [group.row for group in found] == ["c/1", "u/2", "c/3"]
    assert [len(group.effects) for group in found] == [1, 3, 1]
    assert rest == own
    assert state.split([]) == ([], ())
    assert state.split(groups)[1] == ()


def test_what_was_told_is_redone_to_the_same_rows() -> None:
    """
    Applying recorded effects in their order gives the same rows: that is how a takeover redoes a
    verdict.
    """
    desk = Desk()
    desk.report(usage("r2", input_tokens=4, output_tokens=1))
    desk.request("r1", tokens=100)
    desk.request("r2", tokens=100)
    desk.report(usage(final=False, output_tokens=20))
    desk.request("r3", release=True)
    desk.report(usage("r9", input_tokens=4, team="t1"))
    desk.now_us = START_US + 2 * TTL_US
    desk.request("r4", denied=True)
    desk.report(usage("r1", input_tokens=10))
    desk.report(usage("r4", input_tokens=10))
    assert desk.redone().rows == desk.rows.rows
    assert desk.money(DAY)[1] == 0
    assert desk.rows.get(DAY).window_end_us == WINDOW_END_US
    assert isinstance(desk.rows.get(TOKENS), RateRow)


def test_no_charge_leaves_64_bits() -> None:
    """However often a million dollars is reported, what was spent is still a row that can be written."""
    rows = state.MemoryRows()
    for _ in range(3):
        state.apply(rows, events.Effect("charge", "b/acme/p/total//total", 4 * 10**18))

    row = rows.get("b/acme/p/total//total")
    assert events.decode_budget_row(events.encode_budget_row(row)) == row
