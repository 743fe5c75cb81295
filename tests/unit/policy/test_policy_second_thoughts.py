"""What is well formed and hardly meant: told where it is sure, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from generated_conditions import CONDITIONS, REQUESTS
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from policy_sources import Facts, spec

from enforcer import events, policy
from enforcer.cli.main import run
from enforcer.errors import RequestError
from enforcer.policy.checker import check_policy
from enforcer.policy.checking.domains import is_always, is_never, may_hold
from enforcer.policy.findings import Findings
from enforcer.policy.ir import All, Not

ROOT = Path(__file__).resolve().parents[3]
NOW_US = 1_800_000_000_000_000  # 2027-01-15


def thoughts(text, now_us=NOW_US):
    """The findings of *text*, with their lines."""
    loaded = policy.load([("p.yaml", text)], prove=True, now_us=now_us)
    assert not loaded.has_errors, [str(each) for each in loaded.findings]
    return loaded.findings


def when(expression, more=""):
    """A policy of one deny rule, its condition at line 7, column 18."""
    return spec(f"rules:\n  - id: r\n    when: |-\n        {expression}\n    then: deny\n{more}")


def rules(*each, head=""):
    """A policy of rules, in one line each, from line 6 on (7 with *head*)."""
    return spec(head + "rules:\n" + "\n".join(f"  - {one}" for one in each))


SET = "{verdict: modify, edits: [{set: llm.model, value: %s}]}"
NEVER = [
    'llm.model == "a" && llm.model == "b"',
    'llm.model in ["a", "b"] && llm.model in ["c"]',
    'llm.model == "a" && llm.model != "a"',
    'llm.model == "a" && (llm.model == "b" || llm.model == "c")',
    "llm.n > 3 && llm.n < 4",
    "llm.n >= 4 && llm.n < 4",
    "pii.count < 0",
    "secrets.count > 5 && secrets.count <= 5",
    '"creditcard" in pii.types',
    '"email" in pii.types && !("email" in pii.types)',
    '!has(user.id) && user.id == "x"',
    'phase == "response"',
    "llm.stream && !llm.stream",
    'user.id == "a" && !(user.id in ["a", "b"])',
    "false",
    'now < timestamp("2020-01-01T00:00:00Z") && now > timestamp("2021-01-01T00:00:00Z")',
    'llm.model.startsWith("a") && !llm.model.startsWith("a")',
]
ALWAYS = [
    'llm.model != "a" || llm.model != "b"',
    'user.id != "a" || user.id != "b"',
    "pii.count >= 0",
    "llm.n > 3 || llm.n <= 3",
    "llm.stream || !llm.stream",
    '!("creditcard" in pii.types)',
]
SOMETIMES = [
    'llm.model == "a" || llm.model == "b"',
    'llm.model != "a" && llm.model != "b"',
    "llm.n > 3 && llm.n < 5",
    "llm.n >= 4 && llm.n <= 4",
    'user.id != "a"',
    "!has(user.id)",
    '!has(user.id) || user.id == "x"',
    '"email" in pii.types && "phone" in pii.types',
    '"email" in pii.types && !("phone" in pii.types)',
    'phase == "request"',
    "injection.score > 0.5 && injection.score < 0.6",
    "injection.score >= 1.0",
    "has(llm.temperature) && llm.temperature > 1.0 && llm.temperature < 1.1",
    'user.roles.exists(r, r == "a") && user.roles.exists(r, r == "b")',
    'attributes.x == 1 && attributes.y == "1"',
    'llm.model.matches("^a") && llm.model.matches("b$")',
    'llm.model.contains("a") && llm.model.contains("b")',
    "true",
]


@pytest.mark.parametrize("expression", NEVER)
def test_a_rule_that_never_matches(expression):
    """Contradictions of equality, order, presence, kinds, phases and of opaque parts."""
    (finding,) = thoughts(when(expression))
    assert (finding.code, finding.severity) == ("ENF0901", "warning")
    assert (finding.span.line, finding.span.column) == (8, 11)


@pytest.mark.parametrize("expression", ALWAYS)
def test_a_condition_that_is_always_true(expression):
    """The contrary of what never holds."""
    assert [each.code for each in thoughts(when(expression))] == ["ENF0902"]


@pytest.mark.parametrize("expression", SOMETIMES)
def test_what_holds_at_times_is_no_finding(expression):
    """A warning that is wrong is worse than none."""
    assert [str(each) for each in thoughts(when(expression))] == []


@pytest.mark.parametrize(
    ("head", "code", "line"),
    [
        ('match: project.environment == "dev"\n', "ENF0901", 7),
        ('unless: project.environment == "production"\n', "ENF0901", 7),
        ('match: llm.stream\nunless: "llm.stream"\n', "ENF0901", 5),
        ('match: project.environment == "production"\n', None, 0),
    ],
)
def test_a_rule_is_seen_with_the_guards_of_its_policy(head, code, line):
    """What `match` and `unless` leave counts; a policy that applies to nothing is told once."""
    text = rules('{id: r, when: project.environment == "production", then: deny}', head=head)
    assert [(each.code, each.span.line) for each in thoughts(text)] == (
        [(code, line)] if code else []
    )


def test_a_kind_that_there_is_not_is_answered():
    """Personal data and secrets are kinds that the detectors know."""
    (finding,) = thoughts(when('"creditcard" in pii.types'))
    assert "`credit_card`" in finding.help


@pytest.mark.parametrize(
    ("each", "shadowed"),
    [
        (["{id: a, then: deny}", "{id: b, when: llm.stream, then: allow}"], ["b"]),
        (["{id: z, then: deny}", "{id: b, then: " + SET % "x" + "}"], ["b"]),
        (["{id: a, when: llm.stream, then: deny}",
          "{id: b, when: llm.stream && llm.n > 1, then: warn}"], ["b"]),
        (["{id: z, when: llm.stream, then: deny}", "{id: b, when: llm.stream, then: warn}"], []),
        (["{id: a, when: llm.stream && llm.n > 1, then: deny}",
          "{id: b, when: llm.stream, then: allow}"], []),
        (["{id: a, then: deny}", "{id: b, when: llm.stream, then: deny}"], []),
        (["{id: a, then: deny, phases: [response]}", "{id: b, then: allow}"], []),
        (["{id: a, then: deny, enabled: false}", "{id: b, then: allow}"], []),
    ],
)  # fmt: skip
def test_a_rule_behind_a_deny(each, shadowed):
    """Without effect: every request that it matches is denied by a rule that no exception removes."""
    found = thoughts(rules(*each))
    assert {each.code for each in found} <= {"ENF0903"}
    assert [each.message.split("`")[1] for each in found] == shadowed


def test_a_deny_with_an_exception_shadows_nothing():
    """Where the exception holds, the other rule counts."""
    text = rules("{id: a, then: deny}", "{id: b, then: allow}") + (
        "  exceptions:\n    - {id: e, rules: [a], when: llm.stream, expires: 2027-12-31, approved_by: c, reason: d}\n"
    )
    assert thoughts(text) == ()


def test_a_deny_without_condition_shadows_other_policies():
    """Of everybody's policies those of every tenant; of a tenant's its own alone; in shadow none."""
    allow = rules("{id: b, when: llm.stream, then: allow}").replace("id: p,", "id: q,")
    deny = rules("{id: a, then: deny}")
    everybody = deny.replace("tenant: acme", 'tenant: "*"')
    other = deny.replace("tenant: acme", "tenant: globex")
    shadow = deny.replace("rules:", "mode: shadow\n  rules:")
    assert [each.code for each in thoughts(f"{allow}---\n{deny}")] == ["ENF0903"]
    assert [each.code for each in thoughts(f"{allow}---\n{everybody}")] == ["ENF0903"]
    assert thoughts(f"{allow}---\n{other}") == ()
    assert thoughts(f"{allow}---\n{shadow}") == ()


@pytest.mark.parametrize(
    ("first", "second", "is_told"),
    [
        ("", "", True),
        ("when: llm.stream, ", "when: team.tier == 'free', ", True),
        ("when: llm.model == 'a', ", 'when: \'llm.model in ["a", "b"]\', ', True),
        ("when: team.tier == 'gold', ", "when: team.tier == 'free', ", False),
        ("when: llm.n > 3, ", "when: llm.n <= 3, ", False),
        ("when: llm.model.startsWith('a'), ", "when: llm.model.startsWith('b'), ", False),
        ("phases: [request], ", "phases: [response], ", False),
    ],
)
def test_sets_that_fall_out_with_each_other(first, second, is_told):
    """Two values for one field, and a request that both rules match for certain."""
    text = rules(
        "{id: a, " + first + "then: " + SET % "x" + "}",
        "{id: b, " + second + "then: " + SET % "y" + "}",
    )
    assert [each.code for each in thoughts(text)] == ["ENF0904"] * is_told
    assert thoughts(text.replace("value: y", "value: x")) == ()


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("injection.score > 50.0", "0.5"),
        ("has(llm.estimated_cost_usd) && llm.estimated_cost_usd > 500000.0", "0.5"),
        ("has(request.deadline_ms) && deadline_ms > 5", "5000"),
        ("has(llm.temperature) && llm.temperature > 70.0", "0.7"),
        ("llm.input_tokens > 100000000", "4 MiB"),
        ("size(llm.prompt) > llm.input_tokens", "characters"),
        ("has(llm.max_tokens) && llm.input_tokens + size(llm.prompt) > 10", "tokens"),
        ("has(llm.max_tokens) && double(llm.max_tokens) > double(size(llm.prompt))", "characters"),
        ("has(request.deadline_ms) && attributes.timeout_s == deadline_ms", "seconds"),
    ],
)
def test_units_that_do_not_fit(expression, word):
    """Millionths, seconds, characters, percent: numbers that can only be meant so, and units that meet."""
    (finding,) = [each for each in thoughts(when(expression)) if each.code == "ENF0905"]
    assert word in finding.help + finding.message


@pytest.mark.parametrize(
    "expression",
    [
        "injection.score >= 1.0",
        "has(llm.estimated_cost_usd) && llm.estimated_cost_usd > 50.0",
        "has(request.deadline_ms) && deadline_ms < 50",
        "has(request.deadline_ms) && deadline_ms > 5000",
        "llm.max_output_tokens < 100000 && llm.input_tokens + llm.max_output_tokens > 1000",
        "llm.input_tokens * 4 > size(llm.prompt)",
        "size(llm.messages) > llm.input_tokens",
        "has(request.deadline_ms) && attributes.timeout_ms == deadline_ms",
        "has(request.deadline_ms) && attributes.timeout == deadline_ms",
    ],
)
def test_units_that_fit_or_are_not_known(expression):
    """What may be meant so, and numbers without a unit."""
    assert [str(each) for each in thoughts(when(expression)) if each.code == "ENF0905"] == []


def test_budgets_in_millionths():
    """More than anybody spends; large companies stay without a finding."""

    def found(limit, per):
        body = f"budgets: [{{id: b, per: {per}, limit_usd: {limit}}}]"
        return [(each.code, each.span.column) for each in thoughts(spec(body))]

    assert found("50000000", "day") == [("ENF0905", 42)]
    assert found("{by: team.tier, gold: 500000000, default: 50}", "month") == [("ENF0905", 66)]
    assert found("1000000", "day") == []
    assert found("20000000", "total") == []


def test_a_control_character_in_a_pattern():
    """A backspace where the boundary of a word was meant, in both notations; a raw text has none."""
    assert [e.code for e in thoughts(when(r'llm.model.matches("\bfoo")'))] == ["ENF0410"]
    structured = rules(
        r'{id: r, condition: {operator: matches, field: llm.model, value: "\bfoo"}, then: deny}'
    )
    assert [e.code for e in thoughts(structured)] == ["ENF0410"]
    assert thoughts(when(r'llm.model.matches(r"\bfoo")')) == ()


@pytest.mark.parametrize(
    ("expires", "codes"),
    [("2026-12-31", ["ENF0906"]), ("2027-12-31", []), ("9999-12-31", ["ENF0906"])],
)
def test_exceptions_have_an_end_that_is_to_come(expires, codes):
    """Past, to come, and never."""
    text = rules("{id: a, when: llm.stream, then: deny}") + (
        f"  exceptions:\n    - {{id: e, rules: [a], expires: {expires}, approved_by: c, reason: d}}\n"
    )
    assert [each.code for each in thoughts(text)] == codes
    assert thoughts(text, now_us=None) == ()


def test_a_folder_is_asked_for_tests(tmp_path, capsys):
    """One finding a file, of folders alone; tests beside it, or that name it or its folder, are tests."""

    def codes(path):
        assert run(["policy", "check", str(path), "--output", "json"]) == 0
        return [each["code"] for each in json.loads(capsys.readouterr().out)]

    file = tmp_path / "p.yaml"
    file.write_text(rules("{id: r, when: llm.stream, then: deny}"))
    (tmp_path / "t.yaml").write_text(
        "apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {id: acme}\n"
    )
    assert codes(tmp_path) == ["ENF0907"]
    assert codes(file) == []
    case = "cases: [{name: a, expect: {verdict: allow}}]\n"
    (tmp_path / "p.test.yaml").write_text(case)
    assert codes(tmp_path) == []
    (tmp_path / "p.test.yaml").rename(tmp_path / "all.test.yaml")
    assert codes(tmp_path) == ["ENF0907"]
    (tmp_path / "all.test.yaml").write_text("documents: [.]\n" + case)
    assert codes(tmp_path) == []


@pytest.mark.parametrize("name", ["policies", "enforcer/bench/policies.yaml"])
def test_what_ships_has_no_second_thoughts(name, capsys):
    """No false alarm in the ready policies and in those of the benchmarks."""
    assert run(["policy", "check", str(ROOT / name), "--fail-level", "info"]) == 0
    assert capsys.readouterr().out == ""


@settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(CONDITIONS, CONDITIONS, st.lists(REQUESTS, min_size=8, max_size=8))
def test_what_is_told_of_a_condition_is_so(first, second, requests):
    """The law: what is said never to hold holds on no request, what is said to follow does."""
    one, other = (lowered(each) for each in (first, second))
    if one is None or other is None:
        return
    implied = is_always(other, (one,))
    claims = [(is_never(one), one, False), (is_always(one), one, True)]
    claims += [(is_never(All((one, Not(other)))), All((one, Not(other))), False)]
    assert implied is claims[2][0]
    for request in requests:
        for is_claimed, condition, truth in claims:
            if is_claimed:
                assert came_to(condition, request) in {truth, None}, request


def lowered(text):
    """The form of a condition; None of one that does not check."""
    findings = Findings()
    loaded = policy.load([("p.yaml", when(text))])
    if loaded.has_errors:
        return None
    (document,) = loaded.documents
    return check_policy(document.model, document.node, {}, findings).rules[0].condition


def came_to(condition, request):
    """What a condition comes to; None for an error, or a request that is refused before."""
    from enforcer.policy.compiler import compile_guard

    try:
        record = events.request_from_json(json.dumps(request).encode())
    except RequestError:
        return None
    return compile_guard(condition, None)(
        record, Facts(cost=0.5, text="hello", tokens=5), NOW_US, None
    )


def test_what_may_hold_is_only_said_of_what_is_understood():
    """A witness is claimed of comparisons alone, never where a part is opaque or two facts may depend."""
    assert may_hold(lowered('llm.model == "a" && llm.n > 3'))
    assert not may_hold(lowered('llm.model == "a" && llm.model == "b"'))
    assert not may_hold(lowered('llm.model.startsWith("a")'))
    assert not may_hold(lowered('pii.count == 0 && "email" in pii.types'))
