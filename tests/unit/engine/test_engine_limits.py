"""Steps 4 and 5: cost, rate limits and budgets; nothing is consumed by a denial."""

import json

import pytest
from engine_desk import (
    MAIL,
    MINUTE_US,
    NOW_US,
    SECOND_US,
    Desk,
    asked,
    codes,
    decide,
    rule,
    rules,
    spec,
    tenant,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer import events, state

# gpt-4o: 2.50 USD a million tokens of input, 10 USD of output.
INPUT, OUTPUT = 2_500, 10_000
HI_TOKENS = 8


def limited(budgets="", rates="", extra=""):
    return spec(f"{extra}\nbudgets: [{budgets}]\nrate_limits: [{rates}]")


def cost(output, tokens=HI_TOKENS):
    return tokens * INPUT + output * OUTPUT


def test_a_reservation_is_input_and_all_that_may_come_out():
    """Input tokens + n times max tokens, or the tenant's assumed output, at the price of the day."""
    body = limited("{id: b, per: day, limit_usd: 5}")
    for llm, output in (
        ({"max_tokens": 10}, 10),
        ({"max_tokens": 10, "n": 3}, 30),
        ({"max_tokens": None}, 500),
        ({"max_tokens": None, "n": 2}, 1_000),
    ):
        desk = Desk.of(body, tenant("{assumed_output_tokens: 500}"))
        decision = desk.decide(asked(llm=llm))
        assert decision.reservation.usd_nano == cost(output)
        assert desk.only("b/").reserved_usd_nano == cost(output)
        assert decision.facts.estimated_cost_usd_nano == cost(output)


def test_the_edited_request_is_what_is_reserved_and_settled():
    """A cheaper model and a cap lower the reservation; usage that names no model is priced as the edited one."""
    edits = "{verdict: modify, edits: [{set: llm.model, value: gpt-4o-mini}, {cap: llm.max_tokens, value: 4}]}"
    desk = Desk.of(
        spec(rules(rule("m", edits)) + "\nbudgets: [{id: b, per: day, limit_usd: 5}]"), tenant()
    )
    decision = desk.decide()
    assert decision.verdict == "modify"
    assert decision.reservation.usd_nano == HI_TOKENS * 150 + 4 * 600
    desk.usage(input_tokens=100, output_tokens=10)
    assert desk.only("b/").spent_usd_nano == 100 * 150 + 10 * 600


def test_an_alias_is_priced_as_what_it_stands_for():
    """Tokens and prices go by the aliased model, in reservation and settlement; rules read the alias."""
    guard = limited(
        "{id: b, per: day, limit_usd: 5}",
        extra="match: {operator: eq, field: llm.model, value: chat}",
    )
    desk = Desk.of(guard, tenant("{models: {chat: openai/gpt-4o}}"))
    decision = desk.decide(asked(llm={"provider": "us", "model": "chat"}))
    assert decision.reservation.usd_nano == cost(10)
    desk.usage(input_tokens=1, output_tokens=1, provider="us", model="chat")
    assert desk.only("b/").spent_usd_nano == INPUT + OUTPUT


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [("deny", None), ("{ceiling_usd_per_mtok: 30}", 30_000)],
)
def test_a_model_without_a_price_costs_the_ceiling_or_is_denied(unknown, expected):
    """Zero is never assumed; without a budget nothing needs a price."""
    request = asked(llm={"provider": "us", "model": "secret-7b"})
    named = tenant(f"{{unknown_model: {unknown}}}")
    decision = decide(request, limited("{id: b, per: day, limit_usd: 5, on_exceeded: warn}"), named)
    if expected is None:
        assert codes(decision) == ["unknown_model"]
        assert [view.limit_usd_nano for view in decision.budgets] == [5_000_000_000]
    else:
        per_token = expected
        assert decision.reservation.usd_nano % per_token == 0
        assert decision.reservation.usd_nano >= 10 * per_token
    assert decide(request, named).verdict == "allow"


@pytest.mark.parametrize(
    "llm", [{"max_tokens": 2**62}, {"max_tokens": 2**40, "n": 2**40}, {"max_tokens": 1_000_000_001}]
)
def test_absurd_sizes_are_refused(llm):
    """More tokens than usage may report are not believed: no amount leaves 64 bits."""
    desk = Desk.of(
        limited(
            "{id: b, per: total, limit_usd: 5, on_exceeded: warn}",
            "{id: r, per: day, limit_tokens: 9}",
        )
        + "  rules: [{id: w, condition: {operator: gt, field: llm.estimated_cost_usd, value: 1}, then: warn}]\n",
        tenant(),
    )
    assert codes(desk.decide(asked(llm=llm))) == ["invalid_request"]
    assert desk.money() == {}


def test_warnings_end_where_a_row_does():
    """Even `on_exceeded: warn` denies before an amount or a moment leaves 64 bits."""
    desk = Desk.of(limited("{id: b, per: total, limit_usd: 5, on_exceeded: warn}"), tenant())
    desk.decide(asked(id="r0"))
    ((key, _),) = desk.rows.items("b/")
    desk.rows.put(key, events.BudgetRow((1 << 62) + 10**10, 0, 0))
    assert codes(desk.decide()) == ["budget_exceeded"]

    desk = Desk.of(limited(rates="{id: r, per: day, limit_tokens: 1, on_exceeded: warn}"), tenant())
    huge = asked(llm={"max_tokens": 999_000_000})
    refused = desk.decide(huge)
    assert (refused.verdict, codes(refused)) == ("deny", ["exceeds_burst"])
    assert desk.decide(asked(id="r2")).verdict == "warn"


def test_a_budget_admits_up_to_its_limit_and_not_a_nano_more():
    """Settled + reserved + the new reservation is within the limit."""
    exact = cost(10) / 1e9
    body = limited(f"{{id: b, per: day, limit_usd: {2 * exact:.9f}}}")
    desk = Desk.of(body, tenant())
    assert [desk.decide(asked(id=f"r{at}")).verdict for at in range(3)] == [
        "allow",
        "allow",
        "deny",
    ]
    less = Desk.of(limited(f"{{id: b, per: day, limit_usd: {2 * exact - 1e-9:.9f}}}"), tenant())
    decisions = [less.decide(asked(id=f"r{at}")) for at in range(2)]
    assert [decision.verdict for decision in decisions] == ["allow", "deny"]
    (view,) = decisions[1].budgets
    assert (decisions[1].http_status, codes(decisions[1])) == (402, ["budget_exceeded"])
    assert (view.reserved_usd_nano, view.spent_usd_nano) == (cost(10), 0)
    assert decisions[1].reservation is None
    less.usage("r0", input_tokens=0, output_tokens=0)
    assert less.decide(asked(id="r9")).verdict == "allow"


def test_an_exceeded_limit_that_warns_books_past_it():
    """`on_exceeded: warn`: a reason, and the rows are written all the same."""
    body = limited(
        "{id: b, per: day, limit_usd: 0, on_exceeded: warn}",
        "{id: r, per: minute, limit_requests: 1, on_exceeded: warn}, {id: t, per: minute, limit_tokens: 1, on_exceeded: warn}",
    )
    desk = Desk.of(body, tenant())
    desk.decide(asked(id="r0"))
    decision = desk.decide()
    assert decision.verdict == "warn"
    assert sorted(codes(decision)) == ["budget_exceeded", "exceeds_burst", "rate_limited"]
    assert decision.retry_after_ms is None
    assert desk.only("b/").reserved_usd_nano == 2 * cost(10)
    debts = [row.full_at_us - NOW_US for _, row in desk.rows.items("r/")]
    assert debts == [2 * MINUTE_US, 2 * (HI_TOKENS + 10) * MINUTE_US]


@pytest.mark.parametrize(
    ("by", "amount"),
    [("gold", 500), ("free", 50), (None, 50)],
)
def test_a_limit_by_tier(by, amount):
    """The entry of the field's value, else the default."""
    body = limited("{id: b, per: day, limit_usd: {by: team.tier, gold: 500, default: 50}}")
    (view,) = decide(asked(team={"tier": by}), body).budgets
    assert view.limit_usd_nano == amount * 1_000_000_000


@pytest.mark.parametrize(
    ("policy", "verdict", "key"),
    [("deny", "deny", None), ("skip", "allow", None), ("shared", "allow", "t%2F1|*")],
)
@pytest.mark.parametrize("kind", ["budgets", "rate_limits"])
def test_a_key_that_is_absent(policy, verdict, key, kind):
    """`on_missing_key`: deny (`missing_key`), skip, or a row shared by all without it."""
    limit = "limit_usd: 5" if kind == "budgets" else "limit_requests: 5"
    body = spec(
        f"{kind}: [{{id: b, per: day, {limit}, key: [team.id, conversation_id], on_missing_key: {policy}}}]"
    )
    desk = Desk.of(body, tenant())
    decision = desk.decide(asked(team={"id": "t/1"}))
    assert decision.verdict == verdict
    assert codes(decision) == (["missing_key"] if verdict == "deny" else [])
    if key is not None:
        (row,) = desk.money()
        assert row.split("/")[4] == key
    else:
        assert desk.money() == {}


def test_keys_separate_and_no_key_is_the_whole_account():
    """Rows are (policy, id, key, window); a global policy and the tenant's own of one name have rows apart."""
    body = "budgets: [{id: b, per: day, limit_usd: 5, key: team.id}, {id: all, per: month, limit_usd: 9}]"
    desk = Desk.of(spec(body), spec(body, tenant="*"), tenant("{time_zone: Asia/Tokyo}"))
    desk.decide(asked(team={"id": "a"}))
    desk.decide(asked(id="r2", team={"id": "b"}))
    assert list(desk.money()) == [
        "b/acme/*p/all//2026-11",
        "b/acme/*p/b/a/2026-11-16",
        "b/acme/*p/b/b/2026-11-16",
        "b/acme/p/all//2026-11",
        "b/acme/p/b/a/2026-11-16",
        "b/acme/p/b/b/2026-11-16",
    ]


def test_the_guard_of_a_policy_guards_its_limits():
    """match, unless and mode hold for limits; an erring match denies, or skips where told, and is listed."""
    budget = "{id: b, per: day, limit_usd: 0}"
    is_gpt = "{operator: eq, field: llm.model, value: gpt-4o}"
    errs = "{operator: gt, field: attributes.level, value: 1}"
    request = asked(attributes={"level": "x"})
    for extra, verdict, errors in (
        ("", "deny", 0),
        (f"match: {is_gpt}", "deny", 0),
        (f"unless: {is_gpt}", "allow", 0),
        ("mode: shadow", "allow", 0),
        ("enabled: false", "allow", 0),
        (f"match: {errs}", "deny", 1),
        (f"match: {errs}\non_error: skip", "allow", 1),
    ):
        decision = decide(request, limited(budget, extra=extra))
        assert (decision.verdict, len(decision.errors)) == (verdict, errors)
        if errors and verdict == "deny":
            assert codes(decision) == ["evaluation_error"]


@pytest.mark.parametrize(
    ("rate", "took", "wait_ms"),
    [
        ("{id: r, per: minute, limit_requests: 60, burst: 1}", 1, 1_000),
        ("{id: r, per: minute, limit_requests: 7, burst: 1}", 1, 8_572),
        ("{id: r, per: second, limit_requests: 3}", 3, 334),
        ("{id: r, per: hour, limit_requests: 2, burst: 2}", 2, 1_800_000),
    ],
)
def test_retry_after_is_the_first_millisecond_that_passes(rate, took, wait_ms):
    """GCRA in exact integers: a ms earlier it is denied still, then it passes."""
    body = limited(rates=rate)
    desk = Desk.of(body, tenant())
    for at in range(took):
        assert desk.decide(asked(id=f"a{at}")).verdict == "allow"
    denied = desk.decide(asked(id="d"))
    assert (denied.http_status, codes(denied), denied.retry_after_ms) == (
        429,
        ["rate_limited"],
        wait_ms,
    )
    desk.now_us += (wait_ms - 1) * 1000
    assert desk.decide(asked(id="e")).retry_after_ms == 1
    desk.now_us += 1000
    assert desk.decide(asked(id="f")).verdict == "allow"


def test_a_cost_above_the_burst_never_passes():
    """`exceeds_burst`, 429, and no retry_after, even beside a limit that would pass later."""
    tokens = "{id: t, per: minute, limit_tokens: 1000, burst: 17}"
    decision = decide(asked(), limited(rates=tokens))
    assert (codes(decision), decision.http_status, decision.retry_after_ms) == (
        ["exceeds_burst"],
        429,
        None,
    )
    both = Desk.of(limited(rates=f"{tokens}, {{id: r, per: hour, limit_requests: 1}}"), tenant())
    assert decide(asked(), limited(rates=tokens.replace("17", "18"))).verdict == "allow"
    ((_, quota),) = [("r", state.Quota(1, 3_600 * SECOND_US))]
    key = state.rate_key("acme", "p", "r", "")
    both.rows.put(key, events.RateRow(NOW_US + quota.period_us, 0, 1))
    decision = both.decide()
    assert sorted(codes(decision)) == ["exceeds_burst", "rate_limited"]
    assert decision.retry_after_ms is None


def test_waiting_is_told_only_where_waiting_helps():
    """A rule that denies, or an empty budget, is not waited for."""
    rate = "{id: r, per: hour, limit_requests: 1}"
    for extra in ("rules: [{id: d, then: deny}]", "budgets: [{id: b, per: day, limit_usd: 0}]"):
        desk = Desk.of(spec(f"rate_limits: [{rate}]\n{extra}"), tenant())
        desk.rows.put(
            state.rate_key("acme", "p", "r", ""), events.RateRow(NOW_US + MINUTE_US, 0, 1)
        )
        decision = desk.decide()
        assert "rate_limited" in codes(decision)
        assert decision.retry_after_ms is None
        assert decision.http_status == (403 if "rules" in extra else 402)


def test_token_limits_charge_the_estimate_and_settle_the_difference():
    """What was estimated too much is given back by the final report."""
    desk = Desk.of(limited(rates="{id: t, per: minute, limit_tokens: 60}"), tenant())
    desk.decide()
    assert desk.only("r/").full_at_us - NOW_US == (HI_TOKENS + 10) * SECOND_US
    desk.usage(input_tokens=2, output_tokens=1)
    assert desk.only("r/").full_at_us - NOW_US == 3 * SECOND_US


def test_usage_of_a_denied_request_is_charged_and_flagged():
    """The rows that a denial names take what the gateway ran all the same."""
    body = spec(
        "rules: [{id: d, then: deny}]\nbudgets: [{id: b, per: day, limit_usd: 5}]\n"
        "rate_limits: [{id: t, per: minute, limit_tokens: 60}]"
    )
    desk = Desk.of(body, tenant())
    desk.decide()
    outcome = desk.usage(input_tokens=1, output_tokens=1, acted="timeout_allow")
    assert outcome.bypass == "timeout_allow"
    assert outcome.overrun_usd_nano == INPUT + OUTPUT
    (entry,) = outcome.entries
    assert {"denied_request", "overrun", "bypass"} <= set(entry.notes)
    assert desk.only("b/") == events.BudgetRow(INPUT + OUTPUT, 0, desk.only("b/").window_end_us)
    assert desk.only("r/").full_at_us - NOW_US == 2 * SECOND_US


REFUSALS = st.sampled_from(
    [
        "rules: [{id: d, then: deny}]",
        "rules: [{id: d, condition: {operator: gt, field: attributes.level, value: 1}, then: deny}]",
        "rules: [{id: m, then: {verdict: modify, edits: [{set: 'llm.messages[3].role', value: x}]}}]",
        "budgets: [{id: z, per: day, limit_usd: 0}]",
        "budgets: [{id: z, per: day, limit_usd: 9, key: conversation_id}]",
        "rate_limits: [{id: z, per: day, limit_tokens: 1}]",
    ]
)


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(["b: total", "b: day"]), max_size=2, unique=True),
    REFUSALS,
    st.sampled_from(["deny", "warn"]),
    st.integers(0, 3),
    st.booleans(),
)
def test_a_denied_request_consumes_nothing(windows, refusal, on_exceeded, before, has_mail):
    """Whatever denies: every row but the call's own is byte for byte what it was."""
    budgets = ", ".join(
        f"{{id: b{at}, per: {each[3:]}, limit_usd: 1, on_exceeded: {on_exceeded}}}"
        for at, each in enumerate(windows)
    )
    guard = limited(
        budgets,
        f"{{id: r, per: minute, limit_requests: 2, on_exceeded: {on_exceeded}}}, {{id: t, per: minute, limit_tokens: 900}}",
    )
    only_last = "match: {operator: eq, field: id, value: last}\n"
    desk = Desk.of(guard, spec(only_last + refusal, name="q"), tenant())
    for at in range(before):
        desk.decide(asked(id=f"r{at}"))
        desk.now_us += 20 * SECOND_US
    money = desk.money()
    request = asked(MAIL if has_mail else "hi", id="last", attributes={"level": "x"})
    decision = desk.decide(request)
    assert decision.verdict == "deny"
    assert decision.reservation is None
    assert desk.money() == money
    assert all(effect.amount == 0 for effect in decision.effects if effect.kind != "open")
    again = desk.outcome(json.dumps(request).encode())
    assert events.to_json(decision) == events.to_json(events.read_decision(again.value))
    assert desk.money() == money
