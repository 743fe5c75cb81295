"""The editor's schemas: shipped as the models are, with what an editor needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enforcer.cli.main import run
from enforcer.policy.documents import MODELS
from enforcer.policy.schema import case_schema, document_schema

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"


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
