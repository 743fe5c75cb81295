"""Expressions in policies: the laws on absence, types and errors, in CEL as they stand in documents."""

from __future__ import annotations

import json

import pytest
from policy_sources import Facts, documents
from policy_sources import program as tenant_program

from enforcer import events, policy

FULL = {
    "id": "r",
    "tenant": "acme",
    "user": {"id": "u7", "email": "a@acme.com", "roles": ["dev"]},
    "llm": {
        "provider": "openai",
        "model": "gpt-4o",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "hello"}],
    },
    "attributes": {"x": 2, "s": "abc", "l": ["a"], "n": None, "a.b": True},
}
BARE = {"id": "r", "tenant": "acme", "llm": {"provider": "openai", "model": "gpt-4o"}}
ABSENT = "is absent"


def outcome(expression, request, now_us=1_800_000_000_000_000):
    """True, False, or the message of the error."""
    rule = {"id": "r", "then": "warn", "when": expression}
    document = {
        "apiVersion": "enforcer/v1",
        "kind": "Policy",
        "metadata": {"id": "p", "tenant": "acme"},
        "spec": {"rules": [rule]},
    }
    program = tenant_program(json.dumps(document))
    record = events.request_from_json(json.dumps(request).encode())
    evaluation = program.evaluate(record, Facts(), now_us=now_us)
    if evaluation.errors:
        return evaluation.errors[0].message
    return bool(evaluation.matches)


@pytest.mark.parametrize(
    ("expression", "full", "bare"),
    [
        ('llm.model == "gpt-4o"', True, True),
        ('user.id == "u7"', True, False),
        ('user.id != "u7"', False, True),
        ('user.id in ["u7", "u8"]', True, False),
        ('!(user.id in ["u7"])', False, True),
        ("user.id == team.id", False, False),
        ("user.id != team.id", True, True),
        ("user.id in user.roles", False, False),
        ('"dev" in user.roles', True, False),
        ("attributes.x == 2.0", True, False),
        ("attributes.x == true", False, False),
        ("attributes.n == null", True, False),
        ('attributes["l"] == ["a"]', True, False),
        ('attributes["a.b"] == true', True, False),
        ('"x" in attributes', True, False),
        ("has(attributes.x)", True, False),
        ("has(attributes.n)", True, False),
        ('has(user.email) && user.email.endsWith("acme.com")', True, False),
        ('!has(user.email) || user.email.endsWith("acme.com")', True, True),
        ('user.email.endsWith("acme.com")', True, ABSENT),
        ("llm.max_tokens > 3", True, ABSENT),
        ("has(llm.max_tokens) && llm.max_tokens > 3", True, False),
        ("attributes.x > 1", True, ABSENT),
        ("attributes.x + 1 == 3", True, ABSENT),
        ('attributes.s > 1 || llm.model == "gpt-4o"', True, True),
        ("attributes.s > 1", "`attributes.s` is a string", ABSENT),
        ('attributes.?s.orValue("") == "abc"', True, False),
        ('user.?email.orValue("none").size() > 4', True, False),
        ('llm.messages.exists(m, m.role == "user" && m.content.contains("ell"))', True, False),
        ('llm.messages[0].content == "hello"', True, False),
        ('now >= timestamp("2020-01-01T00:00:00Z")', True, True),
        ("now.getFullYear() == 2027", True, True),
        ("llm.maxTokens == 5", True, False),
        ("llm.stream", False, False),
        ("raw.attributes.x * 2 == 4", True, ABSENT),
        ('["u7"].exists(user, user == llm.model)', False, False),
        ("size(user.roles) > 0 ? true : false", True, False),
    ],
)
def test_an_expression_over_a_request_that_has_the_fields_and_one_that_has_not(
    expression, full, bare
):
    """Absent equals nothing in ==, != and in; every other read of what is absent errs, unless it is guarded."""
    for request, expected in ((FULL, full), (BARE, bare)):
        found = outcome(expression, request)
        assert found is expected if isinstance(expected, bool) else expected in found, request


def test_a_rule_with_both_notations_asks_both():
    """`when`, `condition` and `match` mix freely: a rule matches where all hold."""
    text = """\
apiVersion: enforcer/v1
kind: Policy
metadata: {id: p, tenant: acme}
spec:
  match: '"dev" in user.roles'
  unless: {operator: eq, field: llm.model, value: gpt-3}
  rules:
    - id: r
      then: deny
      when: has(llm.max_tokens) && llm.max_tokens > 3
      condition:
        operator: or
        conditions:
          - {when: 'llm.provider.startsWith("open")'}
          - {operator: eq, field: llm.provider, value: other}
"""
    program = tenant_program(text)

    def matches(**llm):
        request = {**FULL, "llm": {**FULL["llm"], **llm}}
        record = events.request_from_json(json.dumps(request).encode())
        return bool(program.evaluate(record, Facts()).matches)

    assert matches()
    assert matches(provider="other")
    assert not matches(provider="third")
    assert not matches(max_tokens=2)
    assert not matches(model="gpt-3")


def test_equality_in_an_expression_is_indexed_as_a_structured_one_is():
    """A policy is not looked at where the equality it needs does not hold."""
    text = """\
apiVersion: enforcer/v1
kind: Policy
metadata: {id: p, tenant: acme}
spec:
  match: project.environment == "production" && user.region in ["eu", "us"]
  rules: [{id: r, then: deny, when: 'llm.model == "a" || llm.model == "b"'}]
"""
    (code,) = policy.compile_scope(documents(text), "acme").policies
    assert code.requirements == {
        ("project", "environment"): frozenset({"production"}),
        ("user", "region"): frozenset({"eu", "us"}),
        ("llm", "model"): frozenset({"a", "b"}),
    }


def test_values_are_read_by_expressions():
    """`values.<id>` is a list or a map of the policy's own scope."""
    text = """\
apiVersion: enforcer/v1
kind: Values
metadata: {id: v, tenant: acme}
spec: {own: [openai, azure], caps: {gpt-4o: 3}}
---
apiVersion: enforcer/v1
kind: Policy
metadata: {id: p, tenant: acme}
spec:
  rules:
    - {id: own, then: warn, when: llm.provider in values.own}
    - {id: cap, then: warn, when: 'llm.model in values.caps && has(llm.max_tokens) && llm.max_tokens > values.caps[llm.model]'}
"""
    program = tenant_program(text)
    record = events.request_from_json(json.dumps(FULL).encode())
    assert [each.rule for each in program.evaluate(record, Facts()).matches] == ["cap", "own"]


GUARDED = """\
apiVersion: enforcer/v1
kind: Policy
metadata: {id: p, tenant: acme}
spec:
  variables:
    outside: '!(llm.provider in own)'
    own: '["azure", "openai"]'
    tokens: llm.input_tokens + llm.max_output_tokens
  rules:
    - {id: out, when: outside, then: deny, reason: "{{ llm.provider }} is not ours"}
    - {id: long, when: tokens > 100, then: deny, reason: "{{ tokens }} tokens, by {{ user.?region.orValue('nobody') }}"}
  exceptions:
    - {id: w1, when: 'user.id == "u7"', rules: [out], expires: 2027-01-01, approved_by: ciso, reason: move}
    - {id: w2, when: user.email.size() > 3, rules: [long], expires: 2099-01-01, approved_by: ciso, reason: x}
"""
DAY_US = 86_400_000_000
START_2027_US = 1_798_761_600_000_000


def ruled(now_us=START_2027_US - 1, tokens=0, **fields):
    """The evaluation of the guarded policy."""
    request = {**BARE, **fields}
    record = events.request_from_json(json.dumps(request).encode())
    return tenant_program(GUARDED).evaluate(record, Facts(tokens=tokens), now_us=now_us)


def test_variables_stand_for_their_expressions_in_any_order():
    """A variable may use another, whatever the order they stand in; its type is that of its expression."""
    other = {"provider": "mistral", "model": "m"}
    assert [each.rule for each in ruled(llm=other).matches] == ["out"]
    assert [each.rule for each in ruled(tokens=200).matches] == ["long"]


def test_a_reason_is_made_for_the_request():
    """`{{ expression }}` is its value as text, on one short line."""
    (match,) = ruled(llm={"provider": "mis\ntral" + "x" * 500, "model": "m"}).matches
    assert match.reason.startswith("mis tralxxx")
    assert match.reason.endswith("x is not ours")
    assert len(match.reason) < 200
    (match,) = ruled(tokens=200).matches
    assert match.reason == "400 tokens, by nobody"


def test_an_exception_removes_its_rule_while_it_holds_and_has_not_expired():
    """Each use is told; from its expiry on, and where it does not hold, the rule counts."""
    other = {"provider": "mistral", "model": "m"}
    found = ruled(llm=other, user={"id": "u7"})
    assert not found.matches
    (use,) = found.exempt
    assert (use.policy, use.rule, use.verdict, use.code) == ("p", "out", "exempt", "exception_use")
    assert "exception w1, approved by ciso until 2027-01-01: move" in use.reason
    assert ruled(llm=other, user={"id": "u8"}).matches
    assert ruled(START_2027_US, llm=other, user={"id": "u7"}).matches
    assert ruled(None, llm=other, user={"id": "u7"}).matches
    assert not ruled(user={"id": "u7"}).exempt, "a rule that does not match needs no exception"


def test_an_exception_that_errs_removes_nothing():
    """Absent `user.email` is an error in w2: the rule counts, and the error is listed."""
    found = ruled(tokens=200)
    assert [each.rule for each in found.matches] == ["long"]
    assert ["exception w2" in each.message for each in found.errors] == [True]


def test_equality_of_an_attribute_is_indexed():
    """A policy that needs a text in an attribute is not looked at without it, whatever else stands there."""
    text = """\
apiVersion: enforcer/v1
kind: Policy
metadata: {id: p, tenant: acme}
spec:
  match: attributes.app in ["a", "b"]
  rules: [{id: r, then: deny}]
"""
    program = tenant_program(text)
    (code,) = program.policies
    assert code.requirements == {("attributes", "app"): frozenset({"a", "b"})}
    for value, expected in (("a", 1), ("c", 0), (["a"], 0), (1, 0), (None, 0)):
        request = {**BARE, "attributes": {"app": value}}
        record = events.request_from_json(json.dumps(request).encode())
        assert len(program.evaluate(record, Facts()).matches) == expected


def test_a_change_checks_and_compiles_its_policies_only(monkeypatch):
    """What did not change is taken over, limits included; with other values nothing is."""
    one = "apiVersion: enforcer/v1\nkind: {kind}\nmetadata: {{id: {id}, tenant: acme}}\nspec: {spec}\n"
    policies = [
        one.format(kind="Policy", id=name, spec="{budgets: [{id: b, per: day, limit_usd: 1}]}")
        for name in ("a", "b")
    ]
    values = [one.format(kind="Values", id="v", spec=spec) for spec in ("{x: [a]}", "{x: [b]}")]
    before = policy.compile_scope(documents(*policies, values[0]), "acme")
    checked = []
    check_policy = policy.program.check_policy

    def spy(model, *arguments):
        checked.append(model.metadata.id)
        return check_policy(model, *arguments)

    third = one.format(kind="Policy", id="c", spec="{rules: [{id: r, then: deny}]}")
    changed = documents(*policies, third, values[0])
    elsewhere = documents(*policies, values[1])
    monkeypatch.setattr(policy.program, "check_policy", spy)
    after = policy.compile_scope(changed, "acme", previous=before)
    assert checked == ["c"]
    assert {each.policy for each in after.budgets} == {"a", "b"}
    assert {each.id for each in after.policies} == {"a", "b", "c"}
    policy.compile_scope(elsewhere, "acme", previous=after)
    assert sorted(checked[1:]) == ["a", "b"]
