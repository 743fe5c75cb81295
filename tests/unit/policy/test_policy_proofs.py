"""What passes the check has a value: proofs about expressions, their findings and the edits that mend them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from generated_conditions import CONDITIONS, REQUESTS
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from policy_sources import Facts

from enforcer import events, policy
from enforcer.errors import RequestError

NOW_US = 1_800_000_000_000_000


def source(when: str) -> str:
    """A policy of one deny rule."""
    head = "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: p, tenant: acme}\nspec:\n"
    lines = "\n".join(f"        {line}" for line in when.splitlines())
    return f"{head}  rules:\n    - id: r\n      when: |\n{lines}\n      then: deny\n"


def load(when: str) -> policy.Loaded:
    """The policy with *when*, all operations to be proved."""
    return policy.load([("p.yaml", source(when))], prove=True)


def errors_of(loaded: policy.Loaded, request: dict) -> list[str]:
    """What erred when the policy ran on a request."""
    scope = policy.compile_scope(loaded.documents, "acme")
    program = policy.compile_tenant(None, scope, "acme")
    try:
        record = events.request_from_json(json.dumps(request).encode())
    except RequestError:
        return []  # Denied before any policy.
    evaluation = program.evaluate(record, Facts(cost=0.5, text="hello", tokens=5), now_us=NOW_US)
    return [each.message for each in evaluation.errors]


@settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(CONDITIONS, st.lists(REQUESTS, min_size=6, max_size=6))
def test_a_condition_that_passes_the_check_never_errs(when, requests):
    """
    The promise: what passes, or passes once its fixes are made, has a value on every request.
    """
    loaded = load(when)
    if loaded.has_errors:
        loaded = policy.load(
            [("p.yaml", policy.mended([("p.yaml", source(when))])["p.yaml"])], prove=True
        )
    assume(not any(each.code.startswith("ENF07") for each in loaded.findings))
    # Second thoughts, such as units that do not fit, say nothing of errors.
    assume(all(each.code.startswith("ENF09") for each in loaded.findings))
    for request in requests:
        assert not errors_of(loaded, request), request


PAGE = (Path(__file__).resolve().parents[3] / "docs" / "errors.md").read_text()
EXAMPLES = re.findall(
    r"^## (ENF08\d\d) .*?Bad:\n\n    (.+?)\n\nGood:\n\n    (.+?)\n$", PAGE, re.MULTILINE | re.DOTALL
)


def test_every_code_of_proofs_has_examples():
    """The page shows each code once, a bad example and a good one."""
    assert [code for code, _, _ in EXAMPLES] == [c for c in policy.CODES if c.startswith("ENF08")]


@pytest.mark.parametrize(("code", "bad", "good"), EXAMPLES)
def test_the_examples_of_the_page(code, bad, good):
    """The bad example yields exactly its code, the good one nothing, and so does the bad one when it is mended."""
    assert {each.code for each in load(bad).findings} == {code}
    assert not load(good).findings
    text = policy.mended([("p.yaml", source(bad))])["p.yaml"]
    assert not policy.load([("p.yaml", text)], prove=True).findings
    assert policy.mended([("p.yaml", text)])["p.yaml"] == text


@pytest.mark.parametrize(
    "when",
    [
        'user.email.endsWith("x") && has(user.email)',
        '!has(user.email) || user.email.endsWith("x")',
        'user.email == "abc" && user.email.size() > 3',
        'has(user.email) ? user.email.endsWith("x") : false',
        'user.?email.orValue("").size() > 5',
        "user.?email.optMap(e, e.size() > 4).orValue(false)",
        'size(llm.messages) > 0 && llm.messages[0].role.startsWith("u")',
        "has(llm.max_tokens) && llm.max_tokens < 1000 && llm.max_tokens > 0 && llm.max_tokens * 2 > 10",
        "has(user.id) && user.id.matches('^[0-9]{1,18}$') && int(user.id) > 5",
        '"email" in pii.counts && pii.counts["email"] + 1 > 2',
        'now - duration("1h") > timestamp("2020-01-01T00:00:00Z")',
        'now.getHours("Europe/Berlin") > 18',
        "llm.messages.exists(m, m.tool_calls.exists(t, t.name == 'shell'))",
        "llm.input_tokens + pii.count > 1000",
        "has(attributes.risk) && type(attributes.risk) in [int, double] && attributes.risk > 5",
    ],
)
def test_guards_that_are_understood(when):
    """What is guarded or proved, on either side of a chain, is no finding."""
    assert not load(when).findings


@pytest.mark.parametrize(
    ("when", "mended"),
    [
        ('!(user.email.endsWith("x"))', '!(has(user.email) && user.email.endsWith("x"))'),
        (
            "llm.temperature > 1.0 || llm.stream",
            "(has(llm.temperature) && llm.temperature > 1.0) || llm.stream",
        ),
        ("final", "has(request.final) && final"),
        ("user.roles[0].size() > 1", "size(user.roles) > 0 && user.roles[0].size() > 1"),
        (
            "llm.max_tokens * 2 > 10",
            "has(llm.max_tokens) && double(llm.max_tokens) * 2.0 > 10",
        ),
        (
            'llm.messages.exists(m, m.name == "x")',
            'llm.messages.exists(m, has(m.name) && m.name == "x")',
        ),
        (
            'llm.model == "x" &&\n  user.email.size() > 1',
            'llm.model == "x" &&\n  has(user.email) && user.email.size() > 1',
        ),
    ],
)
def test_fixes_are_guards_around_the_smallest_condition(when, mended):
    """A guard stands before the smallest condition around the operation, in parentheses where it needs them."""
    assert policy.mended([("p.yaml", source(when))])["p.yaml"] == source(mended)


def test_fixes_keep_comments_and_leave_what_they_cannot_mend():
    """Comments and layout stay; a folded expression is told, and not edited."""
    plain = source("llm.stream").replace(
        "when: |\n        llm.stream", "when: user.id.size() > 1  # mine"
    )
    text = policy.mended([("p.yaml", plain)])["p.yaml"]
    assert "when: has(user.id) && user.id.size() > 1  # mine" in text
    folded = (
        source("llm.stream")
        .replace("when: |", "when: >")
        .replace("llm.stream", "llm.stream &&\n        user.id.size() > 1")
    )
    assert policy.mended([("p.yaml", folded)])["p.yaml"] == folded
    assert policy.load([("p.yaml", folded)], prove=True).has_errors


def test_what_is_undeclared_is_a_warning():
    """Types of attributes are nobody's promise: a document that reads them loads."""
    loaded = load("attributes.risk > 5")
    assert {each.code for each in loaded.findings} == {"ENF0801", "ENF0802"}
    assert not loaded.has_errors


def test_a_match_guards_its_rules():
    """What `match` asks for is there in every rule of the policy."""
    text = source('user.email.endsWith("x")').replace(
        "spec:\n", "spec:\n  match: has(user.email)\n"
    )
    assert not policy.load([("p.yaml", text)], prove=True).findings


@pytest.mark.no_cover
def test_chains_as_long_as_the_language_takes_are_proved_at_once():
    """Three thousand terms, each with a fault, and deep nesting with one, end in bounded work."""
    chain = " && ".join(f"user.email.size() > {at}" for at in range(3_000))
    assert len(load(chain).findings) == 1
    nested = "user.email.size() > 1"
    for at in range(40):
        nested = f"({nested} {'&&' if at % 2 else '||'} llm.stream)"
    assert {each.code for each in load(nested).findings} == {"ENF0801"}


REASON = "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {{id: p, tenant: acme}}\nspec:\n  rules:\n    - {{id: r, when: {when}, then: deny, reason: '{reason}'}}\n"


@pytest.mark.parametrize(
    ("when", "reason", "codes"),
    [
        ("llm.stream", "{{ llm.model }}", []),
        ("llm.stream", "dear: {{ llm.estimated_cost_usd }} USD", ["ENF0801"]),
        ("llm.stream", "{{ 1000 / llm.n }}", ["ENF0804"]),
        ("has(team.tier)", "{{ team.tier }}", []),
        ('team.tier == "free"', "{{ team.tier }}", []),
        ("llm.stream", '{{ team.?tier.orValue("none") }}', []),
        ("llm.stream", "{{ llm.n > 0 ? 1000 / llm.n : 0 }}", []),
    ],
)
def test_reasons_are_proved_where_their_rule_has_matched(when, reason, codes):
    """An expression in a reason is asked after the condition, and must have a value then; at its own place."""
    text = REASON.format(when=f'"{when}"' if '"' not in when else f"'{when}'", reason=reason)
    found = policy.load([("p.yaml", text)], prove=True).findings
    assert [each.code for each in found] == codes
    for each in found:
        assert text.splitlines()[5][each.span.column - 1 :].startswith(
            ("llm.estimated", "1000 / llm.n")
        )


TENANT = "---\napiVersion: enforcer/v1\nkind: Tenant\nmetadata: {{id: {name}}}\nspec: {spec}\n"


@pytest.mark.parametrize(
    ("scope", "tenants", "is_proved"),
    [
        ("acme", {"acme": "{required: [user.email]}"}, True),
        ("acme", {"acme": "{defaults: {user.email: nobody@example.com}}"}, True),
        ("acme", {"acme": "{required: [user.id]}"}, False),
        ("acme", {"globex": "{required: [user.email]}"}, False),
        ("*", {"acme": "{required: [user.email]}", "globex": "{required: [user.email]}"}, True),
        ("*", {"acme": "{required: [user.email]}", "globex": "{}"}, False),
        ("*", {}, False),
    ],
)
def test_what_the_tenants_require_is_there(scope, tenants, is_proved):
    """Required fields and defaults are present: of a tenant's policies its own, of everybody's those of all tenants."""
    text = source('user.email.endsWith("x")').replace("tenant: acme", f'tenant: "{scope}"')
    text += "".join(TENANT.format(name=name, spec=spec) for name, spec in tenants.items())
    assert policy.load([("p.yaml", text)], prove=True).has_errors is not is_proved


@pytest.mark.parametrize(
    ("when", "code", "word"),
    [
        ('llm.messages.exists(m, m.rol == "user")', "ENF0403", "`role`"),
        ("llm.messages.exists(m, m.role == 5)", "ENF0704", "quotes"),
        ("llm.messages.exists(m, m.role in [1, 2])", "ENF0704", "quotes"),
        ("llm.messages.exists(m, m.tool_calls.exists(t, t.nam == 'x'))", "ENF0403", "`name`"),
        ("llm.messages.exists(m, m.tool_calls.exists(t, t.name == true))", "ENF0704", ""),
        ("llm.messages.exists(m, has(m.rol))", "ENF0403", "`role`"),
        ("llm.messages[0].rol == 'x'", "ENF0403", "`llm.messages"),
        ('llm.messages.exists(m, m.role == "user")', None, ""),
        ('llm.messages.exists(m, m.content == "x" || m.content == 5)', None, ""),
        ('llm.messages.exists(m, m.role in ["user", "tool"])', None, ""),
        ("attributes.x == 1 || attributes.x == 'a'", None, ""),
    ],
)
def test_the_elements_of_messages_have_types(when, code, word):
    """Fields that a message does not have, and values that they never equal, are told."""
    findings = load(when).findings
    assert [each.code for each in findings] == ([code] if code else []), [str(f) for f in findings]
    assert all(word in each.help for each in findings), [f.help for f in findings]


def whole_policy(variable, exception, condition, reason):
    """A policy with a variable, an exception, a reason with an expression, and keys of optional fields."""
    block = "|-\n          "
    return (
        "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: p, tenant: acme}\nspec:\n"
        f"  variables:\n    v: {block}{variable}\n"
        f"  rules:\n    - id: r\n      when: {block}({condition}) && v\n      then: deny\n"
        f"      reason: {block}told {{{{ {reason} }}}}\n"
        f"  exceptions:\n    - {{id: e, rules: [r], expires: 2099-01-01, approved_by: a, reason: b}}\n"
        f"    - id: f\n      when: {block}{exception}\n      rules: [r]\n      expires: 2099-01-01\n"
        "      approved_by: a\n      reason: b\n"
        "  budgets: [{id: b, key: [team.id, user.id], per: day, limit_usd: 5, on_missing_key: skip}]\n"
    )


REASONS = [
    "llm.model",
    "size(llm.messages)",
    "llm.n > 0 ? 1000 / llm.n : 0",
    'team.?tier.orValue("-")',
    "v",
]


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(
    CONDITIONS, CONDITIONS, CONDITIONS, st.sampled_from(REASONS), st.lists(REQUESTS, min_size=4, max_size=4)
)  # fmt: skip
def test_a_whole_policy_that_passes_the_check_never_errs(
    variable, exception, condition, reason, requests
):
    """The promise for variables, exceptions and reasons too: nothing errs, and no reason has an unknown part."""
    text = whole_policy(variable, exception, condition, reason)
    text = policy.mended([("p.yaml", text)])["p.yaml"]
    loaded = policy.load([("p.yaml", text)], prove=True)
    assume(all(each.code.startswith("ENF09") for each in loaded.findings))
    # Without the exception that always holds, so that the rule is told.
    text = "\n".join(line for line in text.split("\n") if "{id: e, " not in line)
    scope = policy.compile_scope(policy.load([("p.yaml", text)]).documents, "acme")
    program = policy.compile_tenant(None, scope, "acme")
    for request in requests:
        try:
            record = events.request_from_json(json.dumps(request).encode())
        except RequestError:
            continue
        found = program.evaluate(record, Facts(cost=0.5, text="hello", tokens=5), now_us=NOW_US)
        assert not found.errors, (request, found.errors)
        assert all("(unknown)" not in each.reason for each in found.matches), request
