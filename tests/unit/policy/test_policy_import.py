"""Import of the existing engine's files: expressions, actions, and the report of every rule."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from policy_sources import load

from enforcer import policy
from enforcer.policy.importing import import_source
from enforcer.policy.importing.dialect import translated
from enforcer.policy.importing.report import Notes

EXPRESSIONS = [
    ("true", "true"),
    (
        "contains_pii(request.prompt) && !user.has_permission('pii.access')",
        'pii.count > 0 && !("pii.access" in user.permissions)',
    ),
    ("request.prompt.length() > 100 # long", "size(llm.prompt) > 100"),
    ("request.prompt.matches('a#b')", 'llm.prompt.matches("a#b")'),
    ("request.model.starts_with('gpt')", 'llm.model.startsWith("gpt")'),
    ("user.role == 'admin'", '"admin" in user.roles'),
    ("user.role != 'admin'", '!("admin" in user.roles)'),
    ("user.role in ['a', 'b']", 'user.roles.exists(role, role in ["a", "b"])'),
    ("!user.region in ['eu']", '!(user.region in ["eu"])'),
    ("user.tier == 'free'", 'team.tier == "free"'),
    (
        "request.context.environment == 'production'",
        'project.environment == "production"',
    ),
    ("request.context.emergency", "attributes.?emergency.orValue(false)"),
    ("request.context.ticket == 'x'", 'attributes.ticket == "x"'),
    (
        "request.tags.any(t => t.contains('pii'))",
        'attributes.?tags.orValue([]).exists(t, t.contains("pii"))',
    ),
    ("request.tags.contains('x')", '"x" in attributes.?tags.orValue([])'),
    ("now().hour >= 18", "now.getHours() >= 18"),
    ("now().weekday() >= 5", "(now.getDayOfWeek() + 6) % 7 >= 5"),
    ("now() < timestamp('2027-01-01T00:00:00Z')", 'now < timestamp("2027-01-01T00:00:00Z")'),
    (
        "request.estimated_cost > user.typical_cost * 10",
        "llm.?estimated_cost_usd.orValue(0.0) > double(attributes.?typical_cost.orValue(0.0)) * 10.0",
    ),
    ("shield.detect_jailbreak(request.prompt).detected", "injection.score >= 0.5"),
]


@pytest.mark.parametrize(("text", "expected"), EXPRESSIONS)
def test_an_expression_becomes_cel(text, expected):
    """
    Names, methods, lambdas and comments of that dialect, in this one's words.
    """
    notes = Notes()
    assert translated(text, notes) == expected
    assert not notes.impossible


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("user.budget.daily_spent > 5", "budgets:"),
        ("rate_limit.count(user.id, '1m') > 5", "rate_limits:"),
        ("costops.check_budget(user, 5).within_budget", "budgets:"),
        ("toxicity.score > 0.5", "no detector"),
        ("content_safety.score > 0.5", "no detector"),
        ("system.error_rate > 0.5", "health"),
        ("frobnicate(request.prompt)", "no function `frobnicate`"),
        ("request.prompt.shout() == 'A'", "no method `shout`"),
        ("a &&", "cannot be read"),
    ],
)
def test_what_has_no_place_here_is_told(text, why):
    """
    Money is held by limits, and what nothing here detects is not guessed.
    """
    notes = Notes()
    translated(text, notes)
    assert why in " ".join(notes.impossible)


STRUCTURED = """
metadata: {id: cost-001, name: Cost, priority: 80}
rules:
  - id: exact
    condition: {operator: in, field: llm.model, value: [gpt-4]}
    action: {decision: deny, reason: No}
  - id: number
    condition: {operator: eq, field: llm.maxTokens, value: "8000"}
    action: {decision: warn}
  - id: absent
    condition: {operator: gt, field: llm.maxTokens, value: 8000}
    action: {decision: warn}
  - id: edits
    condition: {operator: lt, field: llm.n, value: 2}
    action: {decision: modify, modifications: {llm.maxTokens: 4000}}
  - id: not-two
    condition: {operator: not, conditions: [{operator: eq, field: llm.n, value: 1}, {operator: eq, field: llm.n, value: 2}]}
    action: {decision: deny}
  - id: look-ahead
    condition: {operator: matches, field: llm.model, value: "(?=x)"}
    action: {decision: deny}
  - id: protected
    condition: {operator: eq, field: llm.n, value: 3}
    action: {decision: modify, modifications: {user.id: x}}
  - id: no-value
    condition: {operator: eq, field: llm.model}
    action: {decision: deny}
"""


def report(text):
    """Status and notes by rule, and the text of the documents, which loads."""
    found = import_source("old.yaml", text)
    assert found.findings == ()
    loaded = load(found.text)
    assert not loaded.has_errors, [str(each) for each in loaded.findings]
    return {each.rule: (each.status, " ".join(each.notes)) for each in found.lines}, found.text


def test_every_rule_of_the_structured_form_is_told():
    """
    Exact, changed with how, not possible with why; the last stand in comments and nowhere else.
    """
    found, text = report(STRUCTURED)
    assert {rule: status for rule, (status, _) in found.items()} == {
        "exact": "exact",
        "number": "changed",
        "absent": "changed",
        "edits": "changed",
        "not-two": "changed",
        "look-ahead": "not possible",
        "protected": "not possible",
        "no-value": "not possible",
    }
    assert "value: 8000" in text.replace('"', "")
    assert "compared as a number" in found["number"][1]
    assert "absent `llm.max_tokens`" in found["absent"][1]
    assert "applied" in found["edits"][1]
    assert "refused by RE2" in found["look-ahead"][1]
    assert "cannot be edited" in found["protected"][1]
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert len(comments) == 3
    assert "id: look-ahead" not in text


def test_a_file_of_another_kind_is_refused():
    """
    A document of this language, or of none, is no document of the existing engine.
    """
    for text in ("apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {id: a}\n", "a: 1\n"):
        found = import_source("x.yaml", text)
        assert [each.code for each in found.findings] == ["ENF0602"]
        assert found.findings[0].span.line == 1


def test_the_tenant_is_named():
    """
    Whose the policies become is said once, at the import.
    """
    found = import_source("old.yaml", STRUCTURED, tenant="acme")
    assert load(found.text).documents[0].scope == "acme"


MATCHING = """
version: "1.0"
metadata: {name: security policy, namespace: production, tags: [security, pii], owner: sec@example.com}
config: {default_action: deny, fail_open: false, cache_ttl_seconds: 300}
rules:
  - id: block-pii
    priority: 100
    metadata: {severity: critical, category: data-protection, compliance: [GDPR, CCPA]}
    conditions:
      match: |
        contains_pii(request.prompt) && !user.has_permission('pii.access')
    actions:
      - {type: deny, reason: "No personal data"}
      - {type: audit, severity: high, metadata: {types: "{{ pii_detector.detect_types(request.prompt) }}"}}
      - {type: redact, fields: [request.prompt], pattern: pii}
  - {id: mask, conditions: {match: "user.region == 'eu'"}, actions: [{type: redact, fields: [request.prompt], pattern: pii}]}
  - {id: record, conditions: {match: "true"}, actions: [{type: allow}, {type: audit}]}
  - {id: slow, conditions: {match: "request.estimated_tokens > 9000"}, actions: [{type: throttle, delay_ms: 50}]}
  - {id: cheaper, conditions: {match: "request.model == 'gpt-4'"}, actions: [{type: suggest_alternative, model: gpt-4o-mini}]}
  - {id: off, enabled: false, conditions: {match: "true"}, actions: [{type: warn, message: "Off {{ user.id }}"}]}
  - {id: money, conditions: {match: "user.budget.daily_spent > 5"}, actions: [{type: deny, reason: x}]}
  - {id: keys, conditions: {match: "true"}, actions: [{type: redact, fields: [request.prompt], pattern: credentials}]}
exceptions:
  - {id: bypass, conditions: {match: "user.team == 'security'"}, action: allow_all}
  - {id: approved, conditions: {match: "true"}, action: allow_all, requires_approval: true}
fallback: {action: deny}
"""


def test_every_rule_of_the_match_form_is_told():
    """
    Conditions become CEL, several actions one verdict, exceptions an `unless`; what is lost is said.
    """
    found, text = report(MATCHING)
    assert {rule: status for rule, (status, _) in found.items()} == {
        "": "changed",
        "exception bypass": "changed",
        "exception approved": "not possible",
        "block-pii": "changed",
        "mask": "changed",
        "record": "exact",
        "slow": "changed",
        "cheaper": "changed",
        "off": "changed",
        "money": "not possible",
        "keys": "not possible",
    }
    (document,) = load(text).documents
    rules = {rule.id: rule for rule in document.model.spec.rules}
    assert {rule: each.verdict for rule, each in rules.items()} == {
        "block-pii": "deny", "mask": "modify", "record": "allow", "slow": "warn", "cheaper": "warn", "off": "warn",
    }  # fmt: skip
    assert rules["block-pii"].reason == "No personal data"
    assert rules["block-pii"].description == "critical; data-protection; GDPR, CCPA"
    assert (rules["off"].enabled, rules["off"].reason) == (False, "Off")
    assert document.model.spec.unless == 'team.id == "security"'
    assert "default_verdict: deny" in found[""][1]


WHOLE_STRUCTURED = {
    "metadata": {"id": "cost-001", "name": "Cost", "version": "1.0.0", "namespace": "cost", "priority": 80},
    "status": "active",
    "rules": [
        {
            "id": "r1",
            "name": "Block",
            "enabled": True,
            "condition": {
                "operator": "and",
                "conditions": [
                    {"operator": "ne", "field": "project.environment", "value": "production"},
                    {"operator": "in", "field": "llm.model", "value": ["gpt-4"]},
                ],
            },
            "action": {"decision": "deny", "reason": "no", "metadata": {"severity": "medium"}},
        }
    ],
}  # fmt: skip
WHOLE_MATCHING = {
    "metadata": {"id": "m-1", "tags": ["a"]},
    "config": {"default_action": "deny"},
    "rules": [
        {
            "id": "a",
            "conditions": {"match": "user.roles.contains('dev') && request.messages.any(m => m.size > 3)"},
            "actions": [{"type": "deny", "message": "{{ llm.model }} no"}, {"type": "redact", "fields": ["x"]}],
        }
    ],
    "exceptions": [{"id": "e", "conditions": {"match": "user.id == 'x'"}, "action": "allow_all"}],
    "fallback": {"action": "deny"},
}  # fmt: skip
ODD = [None, True, 0, -1.5, 10**30, "", "x", "{{", "x => x", "(((", "a && ", "!tag", "*a", "\ud800", [], {}, [[]],
       [None], {"a": 1}]  # fmt: skip


def _places(value, path=()):
    """The paths of all that is below a value."""
    below = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in below:
        yield (*path, key)
        yield from _places(each, (*path, key))


@st.composite
def damaged(draw):
    """A file of the existing engine with up to three values replaced by odd ones, or taken out."""
    found = copy.deepcopy(draw(st.sampled_from([WHOLE_STRUCTURED, WHOLE_MATCHING])))
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(found))
        if not places:
            return found
        *way, last = draw(st.sampled_from(places))
        holder = found
        for key in way:
            holder = holder[key]
        if draw(st.integers(0, 3)):
            holder[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
        else:
            del holder[last]
    return found


@settings(max_examples=200, deadline=None)
@given(damaged())
@example({**WHOLE_STRUCTURED, "metadata": {"id": "x", "version": 1.0, "namespace": [1]}})
@example({**WHOLE_MATCHING, "metadata": "x"})
@example({**WHOLE_MATCHING, "fallback": {"action": ["x"]}})
@example({"metadata": {"id": "x", "name": "\ud800"}, "rules": WHOLE_STRUCTURED["rules"]})
@example({"metadata": {"id": "x"}, "rules": [{**WHOLE_STRUCTURED["rules"][0], "id": [None]}]})
def test_whatever_stands_in_a_file_what_is_written_checks(document):
    """Odd values anywhere: no surprise, and the documents that come out load without an error."""
    found = import_source("x.json", json.dumps(document))
    loaded = policy.load([("out.yaml", found.text)])
    assert not loaded.has_errors, [str(each) for each in loaded.findings]


def test_a_number_as_a_label_is_text():
    """YAML reads ``version: 1.0`` as a number; the label is what stood there."""
    text = "metadata: {id: x, version: 1.0, namespace: 7}\nrules: [{id: a, condition: {operator: eq, field: llm.model, value: m}, action: {decision: deny}}]\n"
    loaded = policy.load([("x.yaml", text)])
    assert not loaded.has_errors, loaded.findings
    (document,) = loaded.documents
    assert document.model.metadata.labels == {"version": "1.0", "namespace": "7"}
