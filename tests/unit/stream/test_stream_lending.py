"""Slices in an agent's life: what is heard, what is passed over, and what a takeover says for its predecessor."""

from types import SimpleNamespace

import pytest

from enforcer import events, state
from enforcer.engine import leasing
from enforcer.state import leases
from enforcer.stream import lending
from enforcer.stream.lending import Lending

ROW = state.budget_key("acme", "p", "company", "", "total")
TENANT = "acme"


class Rows(state.MemoryRows):
    """Rows of which none has changed since the last cut."""

    def is_changed(self, _key):
        return False


class Floor:
    """A partition's rows, its ledger entries and what it says."""

    def __init__(self, partition=0, partitions=1):
        self.rows = Rows()
        self.entered, self.said = [], []
        policies = SimpleNamespace(program=lambda _tenant: None, sets=list)
        self.lending = Lending(
            partition,
            partitions,
            self.rows,
            policies=policies,
            enter=lambda *entry: self.entered.append(entry),
            say=lambda to, record: self.said.append((to, events.decode_lease(record[1]))),
        )

    def hear(self, record):
        """A word comes."""
        self.lending.take(events.encode_lease(record), 1_000_000)


def told(slice_usd_nano):
    """A verdict of the tail, given when so much was in the slice."""
    view = events.BudgetView("p", "company", "", slice_usd_nano, 0, 10)
    return SimpleNamespace(
        effects=[events.Effect("reserve", ROW, 10)], budgets=[view], tenant=TENANT, time_us=5
    )


def test_what_a_predecessor_repaid_and_never_committed_is_repaid_before_its_verdict_is_redone():
    """The verdict was given by what was left: the ledger must say so, and the owner must hear of it."""
    floor = Floor()
    floor.hear(events.Lease("grant", TENANT, ROW, 0, 1, 100))
    floor.lending.follow(told(60))
    row = floor.rows.get(state.lease_key(ROW))
    assert (row.granted_usd_nano, row.repaid_usd_nano) == (100, 40)
    ((to, record),) = floor.said
    assert (to, record.kind, record.amount_usd_nano) == (0, "repay", 40)
    assert [entry[3] for entry in floor.entered] == [("grant",), ("repay",)]


@pytest.mark.parametrize("slice_usd_nano", [100, 130])
def test_a_verdict_that_saw_the_whole_slice_repays_nothing(slice_usd_nano):
    """Nor does one that was given when more was granted: that grant comes by again."""
    floor = Floor()
    floor.hear(events.Lease("grant", TENANT, ROW, 0, 1, 100))
    floor.lending.follow(told(slice_usd_nano))
    assert floor.said == []
    assert floor.rows.get(state.lease_key(ROW)).repaid_usd_nano == 0


def test_a_request_that_is_not_for_the_owner_lends_nothing():
    """Said under another number of partitions: who would answer it would lend the budget a second time."""
    owner = events.partition_of(TENANT.encode(), 2)
    other = Floor(partition=1 - owner, partitions=2)
    other.hear(events.Lease("request", TENANT, ROW, 0, 1, 100, 10))
    assert (other.said, other.entered, other.rows.rows) == ([], [], {})


@pytest.mark.parametrize("value", [None, b"", b"garbage"])
def test_what_nobody_here_can_have_written_is_passed_over(value):
    """It changes nothing and stops nobody."""
    floor = Floor()
    floor.lending.take(value, 0)
    assert (floor.said, floor.entered) == ([], [])


def test_of_many_slices_each_has_its_turn(monkeypatch):
    """A recall of the last of them is answered, however many stand before it and however few a cut tends."""
    monkeypatch.setattr(lending, "TENDED_MAX", 2)
    monkeypatch.setattr(leasing, "limit_usd_nano", lambda _program, _row: 1_000)
    floor = Floor()
    rows = [state.budget_key("acme", "p", "company", f"team{n}", "total") for n in range(7)]
    for row in rows:
        floor.hear(events.Lease("grant", TENANT, row, 0, 1, 100))
    for row in rows[2:]:
        floor.hear(events.Lease("recall", TENANT, row, 0))
    for cut in range(1, 4):
        floor.lending.speak(2_000_000)
        assert len(floor.said) == min(2 * cut, 5)
    assert [(r.kind, r.row, r.amount_usd_nano) for _, r in floor.said] == [
        ("repay", row, 100) for row in rows[2:]
    ]
    assert leases.slice_usd_nano(floor.rows.get(state.lease_key(rows[-1]))) == 0


def test_a_cut_asks_for_so_many_slices_and_the_next_for_the_others(monkeypatch):
    """A budget with a key may want thousands at once: no cut holds the loop up for all of them, and none is forgotten."""
    monkeypatch.setattr(lending, "TENDED_MAX", 2)
    monkeypatch.setattr(leasing, "limit_usd_nano", lambda _program, _row: 1_000)
    floor = Floor()
    rows = [state.budget_key("acme", "p", "company", f"team{n}", "total") for n in range(5)]
    floor.lending.want(leasing.Want(row, TENANT, 7, 0) for row in rows)
    for cut in range(1, 4):
        floor.lending.speak(2_000_000)
        assert len(floor.said) == min(2 * cut, 5)
    assert [record.row for _, record in floor.said] == rows
    assert not floor.lending.has_wants
