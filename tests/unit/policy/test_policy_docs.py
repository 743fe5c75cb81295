"""Every example of docs/policy-language.md loads without a finding, and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from policy_sources import Facts, load, program, request, rules_of, spec

from enforcer import policy
from enforcer.policy.cases import Case, CaseFile, Expect, GivenRow, read_suite
from enforcer.policy.documents import OPERATORS
from enforcer.policy.fields import declared_paths
from enforcer.policy.findings import Findings
from enforcer.policy.tracing import traced_policies
from enforcer.testing.coverage import Coverage
from enforcer.testing.policy_tests import Bench

PAGES = Path(__file__).resolve().parents[3] / "docs"
PAGE = (PAGES / "policy-language.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SUITES = [each for each in BLOCKS if re.search("^cases:", each, re.MULTILINE)]
EXAMPLES = [each for each in BLOCKS if each not in SUITES]
EXPRESSIONS = [
    line
    for block in re.findall(r"^```cel\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("at", range(len(EXAMPLES)))
def test_examples_load_without_a_finding(at):
    """
    Whoever copies an example has a policy that checks.
    """
    loaded = policy.load([("p.yaml", EXAMPLES[at])], prove=True, has_redaction_key=False)
    assert [str(each) for each in loaded.findings] == []
    assert loaded.documents


def example(name):
    """The program of the example that holds the document *name*."""
    (text,) = [each for each in EXAMPLES if f"id: {name}" in each]
    return program(text)


def test_the_first_policy_denies_card_numbers():
    """
    The page's first example, with and without a card number.
    """
    found = example("cards, tenant")
    (match,) = found.evaluate(request(), Facts(counts={"credit_card": 1})).matches
    assert (match.verdict, match.code) == ("deny", "PII-001")
    assert not found.evaluate(request(), Facts()).matches


def test_the_whole_policy_guards_production():
    """
    In production, unless for security: redaction always, a smaller model for free teams.
    """
    found = example("production-guard")
    production = {"environment": "production"}
    free = found.evaluate(request(project=production, team={"tier": "free"}), Facts())
    assert rules_of(free.matches) == [
        "production-guard/mail:modify",
        "production-guard/small-models:modify",
    ]
    exempt = request(project=production, user={"roles": ["security"]})
    assert not found.evaluate(exempt, Facts()).matches
    assert not found.evaluate(request(), Facts()).matches


def test_the_conditions_hold_as_the_page_says():
    """
    European data, approved models, a cost center, and a date.
    """
    found = example("conditions, tenant")
    paid = {"cost.center": "x"}
    before_us, after_us = 1_790_000_000_000_000, 1_798_100_000_000_000

    def rules(now_us=before_us, **fields):
        return [
            each.rule for each in found.evaluate(request(**fields), Facts(), now_us=now_us).matches
        ]

    assert rules(attributes=paid) == []
    assert rules() == ["someone-must-pay"]
    assert rules(after_us, attributes=paid) == ["freeze"]
    assert rules(attributes=paid, user={"region": "eu"}) == ["eu-data-stays"]
    assert rules(attributes=paid, user={"region": "eu"}, llm={"model": "mistral-large"}) == []
    assert rules(attributes=paid, llm={"model": "other"}) == ["approved-models-only"]


def test_the_existing_engines_policy_decides():
    """
    Its document as it is: a deny outside production, and an edit under the declared name.
    """
    text = next(each for each in EXAMPLES if each.startswith("metadata:"))
    found = program(text)
    development = request(project={"environment": "development"}, llm={"model": "gpt-4"})
    assert rules_of(found.evaluate(development, Facts()).matches) == ["cost-001/cost-001-r1:deny"]
    (match,) = found.evaluate(request(llm={"max_tokens": 5000}), Facts()).matches
    assert [(each.op, each.path, each.value) for each in match.edits] == [
        ("set", "llm.max_tokens", 4000)
    ]


def test_the_page_names_every_operator_and_field():
    """
    No operator and no field is missing from the reference.
    """
    for operator in OPERATORS:
        assert f"`{operator}`" in PAGE
    for path in declared_paths():
        if path.startswith("pii.counts."):  # docs/detectors.md lists the kinds.
            continue
        assert path.rpartition(".")[2] in PAGE, path


@pytest.mark.parametrize("text", SUITES)
def test_the_tests_of_the_page_pass(text):
    """
    Every case, against the example that the file of tests is about; together they cover it whole.
    """
    findings = Findings()
    suite = read_suite("page.test.yaml", text, findings)
    assert suite is not None, [str(each) for each in findings.sorted()]
    ((name, _),) = suite.documents
    (about,) = [each for each in EXAMPLES if f"id: {name.removesuffix('.yaml')}" in each]
    documents, coverage = load(about).documents, Coverage()
    bench = Bench(documents)
    coverage.add(traced_policies(documents, bench.tenant()), documents)
    for case in suite.cases:
        tested = bench.run(case)
        assert tested.differences == (), case.name
        coverage.note(tested.traces, tested.limits)
    assert len(suite.cases) >= 8
    assert coverage.percent > 90


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_expressions_of_the_page_are_conditions(expression):
    """
    Each line stands in a rule as it is, without a finding.
    """
    text = spec(f"rules:\n  - id: r\n    when: |-\n      {expression}\n    then: deny")
    found = policy.load([("p.yaml", text)], prove=True).findings
    assert [str(each) for each in found] == []


def test_the_page_names_everything_that_a_test_may_expect():
    """
    No field of a file of tests is missing from the page.
    """
    for model in (CaseFile, Case, Expect, GivenRow):
        for field in model.model_fields:
            assert re.search(rf"\b{field}\b", PAGE), field


def test_the_mapping_guides_examples_load():
    """
    What docs/import.md writes for Rego and Cedar checks.
    """
    guide = (PAGES / "import.md").read_text()
    found = re.findall(r"^```yaml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert len(found) == 2
    for text in found:
        assert [str(each) for each in load(text).findings] == []
