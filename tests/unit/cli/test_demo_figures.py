"""What the demo counts while it runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import events
from enforcer.cli.demo_figures import BudgetId, CallId, Figures, percentile
from enforcer.client import Outcome


class Clock:
    """A clock that stands still until it is moved."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def figures(clock):
    return Figures(clock)


def request(name="r1", tenant="acme"):
    return events.Request(name, tenant, llm=events.Llm("openai", "gpt-4o"))


def decision(verdict="allow", *, name="r1", reasons=(), budgets=(), account="acme"):
    source = events.Source("requests", 0, 0, 0, 0, 0)
    return events.Decision(
        id="d",
        request_id=name,
        attempt=1,
        tenant="acme",
        account=account,
        verdict=verdict,
        http_status=200,
        reasons=list(reasons),
        budgets=list(budgets),
        policy_digest="",
        data_digest="",
        engine="test",
        source=source,
        time_us=0,
    )


def outcome(verdict="allow", *, latency_ms=5.0, of=None):
    timeout = verdict.startswith("timeout")
    return Outcome(
        verdict="allow" if timeout else verdict,
        acted=verdict,
        code="",
        decision=None if timeout else of or decision(verdict),
        request={},
        latency_ms=latency_ms,
        by_timeout=timeout,
        traceparent="",
    )


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.sampled_from((0.5, 0.99)))
def test_a_percentile_is_the_nearest_rank(numbers, share):
    """At least that share of the numbers is no larger, and no smaller number has this."""
    ordered = sorted(numbers)
    found = percentile(ordered, share)

    assert found in numbers
    assert sum(n <= found for n in numbers) >= share * len(numbers)
    assert sum(n < found for n in numbers) < share * len(numbers)


def test_nothing_has_no_percentile():
    """Before the first verdict there is no latency to tell."""
    assert percentile([], 0.5) is None


def test_verdicts_and_bypasses_are_told_apart(figures):
    """A call at its deadline has no verdict: it counts for the bypass rate and for nothing else."""
    for name, verdict in (("a", "allow"), ("b", "deny"), ("c", "timeout_allow"), ("d", "modify")):
        figures.asked(request(name))
        of = None if verdict.startswith("timeout") else decision(verdict, name=name)
        figures.answered(request(name), outcome(verdict, of=of))

    assert figures.calls == 4
    assert dict(figures.verdicts) == {"allow": 1, "deny": 1, "modify": 1}
    assert figures.bypass_rate == 0.25
    assert figures.told == {
        CallId("acme", "a", 1): "allow",
        CallId("acme", "b", 1): "deny",
        CallId("acme", "c", 1): None,
        CallId("acme", "d", 1): "modify",
    }


def test_what_repeats_is_one_line_with_a_count(figures):
    """The same reason many times in a row does not push all others off the page."""
    broke = events.Reason("team-spend", "team-day", "deny", "budget_exceeded", "no money")
    other = events.Reason("card-numbers", "r", "modify", "pii", "a card")
    for reason in (broke, broke, broke, other, broke):
        figures.answered(request(), outcome("deny", of=decision("deny", reasons=[reason])))

    assert [(r.code, r.times) for r in figures.reasons] == [
        ("budget_exceeded", 3),
        ("pii", 1),
        ("budget_exceeded", 1),
    ]


def test_a_reason_on_the_page_holds_no_message(figures):
    """A message is the author's text and may grow to quote a request; code and policy cannot."""
    told = events.Reason("p", "r", "deny", "pii", "the secret text")
    figures.answered(request(), outcome("deny", of=decision("deny", reasons=[told])))

    assert "secret" not in repr(figures.reasons)


def test_a_budget_is_as_the_newest_decision_has_it(figures):
    """Spend is shown by account, policy, limit and key; the newest view counts."""
    for spent in (1, 5, 3):
        view = events.BudgetView("team-spend", "team-day", "core", 100, spent, 2)
        figures.answered(request(), outcome(of=decision(budgets=[view])))
    ((name, budget),) = figures.busiest_budgets(9)

    assert name == BudgetId("acme", "team-spend", "team-day", "core")
    assert (budget.view.spent_usd_nano, budget.decisions) == (3, 3)
    assert budget.share == 0.05


def test_budgets_of_many_conversations_are_bounded(figures):
    """A run of hours touches millions of conversations; the busy budgets stay."""
    month = events.BudgetView("team-spend", "month", "", 100, 1, 0)
    for number in range(30_000):
        talk = events.BudgetView("conversation-spend", "talk", f"c{number}", 100, 1, 0)
        figures.answered(request(), outcome(of=decision(budgets=[talk, month])))

    assert len(figures.budgets) <= 20_001
    assert BudgetId("acme", "team-spend", "month", "") in figures.budgets


def test_rates_are_of_the_last_seconds(figures, clock):
    """Old calls do not make the page look busy."""
    for _ in range(100):
        figures.asked(request())
        figures.answered(request(), outcome())
    clock.now_s += 1.0
    assert figures.requests_per_s == pytest.approx(100)
    clock.now_s += 60.0

    assert figures.requests_per_s == 0
    assert figures.recent_ms() == (None, None)
    assert figures.overall_ms() == (5.0, 5.0)
    assert figures.per_second(3) == [0, 0, 0]
