"""The order of one decision, and how verdicts join."""

import pytest
from engine_desk import (
    CARD,
    MAIL,
    Desk,
    asked,
    codes,
    decide,
    edits,
    program,
    rule,
    rules,
    spec,
    tenant,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer import detect, state
from enforcer.engine import verdict

IS_GPT4O = "{operator: eq, field: llm.model, value: gpt-4o}"
IS_MINI = "{operator: eq, field: llm.model, value: gpt-4o-mini}"
HAS_MAIL = "{operator: gt, field: pii.count, value: 0}"
ERRS = "{operator: gt, field: attributes.level, value: 3}"
TO_MINI = "{verdict: modify, edits: [{set: llm.model, value: gpt-4o-mini}]}"
LEVEL = {"level": "a secret"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([], "allow"),
        ([("a", "allow")], "allow"),
        ([("a", "allow"), ("b", "warn")], "warn"),
        ([("a", "warn"), ("b", TO_MINI)], "modify"),
        ([("a", TO_MINI), ("b", "deny"), ("c", "allow")], "deny"),
    ],
)
def test_verdicts_join(written, expected):
    """deny > modify > warn > allow; the reasons are those of the verdict, warnings stand apart."""
    decision = decide(asked(), spec(rules(*(rule(*each) for each in written)) if written else "{}"))
    assert decision.verdict == expected
    assert decision.http_status == (403 if expected == "deny" else 200)
    assert {reason.verdict for reason in decision.reasons} <= {expected}
    assert [r.rule for r in decision.warnings] == [i for i, then in written if then == "warn"]
    assert bool(decision.edits) == (expected == "modify")


def test_a_deny_carries_no_edits_and_all_denies_are_told():
    """Every matched deny is a reason, at most 16 and a count; edits are gone."""
    many = [rule(f"d{at:02}", "deny") for at in range(20)]
    decision = decide(asked(), spec(rules(rule("m", TO_MINI), *many)))
    assert decision.edits == []
    assert [reason.rule for reason in decision.reasons] == [f"d{at:02}" for at in range(16)]
    assert decision.reasons_count == 20


def test_rules_of_higher_priority_come_first():
    """Reasons stand in canonical order: priority, policy id, rule id; the order of files means nothing."""
    texts = [
        spec(rules(rule("z", "deny"), rule("a", "deny"), priority=priority), name=name)
        for name, priority in (("b", 1), ("a", 1), ("c", 5))
    ]
    expected = [(p, r) for p in "cab" for r in "az"]
    for order in (texts, texts[::-1]):
        decision = decide(asked(), *order)
        assert [(reason.policy, reason.rule) for reason in decision.reasons] == expected


def test_deny_rules_see_the_edited_request():
    """What a modify changes is judged again: a deny on the new model denies."""
    decision = decide(
        asked(), spec(rules(rule("m", TO_MINI))), spec(rules(rule("d", "deny", IS_MINI)), name="q")
    )
    assert (decision.verdict, decision.edits) == ("deny", [])
    assert [reason.policy for reason in decision.reasons] == ["q"]


def test_deny_rules_see_the_lists_that_moved():
    """When a message goes, the next stands in its place: rules on places after it are judged again."""
    forbidden = "{operator: eq, field: 'llm.messages[0].role', value: tool}"
    first_goes = "{verdict: modify, edits: [{remove: 'llm.messages[0]'}]}"
    messages = [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]
    for field in ("llm.messages[0].role", "llm.messages[1].role"):
        denies = forbidden.replace("llm.messages[0].role", field)
        decision = decide(
            asked(llm={"messages": messages[:: 1 if field[13] == "0" else -1] * 2}),
            spec(rules(rule("m", first_goes), rule("d", "deny", denies))),
        )
        assert decision.verdict == "deny"


def test_deny_rules_read_attributes_whose_names_are_numbers():
    """An edited attribute named like an index is judged again."""
    denies = "{operator: eq, field: 'attributes[\"12\"]', value: b}"
    sets = "{verdict: modify, edits: [{set: 'attributes[\"12\"]', value: b}]}"
    decision = decide(
        asked(attributes={"12": "a"}), spec(rules(rule("m", sets), rule("d", "deny", denies)))
    )
    assert decision.verdict == "deny"


def test_a_rule_that_errs_only_after_the_edit_denies_and_is_listed():
    """Step 3 fails closed too, and the decision lists the error."""
    sets = "{verdict: modify, edits: [{set: attributes.level, value: high}]}"
    decision = decide(
        asked(attributes={"level": 1}), spec(rules(rule("m", sets), rule("d", "deny", ERRS)))
    )
    assert codes(decision) == ["evaluation_error"]
    assert [(e.rule, e.code) for e in decision.errors] == [("d", "evaluation_error")]


def test_redaction_is_judged_again():
    """A deny on personal data passes once it is redacted by a rule that came before; the facts stay those that came."""
    redact = "{verdict: modify, edits: [{redact: llm.prompt, types: [email]}]}"
    decision = decide(
        asked(f"write to {MAIL}"), spec(rules(rule("m", redact), rule("w", "warn", HAS_MAIL)))
    )
    assert decision.verdict == "modify"
    assert decision.facts.pii == {"email": 1}
    assert decision.facts.input_tokens is not None


@pytest.mark.parametrize(
    ("then", "on_error", "verdict_", "errors"),
    [
        ("deny", "deny", "deny", ["r"]),
        (TO_MINI, "deny", "deny", ["r"]),
        ("warn", "deny", "allow", ["r"]),
        ("allow", "deny", "allow", ["r"]),
        ("deny", "skip", "allow", ["r"]),
        (TO_MINI, "skip", "allow", ["r"]),
    ],
)
@pytest.mark.parametrize("way", ["type", "text"])
def test_an_erring_rule_fails_closed(then, on_error, verdict_, errors, way):
    """A deny or modify that errs denies unless its policy says skip; all are listed; a text too large errs alike."""
    condition = ERRS if way == "type" else HAS_MAIL
    prompt = "hi" if way == "type" else "x " * 600_000
    decision = decide(
        asked(prompt, attributes=LEVEL),
        spec(rules(rule("r", then, condition), rule("s", "allow"), extra=f"on_error: {on_error}")),
    )
    assert decision.verdict == verdict_
    assert [error.rule for error in decision.errors] == errors
    assert codes(decision) == ["evaluation_error" if verdict_ == "deny" else "policy_allow"]
    assert "a secret" not in "".join(e.message for e in decision.errors)


def test_a_text_too_large_errs_only_the_rules_that_read_it():
    """Other rules hold as ever, after a deny only deny rules, and each keeps its phases, mode and guard."""
    policies = [
        spec(
            rules(
                rule("a", "deny", HAS_MAIL), rule("b", "warn", IS_GPT4O), rule("c", "deny", IS_MINI)
            )
        ),
        spec(rules(rule("d", "deny"), extra="phases: [response]"), name="q"),
        spec(rules(rule("e", "deny", HAS_MAIL), extra="mode: shadow"), name="r"),
        spec(rules(rule("f", "deny", IS_GPT4O), extra=f"match: {HAS_MAIL}"), name="s"),
        spec(rules(rule("g", "deny"), extra=f"match: {IS_MINI}"), name="t"),
        spec(rules(rule("h", "deny", IS_GPT4O), extra=f"match: {ERRS}"), name="u"),
    ]
    decision = decide(asked("x " * 600_000, attributes=LEVEL), *policies)
    assert [(r.policy, r.rule, r.code) for r in decision.reasons] == [
        ("p", "a", "evaluation_error"),
        ("s", "f", "evaluation_error"),
        ("u", "h", "evaluation_error"),
    ]
    assert [r.rule for r in decision.shadow] == ["e"]
    assert {error.rule for error in decision.errors} == {"a", "e", "f", "h"}


def test_a_recheck_of_a_text_too_large_denies():
    """Where the edited text can no longer be read, nobody knows what it holds."""
    appends = '{verdict: modify, edits: [{set: llm.prompt, value: "' + "x " * 100_000 + '"}]}'
    body = rules(rule("m", appends), rule("d", "deny", HAS_MAIL))
    found = program(spec(body), tenant())
    desk = Desk({"acme": found})
    assert desk.decide(asked("y")).verdict == "modify"
    (modify,) = [r for p in found.policies for r in p.rules if r.id == "m"]
    object.__setattr__(modify.match.edits[0], "value", "x " * 600_000)
    decision = desk.decide(asked("y", id="r2"))
    assert codes(decision) == ["evaluation_error"]
    assert decision.errors


def test_a_kind_that_is_not_looked_for_by_default_is_where_a_policy_names_it():
    """What the policies of a tenant name is found: a rule on it cannot stay silent."""
    (kind, *_) = sorted(set(detect.pii.KINDS) - detect.pii.DEFAULT)
    texts = {
        "name": "My name is Jane Roe.",
        "address": "I live at 12 Main Street, Springfield, IL 62704.",
    }
    condition = f"{{operator: contains, field: pii.types, value: {kind}}}"
    prompt = texts.get(kind, " ".join(texts.values()))
    assert kind in detect.pii.counts(prompt, frozenset({kind}))
    assert decide(asked(prompt), spec(rules(rule("d", "deny", condition)))).verdict == "deny"


def test_unless_exempts_and_an_erring_unless_does_not():
    """`unless` takes a request out of a policy; one that errs exempts nobody and is listed."""
    body = rules(rule("d", "deny"), extra=f"unless: {IS_GPT4O}")
    assert decide(asked(), spec(body)).verdict == "allow"
    erring = decide(asked(attributes=LEVEL), spec(body.replace(IS_GPT4O, ERRS)))
    assert erring.verdict == "deny"
    assert [error.code for error in erring.errors] == ["evaluation_error"]


def test_shadow_rules_are_told_and_count_for_nothing():
    """A shadow deny stands in the decision apart; it neither denies nor is it a match."""
    shadow = spec(rules(rule("d", "deny"), extra="mode: shadow"))
    decision = decide(asked(), shadow)
    assert (decision.verdict, [r.rule for r in decision.shadow]) == ("allow", ["d"])
    assert codes(decide(asked(), shadow, tenant("{default_verdict: deny}"))) == ["default_deny"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{}", "deny"),
        (rules(rule("a", "allow")), "allow"),
        (rules(rule("w", "warn")), "warn"),
        (rules(rule("m", "{verdict: modify, edits: [{remove: llm.service_tier}]}")), "deny"),
        ("budgets: [{id: b, per: day, limit_usd: 0, on_exceeded: warn}]", "deny"),
        ("budgets: [{id: b, per: day, limit_usd: 5}]", "deny"),
        ("rate_limits: [{id: b, per: day, limit_tokens: 1, on_exceeded: warn}]", "deny"),
    ],
)
def test_the_default_verdict_stands_where_no_rule_matched(body, expected):
    """A limit that is exceeded with a warning is no match: it never opens a tenant that denies by default."""
    desk = Desk.of(spec(body), tenant("{default_verdict: deny}"))
    decision = desk.decide()
    assert decision.verdict == expected
    if expected == "deny":
        assert codes(decision) == ["default_deny"]
        assert desk.money() == {}


@pytest.mark.parametrize(
    ("phase", "expected"), [("request", "allow"), ("response", "deny"), ("tool_call", "allow")]
)
def test_rules_run_on_their_phases(phase, expected):
    """`phases: [request]` unless a rule says otherwise; budgets count requests only."""
    body = rules(rule("d", "deny").replace("then:", "phases: [response], then:"))
    limited = spec(
        body + "\nbudgets: [{id: b, per: day, limit_usd: 9, key: team.id, on_missing_key: shared}]"
    )
    desk = Desk.of(limited, tenant())
    decision = desk.decide(asked(phase=phase))
    assert decision.verdict == expected
    assert bool(decision.budgets) == (phase == "request")
    assert bool(desk.money()) == (phase == "request")


def test_an_unknown_tenant_is_denied():
    """Known is who has a Tenant document or a policy of its own; policies for everybody make nobody known."""
    everybody = spec(rules(rule("a", "allow")), tenant="*")
    assert codes(Desk.of(everybody).decide()) == ["unknown_tenant"]
    assert Desk.of(everybody, tenant()).decide().verdict == "allow"
    assert Desk.of(everybody, spec("{}", name="own")).decide().verdict == "allow"
    assert codes(Desk.of(tenant()).decide(asked(tenant="globex"))) == ["unknown_tenant"]


def test_policies_that_do_not_check_deny_their_tenant():
    """`policy_invalid` comes before everything else about the tenant."""
    desk = Desk({"acme": program(tenant(), invalid="ENF0101")})
    assert codes(desk.decide()) == ["policy_invalid"]


def test_a_tenant_requires_fields():
    """A required field that is absent denies `invalid_request`, named, and with no value."""
    required = tenant("{required: [user.id, 'attributes[\"cost.center\"]']}")
    decision = decide(asked(user={"id": "u1"}), required)
    assert (codes(decision), decision.http_status) == (["invalid_request"], 400)
    assert "cost.center" in decision.reasons[0].message
    assert "u1" not in decision.reasons[0].message
    assert (
        decide(asked(user={"id": "u1"}, attributes={"cost.center": None}), required).verdict
        == "allow"
    )


def test_defaults_make_fields_present_for_rules_limits_and_keys():
    """Guards, keys and conditions read the default; the account and the reservation what was sent."""
    body = """
match: {operator: eq, field: project.environment, value: production}
rules: [{id: w, then: warn}]
budgets: [{id: b, per: day, limit_usd: 9, key: attributes.cost}]
"""
    defaults = (
        "{defaults: {project.environment: production, attributes.cost: none, llm.max_tokens: 1}}"
    )
    desk = Desk.of(spec(body), tenant(defaults))
    decision = desk.decide(asked(llm={"max_tokens": None}))
    assert (decision.verdict, [view.key for view in decision.budgets]) == ("warn", ["none"])
    # 4,096 assumed tokens at 10 USD a million: the default of 1 binds nobody.
    assert decision.reservation.usd_nano > 4_096 * 10_000
    other = asked(id="r2", project={"environment": "staging"})
    assert desk.decide(other).verdict == "allow"


def test_a_default_without_a_place_denies():
    """A default inside what the request lacks cannot be given: it fails closed, and says where."""
    nested = tenant("{defaults: {attributes.a.b: 1}}")
    assert codes(decide(asked(), nested)) == ["edit_failed"]
    assert (
        decide(asked(attributes={"a": {"b": 2}} if False else {"a": ["x"]}), nested).verdict
        == "deny"
    )


def test_a_bug_denies_one_request(monkeypatch):
    """Anything that raises is `internal_error`: no text in it, a dead letter, rows only for the call."""

    def broken(*_args, **_kwargs):
        raise KeyError(CARD)

    monkeypatch.setattr(verdict, "check_limits", broken)
    desk = Desk.of(spec("budgets: [{id: b, per: day, limit_usd: 9}]"), tenant())
    outcome = desk.outcome(asked(CARD))
    assert codes(outcome.decision) == ["internal_error"]
    assert outcome.dead_letter.code == "internal_error"
    assert CARD not in outcome.dead_letter.reason + repr(outcome.decision)
    assert desk.money() == {}
    monkeypatch.undo()
    assert desk.outcome(asked(CARD)).value == outcome.value


def test_a_bug_in_a_limit_denies_one_request(monkeypatch):
    """The same where rows are named, before any rule ran."""
    desk = Desk.of(spec("budgets: [{id: b, per: day, limit_usd: 9}]"), tenant())
    monkeypatch.setattr(state, "budget_key", None)
    assert codes(desk.decide()) == ["internal_error"]


DENIES = st.lists(
    st.sampled_from([IS_GPT4O, IS_MINI, HAS_MAIL, ERRS, "{operator: exists, field: team.id}"]),
    max_size=2,
)
OTHERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["warn", "allow", TO_MINI, "{verdict: modify, edits: [{redact: llm.prompt}]}"]
        ),
        st.sampled_from([IS_GPT4O, HAS_MAIL, ERRS]),
        st.integers(0, 2),
    ),
    max_size=4,
)


@settings(max_examples=60)
@given(OTHERS, DENIES, st.sampled_from(["hi", f"to {MAIL}"]), st.sampled_from(["allow", "deny"]))
def test_adding_a_deny_never_opens(others, denies, prompt, default):
    """Whatever the rules are, a deny rule more leaves the verdict or makes it a deny; file order means nothing."""
    given_ = [
        spec(rules(rule("r", then, condition), priority=priority), name=f"p{at}")
        for at, (then, condition, priority) in enumerate(others)
    ]
    added = [spec(rules(rule("d", "deny", each)), name=f"q{at}") for at, each in enumerate(denies)]
    named = tenant(f"{{default_verdict: {default}}}")
    request = asked(prompt, attributes=LEVEL)
    before = decide(request, *given_, named)
    after = decide(request, *added, *given_, named)
    if before.verdict == "deny":
        assert after.verdict == "deny"
    elif after.verdict != "deny":
        assert (after.verdict, edits(after)) == (before.verdict, edits(before))
    shuffled = decide(request, *(given_[::-1] + added[::-1]), named)
    assert shuffled.reasons == after.reasons
    assert edits(shuffled) == edits(after)
