"""Shadow policies: the same event, rows of their own, a place in the decision, and no say in the verdict."""

import pytest
from engine_desk import MAIL, MINUTE_US, Desk, asked, codes, decide, rule, rules, spec, tenant

from enforcer import events, state
from enforcer.engine import Engine

SHADOW = "mode: shadow"
DAY_1 = "{id: b, per: day, limit_usd: 1}"
TIGHT = "{id: b, per: day, limit_usd: 0.0001}"


def limited(budgets="", rates="", extra="", name="p"):
    return spec(f"{extra}\nbudgets: [{budgets}]\nrate_limits: [{rates}]", name=name)


def told(decision):
    return [(r.policy, r.rule, r.verdict, r.code) for r in decision.shadow]


def test_a_shadow_budget_has_rows_of_its_own_and_denies_nobody():
    """The same limit in force and in shadow count apart; only the one in force is in the verdict and its views."""
    desk = Desk.of(limited(DAY_1), limited(DAY_1, extra=SHADOW, name="s"), tenant())
    decision = desk.decide()
    assert decision.verdict == "allow"
    assert decision.shadow == []
    assert [view.policy for view in decision.budgets] == ["p"]
    live, tried = desk.snapshot("b/").items()
    assert (live[0], tried[0]) == ("b/acme/p/b//2026-11-16", "b/acme/~s/b//2026-11-16")
    assert live[1] == tried[1]


def test_an_exceeded_shadow_limit_is_told_and_books_nothing():
    """What would have been denied is in `shadow`, the call runs, and only rows in force are booked."""
    for budgets, rates, code in (
        (TIGHT, "", "budget_exceeded"),
        ("", "{id: b, per: minute, limit_tokens: 5}", "exceeds_burst"),
        ("{id: b, per: day, limit_usd: 1, key: team.id}", "", "missing_key"),
    ):
        desk = Desk.of(limited(DAY_1), limited(budgets, rates, extra=SHADOW, name="s"), tenant())
        decision = desk.decide()
        assert (decision.verdict, told(decision)) == ("allow", [("s", "b", "deny", code)])
        assert list(desk.money()) == ["b/acme/p/b//2026-11-16"]


def test_a_denied_request_books_no_shadow_row():
    """Neither verdict may be a deny: a call that never ran spends nothing in shadow either."""
    desk = Desk.of(limited(TIGHT), limited(DAY_1, extra=SHADOW, name="s"), tenant())
    assert codes(desk.decide()) == ["budget_exceeded"]
    assert desk.money() == {}


def test_a_shadow_rule_that_denies_keeps_the_shadow_limits_from_booking():
    """The shadow verdict is of rules and limits together."""
    body = rules(rule("d", "deny"), extra=SHADOW) + f"\nbudgets: [{DAY_1}]"
    desk = Desk.of(spec(body, name="s"), tenant())
    decision = desk.decide()
    assert (decision.verdict, told(decision)) == ("allow", [("s", "d", "deny", "policy_deny")])
    assert desk.money() == {}


def test_shadow_rows_settle_and_expire_like_any():
    """Usage moves what the shadow budget holds; without usage it is charged when the reservation ends."""
    desk = Desk.of(limited(DAY_1, extra=SHADOW), tenant())
    desk.decide()
    desk.usage(input_tokens=8, output_tokens=1)
    assert desk.only("b/").spent_usd_nano == 8 * 2_500 + 10_000
    assert desk.only("b/").reserved_usd_nano == 0

    desk = Desk.of(limited(DAY_1, extra=SHADOW), tenant())
    reserved = desk.decide().facts.estimated_cost_usd_nano
    desk.now_us += 16 * MINUTE_US
    desk.decide(asked(id="r2"))
    assert desk.only("b/").spent_usd_nano == reserved


def test_a_shadow_limit_counts_what_would_have_passed():
    """Two calls a minute in shadow: the third would be refused, and the bucket holds two."""
    desk = Desk.of(limited(rates="{id: r, per: minute, limit_requests: 2}", extra=SHADOW), tenant())
    found = [desk.decide(asked(id=f"r{at}")) for at in range(4)]
    assert [d.verdict for d in found] == ["allow"] * 4
    assert [codes_of(d) for d in found] == [[], [], ["rate_limited"], ["rate_limited"]]


def codes_of(decision):
    return [reason.code for reason in decision.shadow]


def test_a_shadow_modify_is_told_only_where_it_changes_something():
    """As in force: no mail, no match; and no edit of the shadow reaches the gateway."""
    redact = "{verdict: modify, edits: [{redact: llm.messages, types: [email]}]}"
    shadow = spec(rules(rule("m", redact), extra=SHADOW))
    assert told(decide(asked(), shadow)) == []
    mail = {"messages": [{"role": "user", "content": f"Write to {MAIL}"}]}
    decision = decide(asked(llm=mail), shadow)
    assert (decision.verdict, decision.edits) == ("allow", [])
    assert told(decision) == [("p", "m", "modify", "policy_modify")]


def test_a_guard_that_errs_in_shadow_denies_in_shadow_alone():
    """It is listed among the errors, and stands in `shadow` as the deny it would be."""
    errs = "match: {operator: gt, field: attributes.level, value: 1}"
    desk = Desk.of(limited(DAY_1, extra=f"{SHADOW}\n{errs}"), tenant())
    decision = desk.decide(asked(attributes={"level": "x"}))
    assert decision.verdict == "allow"
    assert codes_of(decision) == ["evaluation_error"]
    assert len(decision.errors) == 1


def test_what_is_told_of_the_shadow_is_bounded():
    """At most sixteen reasons; and reasons too long to tell are left out, whatever the verdict."""
    many = [rule(f"d{at}", "deny") for at in range(20)]
    assert len(decide(asked(), spec(rules(*many, extra=SHADOW))).shadow) == 16
    long = [f"- {{id: d{at}, then: deny, reason: '{'x' * 50_000}'}}" for at in range(4)]
    policies = [spec(rules(*long, extra=SHADOW), name=f"s{at}") for at in range(4)]
    decision = decide(asked(), *policies)
    assert (decision.verdict, decision.shadow) == ("allow", [])


def test_a_bug_in_shadow_denies_nobody(monkeypatch):
    """What raises while the shadow is evaluated is an error in the decision, and the verdict stands."""
    from enforcer.engine import shadow

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(shadow.limits, "check_budgets", broken)
    decision = decide(asked(), limited(DAY_1, extra=SHADOW))
    assert (decision.verdict, decision.shadow) == ("allow", [])
    assert [error.code for error in decision.errors] == ["shadow_error"]


@pytest.mark.parametrize("verdict", ["allow", "warn", "deny"])
def test_a_verdict_is_the_same_with_and_without_a_shadow(verdict):
    """Decision by decision, but for what the shadow adds, nothing differs."""
    live = spec(rules(rule("x", verdict)) + f"\nbudgets: [{DAY_1}]")
    shadow = spec(rules(rule("d", "deny"), extra=SHADOW) + f"\nbudgets: [{TIGHT}]", name="s")
    plain, tried = decide(asked(), live), decide(asked(), live, shadow)
    for decision in (plain, tried):
        decision.policy_digest, decision.policy_sets, decision.shadow = "", {}, []
    assert events.encode_decision(plain) == events.encode_decision(tried)


def test_a_takeover_redoes_shadow_rows():
    """The effects of a told decision carry the shadow's rows, so that the next owner has them."""
    desk = Desk.of(limited(DAY_1, extra=SHADOW), tenant())
    arrival = desk.arrival(asked())
    outcome = desk.engine.request(desk.program_of, arrival, desk.rows, desk.queue)
    rows, queue = state.MemoryRows(), state.ExpiryQueue()
    Engine().redo(arrival, outcome.decision, outcome.value, rows, queue, program_of=desk.program_of)
    assert {k: events.encode(r) for k, r in rows.items()} == desk.snapshot()
