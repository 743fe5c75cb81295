"""The existing engine's documents: loaded as they are, with warnings where that means something else."""

from __future__ import annotations

import json

import pytest
from policy_sources import Facts, program, request, rules_of

from enforcer import policy


def document(*rules, **top):
    """A document of the existing engine."""
    return {"metadata": {"id": "e", "priority": 7}, "status": "active", "rules": list(rules), **top}


def rule(condition=None, decision="deny", **more):
    """One of its rules."""
    found = {"id": "r", "action": {"decision": decision, "reason": "No"}, **more}
    return found if condition is None else {**found, "condition": condition}


def load(data, **options):
    """The document in JSON, loaded."""
    return policy.load([("e.json", json.dumps(data))], **options)


def model(data):
    """The model of a document that must load."""
    (found,) = load(data).documents
    return found.model


def test_it_becomes_this_languages_document():
    """
    Id, priority, name, version and tags are kept; the canonical form is enforcer/v1.
    """
    data = document(rule(name="Block it"))
    data["metadata"] |= {
        "name": "E",
        "version": "1.0.0",
        "namespace": "n",
        "tags": ["a", "b"],
        "createdBy": "x",
    }
    found = model(data)
    assert (found.apiVersion, found.metadata.id, found.spec.priority) == ("enforcer/v1", "e", 7)
    assert found.metadata.labels == {
        "name": "E",
        "version": "1.0.0",
        "namespace": "n",
        "tags": "a, b",
    }
    assert found.spec.rules[0].description == "Block it"
    assert load(data).findings == ()


@pytest.mark.parametrize(
    ("rules", "matched"),
    [({}, True), ({"enabled": True}, True), ({"enabled": False}, False), ({"enabled": None}, True)],
)
def test_a_rule_is_enabled_unless_it_says_otherwise(rules, matched):
    """
    Only enabled: false turns it off.
    """
    found = program(json.dumps(document(rule(**rules)))).evaluate(request(), Facts())
    assert rules_of(found.matches) == (["e/r:deny"] if matched else [])


@pytest.mark.parametrize("status", ["draft", "deprecated", "unheard-of", None])
def test_a_status_other_than_active_loads_disabled(status):
    """
    It loads, does nothing, and says so in a warning.
    """
    loaded = load(document(rule(), status=status))
    assert [each.code for each in loaded.findings] == ["ENF0601"]
    assert not loaded.documents[0].model.spec.enabled
    without = document(rule())
    del without["status"]
    assert model(without).spec.enabled


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("llm.maxTokens", "llm.max_tokens"),
        ("metadata.costCenter", "attributes.costCenter"),
        ("metadata.cost-center", 'attributes["cost-center"]'),
        ("metadata", "attributes"),
        ("user.roles.0", "user.roles[0]"),
        ("request.id", "id"),
        ("request.ipAddress", "caller.ip"),
    ],
)
def test_its_paths_read_declared_fields(field, path):
    """
    Camel case, metadata and lodash's notation, without a warning.
    """
    condition = {"operator": "exists", "field": field}
    assert load(document(rule(condition))).findings == ()
    assert model(document(rule(condition))).spec.rules[0].condition.field == path


def test_an_undeclared_field_reads_the_raw_request():
    """
    A warning, and the value from the JSON as it came, also deep in a condition.
    """
    condition = {
        "operator": "and",
        "conditions": [{"operator": "gt", "field": "cost.daily", "value": 5}],
    }
    loaded = load(document(rule(condition)))
    assert [each.code for each in loaded.findings] == ["ENF0404"]
    scope = policy.compile_scope(loaded.documents, "*")
    found = policy.compile_tenant(scope, None, "acme")
    assert found.evaluate(request(cost={"daily": 6}), Facts()).matches
    assert not found.evaluate(request(cost={"daily": 4}), Facts()).matches
    assert not found.evaluate(request(), Facts()).matches


def test_modifications_become_set_edits():
    """
    One edit a path, under the declared name; without any, a warning.
    """
    modify = rule(decision="modify")
    modify["action"]["modifications"] = {"llm.maxTokens": 10, "metadata.checked": True}
    (match,) = program(json.dumps(document(modify))).evaluate(request(), Facts()).matches
    assert [(each.op, each.path, each.value) for each in match.edits] == [
        ("set", "llm.max_tokens", 10),
        ("set", "attributes.checked", True),
    ]
    assert [each.code for each in load(document(rule(decision="modify"))).findings] == ["ENF0501"]


def test_unknown_keys_are_warnings():
    """
    What the existing engine drops is named, and dropped.
    """
    data = document(
        rule({"operator": "exists", "field": "user.id", "comment": "x"}, severity="high")
    )
    data["metadata"]["owner"] = "me"
    loaded = load(data)
    assert [each.code for each in loaded.findings] == ["ENF0201"] * 3
    assert not loaded.has_errors


def test_a_rule_without_id_is_numbered():
    """
    As the existing engine's parser does.
    """
    rules = [{"action": {"decision": "warn"}}, {"action": {"decision": "deny"}}]
    assert [each.id for each in model(document(*rules)).spec.rules] == ["rule-0", "rule-1"]


def test_it_is_whose_load_says():
    """
    Everybody's, or the tenant's for whom it is applied.
    """
    assert load(document(rule())).documents[0].scope == "*"
    assert load(document(rule()), default_tenant="acme").documents[0].scope == "acme"


@pytest.mark.parametrize("data", [
    document("text"), document(rule("text")), document({"id": "r"}), document(rule(), metadata=[]),
    document(rule({"operator": "and", "conditions": "x"})), document(rule({"operator": 1, "field": 2})),
    document({"id": "r", "action": "deny"}), {"rules": []}, {"rules": 3}, {"policies": [3]}, {"policies": 3},
])  # fmt: skip
def test_torn_documents_are_refused_with_findings(data):
    """
    Whatever stands where something else should: findings, never an exception.
    """
    loaded = load(data)
    assert loaded.findings
    assert loaded.has_errors
