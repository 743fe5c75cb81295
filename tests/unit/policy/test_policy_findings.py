"""Every code of a finding: a source that earns it, and the place it is told at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from policy_sources import load, spec, tenant

from enforcer import policy
from enforcer.policy.findings import FINDINGS_MAX

ROOT = Path(__file__).resolve().parents[3]
RULE = "rules: [{id: r, then: deny}]"


def rule(condition: str) -> str:
    """A policy of one rule with *condition*, which stands at line 6, column 18."""
    return spec(f"rules:\n  - id: r\n    condition: {condition}\n    then: deny")


def edit(edits: str, verdict: str = "modify") -> str:
    """A policy of one rule with *edits*, which stand at line 5."""
    return spec(f"rules:\n  - {{id: r, then: {{verdict: {verdict}, edits: [{edits}]}}}}")


def values(body: str) -> str:
    """A Values document."""
    return (
        "apiVersion: enforcer/v1\nkind: Values\nmetadata: {id: v, tenant: acme}\nspec: "
        + body
        + "\n"
    )


EXISTING = """\
metadata: {id: p}
status: draft
rules:
  - id: r
    condition: {operator: eq, field: cost.daily, value: 1}
    action: {decision: deny}
"""

EXCEPTION = "exceptions: [{id: e, rules: [r], expires: 2026-12-31, approved_by: a, reason: b}]\n"

# Code: source, line and column.
CASES = [
    ("ENF0101", "a: [1, 2\nb: }", 2, 2),
    ("ENF0102", spec(RULE + "\n# " + "x" * 263_000), 1, 1),
    ("ENF0103", "a: " + "[" * 70 + "]" * 70, 1, 67),
    ("ENF0104", "a: [" + "1," * 20_001 + "]", 1, 40_001),
    ("ENF0105", spec("priority: !!int 3"), 5, 13),
    ("ENF0106", spec("priority: &p 3"), 5, 13),
    ("ENF0106", spec("priority: *p"), 5, 13),
    ("ENF0107", spec("<<: {priority: 1}"), 5, 3),
    ("ENF0108", spec("priority: 1\npriority: 2"), 6, 3),
    ("ENF0109", rule("{operator: gt, field: attributes.x, value: .nan}"), 7, 61),
    ("ENF0110", spec("1: 2"), 5, 3),
    ("ENF0111", spec("rules:\n  - id: r\n    when: !has(x) && y\n    then: deny"), 7, 13),
    ("ENF0111", spec("rules:\n  - id: r\n    when: {a: b}\n    then: deny"), 7, 13),
    ("ENF0112", spec("priority: 9999999999999999999"), 5, 13),
    ("ENF0113", "# nothing\n", 1, 1),
    ("ENF0114", spec("rules: [{id: r, then: deny}]\nvariables: {}\npriority: 007"), 7, 13),
    ("ENF0201", spec("priorty: 1"), 5, 3),
    ("ENF0202", spec("rules: [{then: deny}]"), 5, 11),
    ("ENF0203", spec("mode: audit"), 5, 9),
    ("ENF0203", spec("priority: 'high'"), 5, 13),
    ("ENF0203", tenant("{account: [team.id]}"), 4, 17),
    ("ENF0203", tenant("{models: {fast: gpt}}"), 4, 23),
    ("ENF0203", values("{a: 1}"), 4, 11),
    ("ENF0203", "just text\n", 1, 1),
    ("ENF0204", "apiVersion: enforcer/v1\nkind: Polcy\n", 2, 7),
    ("ENF0205", "kind: Policy\nmetadata: {id: a}\n", 1, 1),
    ("ENF0206", spec("rules: [{id: 'a/b', then: deny}]"), 5, 16),
    ("ENF0207", spec("rules: [{id: a, then: deny}, {id: a, then: warn}]"), 5, 37),
    ("ENF0207", spec(RULE) + "---\n" + spec(RULE), 9, 16),
    ("ENF0207", values("{a: []}") + "---\n" + values("{a: []}").replace("id: v", "id: w"), 9, 11),
    ("ENF0208", spec("budgets: [{id: b, per: day, limit_usd: -1}]"), 5, 42),
    ("ENF0208", spec("budgets: [{id: b, per: day, limit_usd: 0.0000000001}]"), 5, 42),
    ("ENF0208", spec("budgets: [{id: b, per: day, limit_usd: {by: user.id, a: 1e10, default: 1}}]"), 5, 59),
    ("ENF0208", spec("rate_limits: [{id: b, per: day, limit_requests: 0}]"), 5, 51),
    ("ENF0208", tenant("{unknown_model: {ceiling_usd_per_mtok: 0}}"), 4, 23),
    ("ENF0209", spec("budgets: [{id: b, per: day, limit_usd: {by: user.id, a: 1}}]"), 5, 42),
    ("ENF0209", spec("budgets: [{id: b, per: day, key: user.roles, limit_usd: 1}]"), 5, 36),
    ("ENF0209", spec("budgets: [{id: b, per: day, key: [llm.prompt], limit_usd: 1}]"), 5, 36),
    ("ENF0209", spec("rate_limits: [{id: b, per: day}]"), 5, 17),
    ("ENF0210", tenant("{dedup_window: 3 weeks}"), 4, 22),
    ("ENF0211", tenant("{time_zone: Europe/Atlantis}"), 4, 19),
    ("ENF0701", rule("x").replace("condition: x", 'when: user.id == "u7" &&'), 7, 31),
    ("ENF0701", spec('match: |-\n  user.id ==\n    "u7" && &&\n' + RULE), 7, 15),
    ("ENF0702", spec(f"match: '{'!(' * 65}true{')' * 65}'\n" + RULE), 5, 139),
    ("ENF0703", spec('match: budget("b").spent_usd > 1.0\n' + RULE), 5, 10),
    ("ENF0704", spec("match: user.id == 7\n" + RULE), 5, 10),
    ("ENF0704", spec("match: user.id\n" + RULE), 5, 10),
    ("ENF0403", spec('match: "user.idd == \'u7\'"\n' + RULE), 5, 11),
    ("ENF0409", spec("match: user.id in values.them\n" + RULE), 5, 21),
    ("ENF0304", spec("rate_limits: [{id: b, per: day, limit_requests: 1, on_exceeded: cap}]"), 5, 67),
    ("ENF0304", spec('budgets: [{id: b, per: day, limit_usd: 1, on_exceeded: {downgrade: ""}}]'), 5, 58),
    ("ENF0705", spec('rules: [{id: r, then: deny, reason: "{{ attributes.x }}"}]'), 5, 43),
    ("ENF0705", spec('rules: [{id: r, then: deny, reason: "{{ user.id }}"}]'), 5, 43),
    ("ENF0705", spec('rules: [{id: r, then: deny, reason: "{{ llm.model"}]'), 5, 39),
    ("ENF0706", spec("variables: {user: 'true'}\n" + RULE), 5, 21),
    ("ENF0706", spec("variables: {a: b, b: a}\n" + RULE), 5, 24),
    ("ENF0707", spec(EXCEPTION.replace("[r]", "[s]") + RULE), 5, 31),
    ("ENF0707", spec(EXCEPTION.replace("2026-12-31", "soon") + RULE), 5, 45),
    ("ENF0306", rule("{operator: gt, field: budget.remaining, value: 0}"), 7, 40),
    ("ENF0403", rule("{operator: contains, field: pii.at(0.3).kinds, value: a}"), 7, 46),
    ("ENF0405", rule("{operator: contains, field: pii.at(3).types, value: a}"), 7, 46),
    ("ENF0401", rule("{operator: equals, field: user.id, value: a}"), 7, 29),
    ("ENF0402", rule("{operator: eq, field: user.id}"), 7, 18),
    ("ENF0402", rule("{operator: exists, field: user.id, value: true}"), 7, 18),
    ("ENF0402", rule("{operator: not, conditions: []}"), 7, 18),
    ("ENF0403", rule("{operator: eq, field: user.idd, value: a}"), 7, 40),
    ("ENF0404", EXISTING, 5, 38),
    ("ENF0405", rule("{operator: eq, field: 'user..id', value: a}"), 7, 40),
    ("ENF0406", rule("{operator: gt, field: llm.max_tokens, value: '10'}"), 7, 63),
    ("ENF0406", rule("{operator: contains, field: llm.max_tokens, value: 1}"), 7, 69),
    ("ENF0406", rule("{operator: matches, field: user.roles, value: a}"), 7, 64),
    ("ENF0406", rule("{operator: in, field: user.id, value: a}"), 7, 56),
    ("ENF0407", rule("{operator: eq, field: llm.max_tokens, value: '10'}"), 7, 63),
    ("ENF0407", rule("{operator: eq, field: user.id, value: null}"), 7, 56),
    ("ENF0407", rule("{operator: in, field: user.roles, value: [a]}"), 7, 59),
    ("ENF0408", spec("match: llm.model.matches('(?=a)')\n" + RULE), 5, 28),
    ("ENF0408", rule("{operator: matches, field: user.id, value: '(?=a)'}"), 7, 61),
    ("ENF0409", rule("{operator: in, field: user.id, value: {values: nobody}}"), 7, 56),
    ("ENF0501", edit("{set: llm.model, value: a}", "deny"), 6, 21),
    ("ENF0501", spec("rules: [{id: r, then: modify}]"), 5, 25),
    ("ENF0502", edit("{set: user.id, value: a}"), 6, 47),
    ("ENF0502", edit("{remove: llm.model}"), 6, 47),
    ("ENF0502", tenant("{defaults: {llm.model: a}}"), 4, 30),
    ("ENF0503", edit("{set: llm.max_tokens, value: a}"), 6, 47),
    ("ENF0503", tenant("{defaults: {team.tier: 3}}"), 4, 30),
    ("ENF0504", edit("{set: llm.n, value: 1}, {remove: llm.n}".replace("llm.n", "llm.max_tokens")), 6, 80),
    ("ENF0505", edit("{redact: llm.messages, types: [e-mail]}"), 6, 47),
    ("ENF0506", spec("priority: 1"), 5, 3),
    ("ENF0507", edit("{redact: llm.messages, style: hash}"), 6, 77),
    ("ENF0507", edit("{redact: llm, types: [secrets], style: pseudonym}"), 6, 86),
    ("ENF0505", tenant("{pii_kinds: [nmae]}"), 4, 19),
    ("ENF0601", EXISTING, 2, 9),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text", "line", "column"),
    CASES,
    ids=[f"{at}-{case[0]}" for at, case in enumerate(CASES)],
)
def test_a_fault_is_told_at_its_place(code, text, line, column):
    """
    A source with one fault has the finding of its code, at line and column, with a help line.
    """
    found = [each for each in load(text).findings if each.code == code]
    assert found, [str(each) for each in load(text).findings]
    assert (found[0].span.file, found[0].span.line, found[0].span.column) == (
        "p0.yaml",
        line,
        column,
    )
    assert found[0].help
    assert re.match(r"[^A-Z]", found[0].message), found[0].message
    assert not found[0].message.endswith(".")


@pytest.mark.parametrize(
    ("code", "text"),
    [case[:2] for case in CASES],
    ids=[f"{at}-{case[0]}" for at, case in enumerate(CASES)],
)
def test_one_fault_is_told_once(code, text):
    """
    A source with one fault has findings of one code alone; only errors keep documents out.
    """
    loaded = load(text)
    codes = {each.code for each in loaded.findings}
    assert codes == ({"ENF0404", "ENF0601"} if text == EXISTING else {code})
    if not loaded.has_errors and code != "ENF0113":
        assert loaded.documents


def test_every_code_has_a_case_and_a_page():
    """
    Each code is tested here and is a heading of docs/errors.md, in the same words, in order.

    Those of files of tests (20) are tested where these are read: test_policy_cases.py; 0602 is told by test_policy_import.py;
    what `policy check` alone asks (08, 09, 0410) by test_policy_proofs.py and test_policy_second_thoughts.py.
    """
    assert {case[0] for case in CASES} == {
        c for c in policy.CODES if not c.startswith(("ENF08", "ENF09", "ENF20"))
    } - {"ENF0602", "ENF0410"}
    text = (ROOT / "docs" / "errors.md").read_text()
    headings = re.findall(r"^## (ENF\d{4}) (.+)$", text, re.MULTILINE)
    assert headings == sorted(policy.CODES.items())


def test_findings_are_sorted_and_capped():
    """
    Many faults are told by place, at most 100, and the cap never hides an error behind warnings.
    """
    always_false = "{operator: eq, field: user.id, value: 1}"
    body = "\n".join(
        f"  - {{id: r{at}, then: deny, condition: {always_false}}}" for at in range(150)
    )
    findings = load(spec("rules:\n" + body + "\n  - {id: last, then: dny}")).findings
    assert len(findings) == FINDINGS_MAX
    assert findings[-1].code == "ENF0203"
    findings = load(spec("rules:\n" + body + "\n  - {id: 'l/t', then: deny}")).findings
    assert len(findings) == FINDINGS_MAX
    places = [(each.span.line, each.span.column) for each in findings]
    assert places == sorted(places)
    assert findings[-1].code == "ENF0206"


def test_a_document_with_an_error_leaves_the_others():
    """
    Of a stream, documents without errors load, and the one with an error does not.
    """
    loaded = load(spec(RULE, name="good") + "---\n" + spec("mode: audit", name="bad"))
    assert [each.id for each in loaded.documents] == ["good"]
    assert loaded.has_errors


def test_faults_of_reading_shape_and_value_are_told_in_one_run():
    """
    Every fault of a document at once, and nothing that is wrong only because a part of it was taken out.
    """
    text = spec(
        "priorty: 3\n"
        "variables: {a: 5, b: user.emial}\n"
        "rules:\n"
        '  - {id: r, when: user.idd == "a", then: dney}\n'
        "  - {id: s, when: user.email.size() > 3, then: deny, colour: red}\n"
        "  - id: t\n    when: !has(x) && y\n    then: deny\n"
        '  - {when: llm.modell == "a", then: deny}\n'
        "  - {id: u, condition: {operator: eq, field: 3, value: a}, then: deny}\n"
        "exceptions: [{id: e, rules: [r], expires: 2027-01-01, approved_by: a, reason: b}]\n"
        "budgets: [{id: b, per: dya, limit_usd: -1}, {id: c, per: day, limit_usd: x}]\n"
    )
    found = [(each.span.line, each.code) for each in load(text).findings]
    assert found == [
        (5, "ENF0201"),
        (6, "ENF0111"),
        (6, "ENF0403"),
        (8, "ENF0403"),
        (8, "ENF0203"),
        (9, "ENF0201"),
        (11, "ENF0111"),
        (13, "ENF0202"),
        (13, "ENF0403"),
        (14, "ENF0203"),
        (16, "ENF0203"),
        (16, "ENF0208"),
        (16, "ENF0203"),
    ]
    proved = policy.load([("p.yaml", text)], prove=True).findings
    assert {(9, "ENF0801"), *found} == {(each.span.line, each.code) for each in proved}
    loaded = load(tenant("{on_timeout: maybe, time_zone: Nowhere}"), spec(RULE, name="q"))
    assert [each.code for each in loaded.findings] == ["ENF0203", "ENF0211"]
    assert [each.id for each in loaded.documents] == ["q"]


def test_what_is_left_of_a_document_is_never_used():
    """
    A rest is checked, and neither loaded nor applied; of values it keeps the names known.
    """
    broken = values("{them: [a]}").replace("metadata:", "colour: red\nmetadata:")
    loaded = load(broken + "---\n" + spec("match: user.id in values.them\n" + RULE))
    assert [each.code for each in loaded.findings] == ["ENF0201"]
    assert [each.kind for each in loaded.documents] == ["Policy"]


def test_what_yaml_does_to_an_expression_is_answered_with_a_block_scalar():
    """
    `when: !has(x) && y` is a tag to YAML; the help shows the line as a block scalar.
    """
    text = spec("rules:\n  - id: r\n    when: !has(x) && y\n    then: deny")
    (finding,) = load(text).findings
    assert "when: |-\n      !has(x) && y" in finding.help


def test_suggestions_name_what_was_meant():
    """
    A slip of a letter in a field, a kind, an operator or a path is answered with the right word.
    """
    for text, word in [
        (spec("priorty: 1"), "`priority`"),
        ("apiVersion: enforcer/v1\nkind: Polcy\n", "`Policy`"),
        (rule("{operator: equal, field: user.id, value: a}"), "`eq`"),
        (rule("{operator: eq, field: llm.modell, value: a}"), "`llm.model`"),
        (spec("rules: [{id: r, thne: deny, then: deny}]"), "`then`"),
    ]:
        assert word in load(text).findings[0].help
