"""Every example of docs/policies.md loads without a finding, and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from policy_sources import Facts, load, program, request, rules_of

from enforcer.policy.documents import OPERATORS
from enforcer.policy.fields import declared_paths

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "policies.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("at", range(len(EXAMPLES)))
def test_examples_load_without_a_finding(at):
    """
    Whoever copies an example has a policy that checks.
    """
    loaded = load(EXAMPLES[at])
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
