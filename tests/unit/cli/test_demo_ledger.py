"""What was sent against what stands in the topics."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from enforcer import events
from enforcer.audit.chain import Chain
from enforcer.cli.demo_figures import BudgetId, CallId
from enforcer.cli.demo_ledger import Budget, Found, budget_json, fullest, reconcile, verdict_counts

A, B = CallId("acme", "a", 1), CallId("acme", "b", 1)


def found(**fields):
    """Two calls that agree everywhere, but for *fields*."""
    whole = {
        "requests": {A, B},
        "told": {A: "allow", B: "deny"},
        "decided": {A: "allow", B: "deny"},
    }
    return Found(**{**whole, **fields})


@pytest.mark.parametrize(
    ("sent", "there", "field", "says"),
    [
        ({A: "allow", B: "deny"}, found(decided={A: "allow"}), "lost", "not in the ledger"),
        ({A: "allow", B: None}, found(decided={A: "allow"}), "lost", "not in the ledger"),
        ({A: "allow", B: "deny"}, found(duplicated=1), "duplicated", "more than once"),
        ({A: "deny", B: "deny"}, found(), "contradicted", "another verdict"),
        ({A: "allow", B: "deny"}, found(told={A: "allow"}), "contradicted", "another verdict"),
        ({A: "allow"}, found(), "unknown", "never sent"),
    ],
)
def test_each_difference_is_counted_and_said(sent, there, field, says):
    """Lost, doubled, contradicted or unknown calls each fail the run with words of their own."""
    checked = reconcile(sent, there)

    assert getattr(checked, field) == 1
    assert len(checked.problems) == 1
    assert says in checked.problems[0]


def test_agreement_is_no_problem():
    """Every call once in the ledger, with the verdict that was told."""
    assert reconcile({A: "allow", B: "deny"}, found()).problems == []


def test_a_verdict_that_came_too_late_is_not_lost():
    """The gateway gave up at the deadline; the ledger has the decision all the same."""
    assert reconcile({A: "allow", B: None}, found()).problems == []


def test_a_call_that_never_left_its_gateway_is_not_lost():
    """It has no request on the topic, so that nobody could decide it; it is counted apart."""
    there = found(requests={A}, told={A: "allow"}, decided={A: "allow"})
    checked = reconcile({A: "allow", B: None}, there)

    assert (checked.lost, checked.unsent, checked.problems) == (0, 1, [])


def test_a_told_verdict_without_any_record_is_lost():
    """Whoever was told a verdict must find it in the ledger, whatever the other topics say."""
    there = found(requests={A}, told={A: "allow"}, decided={A: "allow"})

    assert reconcile({A: "allow", B: "deny"}, there).lost == 1


def test_a_broken_chain_is_a_problem():
    """The verifier's finding ends up in the message."""
    checked = reconcile({A: "allow", B: "deny"}, found(broken="record 4 is modified"))

    assert checked.problems == ["the chain is broken: record 4 is modified"]


def record(topic, value, key=b"k"):
    return SimpleNamespace(topic=topic, partition=0, offset=0, key=key, value=value)


def audit_record(chain, name, verdict, *, notes=(), budgets=()):
    source = events.Source("requests", 0, 0, 0, 0, 0)
    decided = events.Decision(
        id="d",
        request_id=name,
        attempt=1,
        tenant="acme",
        account="acme",
        verdict=verdict,
        http_status=200,
        reasons=[events.Reason("p1", "r", verdict, "code", "m")] if verdict == "deny" else [],
        budgets=list(budgets),
        policy_digest="",
        data_digest="",
        engine="test",
        source=source,
        time_us=0,
    )
    value = chain.append(
        kind="decision",
        account="acme",
        time_us=0,
        source=source,
        payload=events.encode(decided),
        notes=list(notes),
        effects=[],
    )
    return record("x.audit", value)


def test_the_ledger_is_counted_by_calls():
    """Two records of one call are one decision and one duplicate."""
    chain, there = Chain(), Found()
    for name, verdict in (("a", "allow"), ("b", "deny"), ("b", "deny")):
        there.audit(audit_record(chain, name, verdict, notes=["overrun"]))

    assert there.decided == {A: "allow", B: "deny"}
    assert there.duplicated == 1
    assert there.audit_records == 3
    assert there.notes["overrun"] == 3
    assert there.policies == {"p1": 2}
    assert verdict_counts(there) == {"allow": 1, "warn": 0, "modify": 0, "deny": 1}


def test_budgets_join_committed_rows_and_limits():
    """Amounts are the newest rows of the changelog, limits those that decisions name."""
    there = Found()
    view = events.BudgetView("team-spend", "team-day", "core", 40, 0, 0)
    there.audit(audit_record(Chain(), "a", "allow", budgets=[view]))
    key = b"b/acme/*team-spend/team-day/core/2026-11-23"
    gone = b"b/acme/*team-spend/team-day/old/2026-11-22"
    for row, spent in ((key, 1), (gone, 1), (key, 30)):
        value = events.encode(events.BudgetRow(spent, 2, 0))
        there.row(record("x.state", value, row))
    there.row(record("x.state", None, gone))
    there.row(record("x.state", b"not a budget", b"p"))
    there.close()

    name = BudgetId("acme", "team-spend", "team-day", "core")
    assert there.budgets == [Budget(name, "2026-11-23", 40, 30, 2)]
    assert budget_json(there.budgets[0])["tenant"] == "acme"


def test_of_each_limit_the_fullest_are_shown():
    """A limit by conversation has thousands of budgets and must not hide the others."""
    talks = [Budget(BudgetId("a", "p", "talk", f"c{n}"), "total", 100, n, 0) for n in range(50)]
    month = Budget(BudgetId("a", "p", "month", ""), "2026-11", 100, 1, 0)
    shown = fullest([*talks, month], 3)

    assert [b.name.key for b in shown] == ["", "c49", "c48", "c47"]
