"""Budgets of a whole tenant: what a holder admits of its slice, what it says without one, and what it tells of it."""

import pytest
from engine_desk import Desk, asked, codes, program, spec, tenant

from enforcer import events, policy, state
from enforcer.engine import leasing
from enforcer.state import leases

BY_TEAM = tenant("{account: [tenant, team.id]}")
COMPANY = "budgets: [{id: company, per: total, limit_usd: 1, span: tenant}]"
ROW = state.budget_key("acme", "p", "company", "", "total")
KEY = b"acme/t1"


def desk(*texts):
    """A desk behind a topic of one partition: then slices count."""
    found = Desk.of(*(texts or (spec(COMPANY), BY_TEAM)))
    found.partitions = 1
    return found


def granted(found, amount, *, is_short=False):
    """The owner has lent *amount* nano-USD in all."""
    lease = found.rows.get(state.lease_key(ROW))
    sequence = 0 if lease is None else lease.sequence
    record = events.Lease("grant", "acme", ROW, 0, sequence, amount, is_short=is_short)
    state.apply_all(found.rows, leases.heard(record, found.now_us).effects)


def ask(number, team="t1", **fields):
    return asked(id=f"r{number}", team={"id": team}, **fields)


def test_without_a_slice_a_call_is_turned_to_come_again():
    """429 and when; the outcome says what would have been enough."""
    found = desk().outcome(ask(1), key=KEY)
    decision = found.decision
    assert (decision.verdict, codes(decision), decision.http_status) == (
        "deny", ["lease_pending"], 429,
    )  # fmt: skip
    assert decision.retry_after_ms == 500
    (want,) = found.wants
    assert (want.row, want.tenant) == (ROW, "acme")
    assert want.need_usd_nano == decision.facts.estimated_cost_usd_nano > 0


def test_teams_of_a_partition_spend_of_one_slice():
    """What one team reserves is missing to the other; the decision shows the slice."""
    here = desk()
    cost = here.decide(ask(0), key=KEY).facts.estimated_cost_usd_nano
    granted(here, 2 * cost)
    first = here.outcome(ask(1, "t1"), key=b"acme/t1")
    second = here.outcome(ask(2, "t2"), key=b"acme/t2")
    third = here.outcome(ask(3, "t3"), key=b"acme/t3")
    assert [o.decision.verdict for o in (first, second, third)] == ["allow", "allow", "deny"]
    (view,) = second.decision.budgets
    assert (view.limit_usd_nano, view.reserved_usd_nano) == (2 * cost, 2 * cost)
    assert [o.wants[0].need_usd_nano for o in (first, second, third)] == [0, 0, cost]


def test_once_the_owner_is_short_the_budget_is_exceeded():
    """402, and nothing to wait for."""
    here = desk()
    granted(here, 0, is_short=True)
    decision = here.decide(ask(1), key=KEY)
    assert (codes(decision), decision.http_status, decision.retry_after_ms) == (
        ["budget_exceeded"], 402, None,
    )  # fmt: skip


def test_a_denied_call_takes_nothing_of_a_slice():
    """As of any budget."""
    here = desk(spec(COMPANY + "\nrules: [{id: no, then: deny}]"), BY_TEAM)
    granted(here, 10**9)
    assert here.decide(ask(1), key=KEY).verdict == "deny"
    assert here.rows.get(ROW) is None


def test_with_one_account_a_tenant_needs_no_slices():
    """`span: tenant` is then the account's budget itself, and so it is where there are no partitions."""
    one = desk(spec(COMPANY), tenant())
    assert one.decide(ask(1), key=b"acme").verdict == "allow"
    alone = Desk.of(spec(COMPANY), BY_TEAM)
    assert [alone.decide(ask(n, f"t{n}")).verdict for n in range(2)] == ["allow", "allow"]
    assert alone.rows.get(ROW).reserved_usd_nano > 0


def test_a_redelivery_and_a_redo_want_nothing():
    """Only what is decided tells of slices."""
    here = desk()
    granted(here, 10**9)
    told = here.outcome(ask(1), key=KEY)
    assert told.wants
    assert not here.outcome(ask(1), key=KEY).wants


def test_the_limit_of_a_row_is_found_by_its_key():
    """At the owner, from the policies in force alone; of a row that no policy has, 0."""
    acme = program(spec(COMPANY), BY_TEAM)
    assert leasing.limit_usd_nano(acme, ROW) == 10**9
    assert leasing.limit_usd_nano(acme, ROW.replace("company", "other")) == 0
    assert leasing.limit_usd_nano(program(spec(COMPANY), tenant()), ROW) == 0
    everybody = program(spec(COMPANY, tenant="*"), BY_TEAM)
    row = state.budget_key("acme", "*p", "company", "", "total")
    assert leasing.limit_usd_nano(everybody, row) == 10**9


def test_the_next_window_has_a_row_of_its_own():
    """So that its slice can be asked for before it begins."""
    daily = program(spec(COMPANY.replace("total", "day")), BY_TEAM)
    ((row, end_us),) = leasing.current_rows(daily, Desk().now_us)
    following, next_end_us = leasing.following_row(daily, row, end_us)
    assert (row[-10:], following[-10:]) == ("2026-11-16", "2026-11-17")
    assert next_end_us - end_us == 86_400_000_000
    assert leasing.following_row(program(spec(COMPANY), BY_TEAM), ROW, 0) is None


@pytest.mark.parametrize("span", ["tenant", "account"])
def test_a_spanning_limit_is_one_number(span):
    """A table chooses by a request, and the owner sees none."""
    text = spec(
        f"budgets: [{{id: b, per: day, span: {span}, limit_usd: {{by: team.tier, default: 5}}}}]"
    )
    found = policy.load([("p.yaml", text)])
    assert found.has_errors == (span == "tenant")
    assert {f.code for f in found.findings if span == "tenant"} <= {"ENF0209"}
