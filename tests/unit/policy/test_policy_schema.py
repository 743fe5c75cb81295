"""The editor's schemas: shipped as the models are, with what an editor needs."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from policy_sources import spec, tenant

from enforcer.cli.main import run
from enforcer.policy.documents import MODELS
from enforcer.policy.findings import Findings
from enforcer.policy.schema import case_schema, document_schema
from enforcer.policy.source import plain, read

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = ROOT / "schemas"
SHIPPED = [*sorted((ROOT / "policies").rglob("*.yaml")), ROOT / "enforcer/bench/policies.yaml"]


def documents_of(name, text):
    """The data of a source, as an editor's validator sees it."""
    return [
        json.loads(json.dumps(plain(each.node), default=float))
        for each in read(name, text, Findings())
    ]


def is_valid(document, schema):
    """Whether a validator of JSON Schema takes a document."""
    return jsonschema.Draft202012Validator(schema).is_valid(document)


@pytest.mark.parametrize(
    ("name", "arguments"), [("policy.schema.json", ()), ("policy-test.schema.json", ("--tests",))]
)
def test_the_shipped_schemas_are_those_of_the_models(name, arguments, capsys):
    """
    `enforcer policy schema` prints the file that ships: renew it with the command when the models change.
    """
    assert run(["policy", "schema", *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((SCHEMAS / name).read_text())


def test_a_document_is_told_by_its_kind():
    """
    Every kind has its schema, unknown fields are marked, fields have descriptions.
    """
    schema = document_schema()
    assert set(schema["discriminator"]["mapping"]) == set(MODELS)
    rule = schema["$defs"]["Rule"]
    assert rule["additionalProperties"] is False
    assert "CEL" in rule["properties"]["when"]["description"]


def test_a_parameter_may_stand_for_a_number_or_a_word():
    """
    `${verdict}` and `${limit}` are no mistakes in a file of tests.
    """
    expect = case_schema()["$defs"]["Expect"]["properties"]
    assert "pattern" in json.dumps(expect["verdict"])
    assert "pattern" in json.dumps(expect["http_status"])


def test_the_schemas_are_schemas():
    """
    Both are valid under the dialect that they name.
    """
    for schema in (document_schema(), case_schema()):
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_everything_that_ships_is_valid(path):
    """
    An editor marks nothing in the ready policies and their tests.
    """
    schema = case_schema() if path.name.endswith(".test.yaml") else document_schema()
    found = documents_of(path.name, path.read_text())
    assert found
    for each in found:
        jsonschema.Draft202012Validator(schema).validate(each)


@pytest.mark.parametrize(
    "text",
    [
        spec("priorty: 1"),
        spec("mode: audit"),
        spec("priority: high"),
        spec("rules: [{then: deny}]"),
        spec("rules: [{id: r}]"),
        spec("rules: [{id: r, then: dney}]"),
        spec("rules: [{id: r, then: {verdict: modify, edits: [{rename: llm.model}]}}]"),
        spec("rules: [{id: r, then: deny, phases: []}]"),
        spec("rules: [{id: r, then: deny, enabled: no}]"),
        spec("budgets: [{id: b, per: fortnight, limit_usd: 1}]"),
        spec("budgets: [{id: b, per: day, limit_usd: '50'}]"),
        spec("budgets: [{id: b, per: day, limit_usd: 1, key: []}]"),
        spec("rate_limits: [{id: b, per: day, limit_requests: 1.5}]"),
        spec("exceptions: [{id: e, rules: [r], approved_by: a, reason: b}]"),
        spec("rules: []").replace("enforcer/v1", "enforcer/v2"),
        spec("rules: []").replace("Policy", "Polcy"),
        spec("rules: []").replace("id: p, ", ""),
        tenant("{on_timeout: maybe}"),
        tenant("{assumed_output_tokens: 0}"),
        tenant("{unknown_model: {ceiling: 3}}"),
        "just text",
    ],
)
def test_what_has_another_shape_is_invalid(text):
    """
    Unknown and missing fields, words, types and lengths: an editor marks them while they are typed.
    """
    (document,) = documents_of("p.yaml", text)
    assert not is_valid(document, document_schema())
