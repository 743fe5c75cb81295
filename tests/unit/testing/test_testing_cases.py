"""The ready policies decide what their cases say; and cases that are wrong are found."""

from pathlib import Path

import pytest

from enforcer import policy
from enforcer.errors import PolicyError
from enforcer.testing.cases import Case, read_cases, run

POLICIES = Path(__file__).parents[3] / "policies"
CASES = sorted(POLICIES.rglob("*.cases.yaml"))
DOCUMENTS = sorted(set(POLICIES.rglob("*.yaml")) - set(CASES))
TENANTS = sorted((POLICIES / "tenants").glob("*.yaml"))


def load(paths):
    loaded = policy.load([(str(path), path.read_text()) for path in paths])
    assert not loaded.findings, [str(finding) for finding in loaded.findings]
    return loaded.documents


def all_cases():
    for path in CASES:
        for case in read_cases(path.read_text(), file=str(path)):
            name = path.relative_to(POLICIES).as_posix().removesuffix(".cases.yaml")
            yield pytest.param(path, case, id=f"{name}: {case.name}")


@pytest.mark.parametrize(("path", "case"), list(all_cases()))
def test_a_policy_decides_as_its_cases_say(path, case):
    """Each case, under the documents beside it and the tenants."""
    beside = path.with_name(path.name.replace(".cases.yaml", ".yaml"))
    assert run(case, load([beside, *TENANTS])) == []


def test_every_policy_has_cases_and_is_mapped_to_a_risk():
    """No policy without cases; each says which risk of the OWASP list of 2026 it is about, and whose it is."""
    documents = [document for document in load(DOCUMENTS) if document.kind == "Policy"]
    assert len(documents) >= 8
    with_cases = {path.name.removesuffix(".cases.yaml") for path in CASES}
    assert {document.id for document in documents} == with_cases
    for document in documents:
        labels = document.model.metadata.labels
        assert labels["owasp"].startswith("LLM")
        assert labels["owasp"].endswith(":2026")
        assert labels["owner"]


def test_all_policies_together_let_an_ordinary_call_pass():
    """What the demo applies as one: an ordinary question of each tenant is allowed."""
    documents = load(DOCUMENTS)
    for tenant in ("acme", "globex", "initech"):
        case = Case(
            tenant,
            {
                "id": "r",
                "tenant": tenant,
                "user": {"id": "u1"},
                "team": {"id": "t1", "tier": "gold"},
                "llm": {
                    "provider": "openai",
                    "model": "gpt-4o-mini",
                    "max_tokens": 64,
                    "prompt": "Hi",
                },
            },
            {"verdict": "allow", "shadow": []},
        )
        assert run(case, documents) == []


def test_a_case_that_does_not_hold_is_explained():
    """The differences name what was expected, what was found, and why it was decided so."""
    path = POLICIES / "cost" / "output-cap.yaml"
    (first, *_) = read_cases(path.with_name("output-cap.cases.yaml").read_text(), file="f")
    wrong = Case(
        "wrong",
        {**first.request, "llm": {**first.request["llm"], "max_tokens": None}},
        {"verdict": "deny", "codes": [], "edits": [], "llm": {"max_tokens": 1, "messages": []}},
    )
    text = "\n".join(run(wrong, load([path, *TENANTS])))
    assert "verdict: expected 'deny', found 'modify'" in text
    assert "request.llm.max_tokens: expected 1, found 4096" in text
    assert "request.llm.messages" in text
    assert "output-cap" in text


@pytest.mark.parametrize("text", ["", "cases: 1", "cases: [{}]", "a: b", "- x", "a: 'b", "[]"])
def test_a_file_that_holds_no_cases_is_refused(text):
    """A file with the name of cases and none in it is an error with its name."""
    with pytest.raises(PolicyError) as caught:
        read_cases(text, file="some.cases.yaml")
    assert str(caught.value.span) == "some.cases.yaml"
