"""The ready policies: each is mapped to a risk, has its tests, and all together let an ordinary call pass."""

from pathlib import Path

import pytest

from enforcer import policy
from enforcer.policy.cases import read_suite
from enforcer.policy.findings import Findings
from enforcer.testing.policy_tests import Bench

POLICIES = Path(__file__).parents[3] / "policies"
TESTS = sorted(POLICIES.rglob("*.test.yaml"))
DOCUMENTS = sorted(set(POLICIES.rglob("*.yaml")) - set(TESTS))


def load():
    loaded = policy.load([(str(path), path.read_text()) for path in DOCUMENTS])
    assert not loaded.findings, [str(finding) for finding in loaded.findings]
    return loaded.documents


def test_every_policy_has_tests_and_is_mapped_to_a_risk():
    """Each says which risk of the OWASP list of 2026 it is about, and whose it is."""
    documents = [document for document in load() if document.kind == "Policy"]
    assert len(documents) >= 8
    assert {document.id for document in documents} == {
        path.name.removesuffix(".test.yaml") for path in TESTS
    }
    for document in documents:
        labels = document.model.metadata.labels
        assert labels["owasp"].startswith("LLM")
        assert labels["owasp"].endswith(":2026")
        assert labels["owner"]


@pytest.mark.parametrize("tenant", ["acme", "globex", "initech"])
def test_all_policies_together_let_an_ordinary_call_pass(tenant):
    """What the demo applies as one: an ordinary question of each tenant is allowed."""
    text = f"""
cases:
  - name: ordinary
    request: {{tenant: {tenant}, llm: {{max_tokens: 64, prompt: Hi}}}}
    expect: {{verdict: allow, shadow: []}}
"""
    findings = Findings()
    suite = read_suite("ordinary.test.yaml", text, findings)
    assert suite is not None, findings.sorted()
    assert Bench(load()).run(suite.cases[0]).differences == ()
