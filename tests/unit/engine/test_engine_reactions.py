"""Limits that cap or downgrade, exceptions in decisions, and rules that read how their limits stand."""

import json

import pytest
from engine_desk import Desk, asked, rule, rules, spec, tenant

# gpt-4o: 2.50 USD a million tokens of input, 10 USD of output; gpt-4o-mini 0.15 and 0.60.
HI_USD = 8 * 2_500 / 1e9


def usd(output):
    """What the desk's small prompt costs with so much output, in USD."""
    return HI_USD + output * 10_000 / 1e9


def budget(limit, reaction, extra=""):
    return spec(
        f"budgets: [{{id: b, per: day, limit_usd: {limit:.9f}, on_exceeded: {reaction}}}]\n{extra}"
    )


def edits_of(decision):
    return {edit.path: json.loads(edit.value) for edit in decision.edits}


def test_a_budget_caps_output_to_what_is_left():
    """The largest output that the budget still has; exactly that is reserved."""
    desk = Desk.of(budget(usd(7), "cap"), tenant())
    decision = desk.decide(asked(llm={"max_tokens": 10}))
    assert decision.verdict == "modify"
    assert edits_of(decision) == {"/llm/max_tokens": 7}
    assert [(each.code, each.verdict) for each in decision.reasons] == [
        ("budget_exceeded", "modify")
    ]
    assert decision.reservation.usd_nano == round(usd(7) * 1e9)


def test_a_call_without_a_maximum_is_given_one():
    """What is capped is the output that the tenant assumes."""
    desk = Desk.of(budget(usd(7), "cap"), tenant())
    decision = desk.decide(asked(llm={"max_tokens": None}))
    assert edits_of(decision) == {"/llm/max_tokens": 7}


def test_several_answers_share_what_is_left():
    """n answers of at most the cap fit together."""
    desk = Desk.of(budget(usd(7), "cap"), tenant())
    assert edits_of(desk.decide(asked(llm={"n": 3})))["/llm/max_tokens"] == 2


def test_nothing_left_is_a_denial():
    """Where not one token of output fits, the call is denied and reserves nothing."""
    desk = Desk.of(budget(usd(0), "cap"), tenant())
    decision = desk.decide(asked())
    assert (decision.verdict, decision.http_status) == ("deny", 402)
    assert not decision.edits
    assert desk.snapshot("b/") == {}


def test_a_budget_downgrades_the_model():
    """Another model is called, at its price."""
    desk = Desk.of(budget(usd(5), "{downgrade: gpt-4o-mini}"), tenant())
    decision = desk.decide(asked(llm={"max_tokens": 10}))
    assert decision.verdict == "modify"
    assert edits_of(decision) == {"/llm/model": "gpt-4o-mini"}
    assert decision.reservation.usd_nano == 8 * 150 + 10 * 600


def test_a_downgrade_that_does_not_help_denies():
    """After the edit steps 3 and 4 run once more, and no call is edited twice."""
    desk = Desk.of(budget(0.000001, "{downgrade: gpt-4o-mini}"), tenant())
    assert desk.decide(asked(llm={"max_tokens": 1000})).verdict == "deny"


def test_a_deny_rule_sees_the_downgraded_model():
    """Step 3 is taken again: a rule that forbids the other model denies."""
    deny = rules(rule("no-mini", "deny", "{operator: eq, field: llm.model, value: gpt-4o-mini}"))
    desk = Desk.of(budget(usd(5), "{downgrade: gpt-4o-mini}", deny), tenant())
    decision = desk.decide(asked(llm={"max_tokens": 10}))
    assert [each.rule for each in decision.reasons] == ["no-mini"]


def test_a_denied_call_is_not_made_to_fit():
    """A deny of another kind stands alone, without edits."""
    desk = Desk.of(budget(usd(5), "cap", rules(rule("no", "deny"))), tenant())
    decision = desk.decide(asked())
    assert ([each.rule for each in decision.reasons], decision.edits) == (["no"], [])


def test_edits_of_rules_come_before_those_of_limits():
    """A rule's model is priced, and output is capped on top of it."""
    edits = "{verdict: modify, edits: [{set: llm.temperature, value: 0.5}]}"
    desk = Desk.of(budget(usd(7), "cap", rules(rule("cool", edits))), tenant())
    decision = desk.decide(asked(llm={"max_tokens": 10}))
    assert edits_of(decision) == {"/llm/temperature": 0.5, "/llm/max_tokens": 7}
    assert [each.rule for each in decision.reasons] == ["cool", "b"]


def test_a_token_limit_caps_output_to_what_is_left():
    """Units that are there now, less the input."""
    text = "rate_limits: [{id: t, per: minute, limit_tokens: 15, on_exceeded: cap}]"
    desk = Desk.of(spec(text), tenant())
    assert edits_of(desk.decide(asked(llm={"max_tokens": 10}))) == {"/llm/max_tokens": 7}


EXEMPTED = """
rules:
  - {id: no, then: deny}
exceptions:
  - {id: w, when: user.id == "u7", rules: [no], expires: 2099-01-01, approved_by: ciso, reason: move}
"""


@pytest.mark.parametrize("default", ["allow", "deny"])
def test_a_use_of_an_exception_is_told_and_is_no_allow(default):
    """It stands in the reasons and in the ledger; without a match the tenant's default decides."""
    desk = Desk.of(spec(EXEMPTED), tenant(f"{{default_verdict: {default}}}"))
    outcome = desk.outcome(asked(user={"id": "u7"}))
    decision = outcome.decision
    assert decision.verdict == default
    uses = [each for each in decision.reasons if each.code == "exception_use"]
    assert [(each.policy, each.rule, each.verdict) for each in uses] == [("p", "no", "allow")]
    assert [each.kind for each in outcome.entries] == ["decision", "exception_use"]
    use = json.loads(outcome.entries[1].payload)
    assert (use["policy"], use["rule"], use["decision"]) == ("p", "no", decision.id)
    assert desk.decide(asked(id="r2", user={"id": "u8"})).verdict == "deny"


def test_rules_read_how_their_limits_stood_before_the_request():
    """`budget("id")` and `rate("id")` are the rows before this request."""
    text = """
budgets: [{id: b, per: day, limit_usd: 1}]
rate_limits: [{id: t, per: minute, limit_requests: 3}]
rules:
  - {id: low, when: 'budget("b").remaining_usd < 1.0 && budget("b").reserved_usd > 0.0', then: warn}
  - {id: last, when: rate("t").remaining == 1, then: warn}
"""
    desk = Desk.of(spec(text), tenant())
    told = [[w.rule for w in desk.decide(asked(id=f"r{at}")).warnings] for at in range(3)]
    assert told == [[], ["low"], ["last", "low"]]
