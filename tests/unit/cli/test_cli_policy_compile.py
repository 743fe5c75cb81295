"""`policy compile`: what documents become, as a table and for programs."""

from __future__ import annotations

import json

from enforcer.cli.main import run

POLICY = """\
apiVersion: enforcer/v1
kind: Policy
metadata: {id: p, tenant: acme}
spec:
  match: project.environment == "production"
  rules: [{id: r, then: deny, when: 'llm.model in ["a", "b"]'}]
"""


def test_every_stage_is_told_with_its_metric_and_each_policy_with_what_it_needs(tmp_path, capsys):
    """Stages in their order, and the index columns of a policy."""
    path = tmp_path / "p.yaml"
    path.write_text(POLICY)
    assert run(["policy", "compile", str(path), "--explain", "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["stage"] for each in told["stages"]] == ["read", "check", "compile", "index"]
    assert all(each["metric"].startswith("policy_") for each in told["stages"])
    (policy,) = told["policies"]
    assert policy["needs"] == {"llm.model": ["a", "b"], "project.environment": ["production"]}
    assert policy["code_bytes"] > 0


def test_what_does_not_check_is_told_and_ends_with_3(tmp_path, capsys):
    """Nothing is compiled from a document with a fault."""
    path = tmp_path / "p.yaml"
    path.write_text(POLICY.replace("llm.model", "llm.modell"))
    assert run(["policy", "compile", str(path)]) == 3
    assert "ENF0403" in capsys.readouterr().out


def test_a_file_of_nothing_is_told(tmp_path, capsys):
    """A warning aside; programs read that it is nothing."""
    path = tmp_path / "p.yaml"
    path.write_text("")
    assert run(["policy", "compile", str(path), "--output", "json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == {"policies": 0, "documents": 0}
    assert "warning[ENF0113]" in told.err
