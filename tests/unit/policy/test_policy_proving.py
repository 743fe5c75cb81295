"""Proofs: what is proved holds for every request, and every counter-example is one that the engine decides so."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_sources import load, spec, tenant

from enforcer import policy
from enforcer.cli import policy_prove
from enforcer.policy import proving

GUARD = spec(
    """
match: project.environment == "production"
unless: '"security" in user.roles'
rules:
  - {id: cards, when: '"credit_card" in pii.types && llm.provider != "own"', then: deny, code: PII-001}
  - {id: big, when: has(llm.max_tokens) && llm.max_tokens > 4000, then: {verdict: modify, edits: [{cap: llm.max_tokens, value: 4000}]}}
  - {id: models, when: '!llm.model.matches("^gpt-4o(-mini)?$")', then: deny, code: MODEL}
"""
)
CAPPED = spec(
    """
rules:
  - {id: cap, when: has(llm.max_tokens) && llm.max_tokens > 100, then: {verdict: modify, edits: [{set: llm.model, value: small}]}}
  - {id: small, when: llm.model == "small", then: deny, code: SMALL}
"""
)
ERRING = spec(
    """
rules:
  - {id: r, when: llm.max_tokens > 10, then: deny, code: BIG}
"""
)
SKIPPING = spec(
    """
on_error: skip
rules:
  - {id: r, when: llm.max_tokens > 10, then: deny, code: BIG}
"""
)
KEYED = spec(
    """
budgets:
  - {id: b, key: team.id, per: day, limit_usd: 5}
"""
)
EXEMPT = spec(
    """
rules:
  - {id: r, when: 'llm.model == "x"', then: deny, code: X}
exceptions:
  - {id: e, when: user.id == "u7", rules: [r], expires: 2030-01-01, approved_by: ciso, reason: migration}
"""
)
CAPPING = spec(
    """
budgets:
  - {id: b, per: day, limit_usd: 5, on_exceeded: cap}
"""
)
STRUCTURED = spec(
    """
rules:
  - id: free
    condition: {operator: and, conditions: [{operator: eq, field: team.tier, value: free}, {operator: in, field: llm.model, value: [a, b]}]}
    then: deny
    code: FREE
"""
)


def asked(text: str, then: str, when: str = "true") -> proving.Answer:
    """The answer about a policy, with counter-examples as the command line confirms them."""
    found = load(text, tenant()).documents
    return proving.prove(
        found,
        "acme",
        when=when,
        then=then,
        confirm=lambda r: policy_prove._is_counter_example(found, r, when, then),
    )


PRODUCTION = 'project.environment == "production" && !("security" in user.roles)'


@pytest.mark.parametrize(
    ("text", "when", "then", "result"),
    [
        (GUARD, f'{PRODUCTION} && "credit_card" in pii.types && llm.provider == "openai"', '"PII-001" in codes', "proved"),
        (GUARD, f'{PRODUCTION} && "credit_card" in pii.types', '"PII-001" in codes', "refuted"),
        (GUARD, 'project.environment == "staging"', 'verdict == "allow"', "proved"),
        (GUARD, "!has(project.environment)", 'verdict == "allow"', "proved"),
        (GUARD, 'project.environment == "production"', 'verdict == "deny"', "refuted"),
        (GUARD, f'{PRODUCTION} && llm.model.startsWith("claude")', '"MODEL" in codes', "proved"),
        (GUARD, f'{PRODUCTION} && llm.model.startsWith("gpt-4o")', '"MODEL" in codes', "refuted"),
        (GUARD, PRODUCTION, '"p/cards" in reasons || llm.provider == "own" || !("credit_card" in pii.types)', "proved"),
        (CAPPED, "has(llm.max_tokens) && llm.max_tokens > 100", '"SMALL" in codes', "proved"),
        (CAPPED, "has(llm.max_tokens) && llm.max_tokens == 100", '"SMALL" in codes', "refuted"),
        (ERRING, "!has(llm.max_tokens)", '"evaluation_error" in codes', "proved"),
        (SKIPPING, "!has(llm.max_tokens)", 'verdict == "allow"', "proved"),
        (KEYED, "!has(team.id)", '"missing_key" in codes', "proved"),
        (EXEMPT, 'llm.model == "x" && user.id == "u8"', '"X" in codes', "proved"),
        (EXEMPT, 'llm.model == "x" && now >= timestamp("2030-01-01T00:00:00Z")', '"X" in codes', "proved"),
        (EXEMPT, 'llm.model == "x" && user.id == "u7" && now < timestamp("2030-01-01T00:00:00Z")', '!("X" in codes)', "proved"),
        (EXEMPT, 'llm.model == "x"', '"X" in codes', "refuted"),
        (CAPPING, "true", 'verdict != "warn"', "proved"),
        (CAPPING, "true", 'verdict != "deny" && verdict != "modify"', "undecided"),
        (STRUCTURED, 'team.tier == "free" && llm.model == "a"', 'verdict == "deny"', "proved"),
        (STRUCTURED, "!has(team.tier)", 'verdict == "allow"', "proved"),
        (STRUCTURED, 'team.tier == "free"', 'verdict == "deny"', "refuted"),
    ],
)  # fmt: skip
def test_questions_are_answered(text, when, then, result):
    """Absent fields, errors, the second pass over edits, missing keys and both notations are in the proof."""
    answer = asked(text, then, when)

    assert answer.result == result
    assert (answer.request is not None) == (result == "refuted")


def test_an_exceeded_budget_is_possible_in_every_proof():
    """Budgets may say what they like: that nothing is denied cannot be proved of a policy that has one."""
    assert asked(KEYED, 'verdict != "deny"', "has(team.id)").result == "undecided"


def test_what_is_not_decided_is_named_by_its_place():
    """A function that the solver does not know leaves the question open, and the answer says where it stands."""
    text = spec("rules:\n  - {id: r, when: 'llm.model.lowerAscii() == \"x\"', then: deny}\n")

    answer = asked(text, 'verdict == "allow"', 'llm.model == "x"')

    assert answer.result in {"undecided", "refuted"}
    assert (
        asked(text, 'verdict != "deny"', 'llm.model == "y"').undecided[0].startswith("p0.yaml:6:")
    )


def test_a_part_that_is_not_decided_may_not_matter():
    """A proof that does not need the undecided part is one."""
    text = spec(
        'rules:\n  - {id: r, when: \'llm.model.lowerAscii() == "x" && team.tier == "free"\', then: deny}\n'
    )

    assert asked(text, 'verdict == "allow"', 'team.tier == "gold"').result == "proved"


def equal(one: str, other: str) -> proving.Answer:
    """Whether two policies decide alike."""
    first, second = load(one, tenant()).documents, load(other, tenant()).documents
    return proving.equivalent(
        first,
        second,
        "acme",
        confirm=lambda r: (
            policy_prove._summary(policy_prove._decision(first, r))
            != policy_prove._summary(policy_prove._decision(second, r))
        ),
    )


def test_the_same_documents_are_equivalent_whatever_is_in_them():
    """Limits and detectors decide alike for the same documents, though no solver sees into them."""
    assert equal(KEYED, KEYED).result == "proved"
    assert equal(GUARD, GUARD).result == "proved"


def test_both_notations_of_a_condition_are_equivalent():
    """The structured form and its CEL decide every request alike."""
    written = spec(
        """
rules:
  - {id: other, when: 'team.tier == "free" && llm.model in ["a", "b"]', then: deny, code: FREE}
"""
    )

    assert equal(STRUCTURED, written).result == "proved"


def test_a_difference_is_shown_by_a_request():
    """Where two policies differ the counter-example is decided differently."""
    answer = equal(STRUCTURED, STRUCTURED.replace("[a, b]", "[a]"))

    assert answer.result == "refuted"
    assert answer.request["llm"]["model"] == "b"


TERMS = st.sampled_from(
    [
        'team.tier == "free"', 'team.tier != "free"', "has(team.tier)", "llm.max_tokens > 5",
        "has(llm.max_tokens) && llm.max_tokens > 5", 'llm.model.startsWith("g")', 'llm.model in ["g", "h"]',
        '"admin" in user.roles', "size(user.roles) > 1", "attributes.x == 1", "attributes.x > 1.5", '"a" in attributes.x', 'user.roles == ["admin"]',
        'llm.model.matches("^g+$")', "llm.n * 2 > 5", 'llm.?service_tier.orValue("x") == "x"',
    ]
)  # fmt: skip
CONDITIONS = st.recursive(
    TERMS,
    lambda below: st.one_of(
        st.builds("({} && {})".format, below, below),
        st.builds("({} || {})".format, below, below),
        st.builds("!({})".format, below),
    ),
    max_leaves=4,
)
RULES = st.lists(
    st.tuples(
        CONDITIONS,
        st.sampled_from(["deny", "warn", "allow", "set"]),
    ),
    min_size=1,
    max_size=3,
)
REQUESTS = st.fixed_dictionaries(
    {
        "team": st.sampled_from([{}, {"tier": "free"}, {"tier": "gold"}]),
        "user": st.sampled_from([{}, {"roles": ["admin"]}, {"roles": ["a", "b"]}]),
        "llm": st.fixed_dictionaries(
            {"provider": st.just("openai"), "model": st.sampled_from(["g", "gg", "h", "x"])},
            optional={
                "max_tokens": st.integers(0, 10),
                "n": st.integers(1, 3),
                "service_tier": st.just("y"),
            },
        ),
        "attributes": st.sampled_from(
            [{}, {"x": 1}, {"x": 2}, {"x": "a"}, {"x": None}, {"x": 1.5}, {"x": ["a"]}]
        ),
    }
)


@settings(max_examples=15)
@given(
    rules=RULES,
    verdict=st.sampled_from(["deny", "modify", "warn", "allow"]),
    requests=st.lists(REQUESTS, min_size=8, max_size=8),
)
def test_no_request_contradicts_a_proof(rules, verdict, requests):
    """Where it is proved that a verdict never, or always, comes, the engine decides no request otherwise."""
    then = {"set": {"verdict": "modify", "edits": [{"set": "team.tier", "value": "free"}]}}
    document = {
        "apiVersion": "enforcer/v1",
        "kind": "Policy",
        "metadata": {"id": "p", "tenant": "acme"},
        "spec": {
            "rules": [
                {"id": f"r{at}", "when": when, "then": then.get(does, does)}
                for at, (when, does) in enumerate(rules)
            ]
        },
    }
    found = policy.load([("p.json", json.dumps(document))]).documents
    if not found:
        return
    for claim in (f'verdict == "{verdict}"', f'verdict != "{verdict}"'):
        answer = proving.prove(
            found,
            "acme",
            when="true",
            then=claim,
            confirm=lambda r, c=claim: policy_prove._is_counter_example(found, r, "true", c),
        )
        if answer.result == "proved":
            for each in requests:
                request = {"id": "r", "tenant": "acme", **each}
                assert not policy_prove._is_counter_example(found, request, "true", claim), request


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("^gpt-4o(-mini)?$", ["gpt-4o", "gpt-4o-mini"], ["gpt-4", "xgpt-4o"]),
        ("a|^b", ["xa", "b", "ba"], ["xb", ""]),
        (r"^\d{2,3}$", ["12", "123"], ["1", "1234", "١٢"]),
        ("^[^a-c]+$", ["xyz"], ["xaz", ""]),
        ("^a.c$", ["abc"], ["a\nc"]),
        (r"\w+@\w+", ["jo@x"], ["@"]),
    ],
)
def test_patterns_are_the_languages_that_re2_finds(pattern, inside, outside):
    """A regular expression of the solver holds the texts in which RE2 finds it, and no others."""
    import re2
    import z3

    from enforcer.policy.proving.patterns import language
    from enforcer.policy.proving.values import text

    for each in [*inside, *outside]:
        found = z3.simplify(z3.InRe(text(each), language(pattern)))
        assert z3.is_true(found) == bool(re2.search(pattern, each)) == (each in inside), each


@pytest.mark.no_cover
def test_the_command_answers_by_its_exit_code(tmp_path):
    """0 proved, 4 refuted, 3 for documents that do not check; JSON has the counter-example."""
    file = tmp_path / "p.yaml"
    file.write_text(GUARD)

    def run(*arguments):
        command = [sys.executable, "-m", "enforcer.cli", "policy", "prove", str(file), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run("--then", 'verdict != "warn"').returncode == 0
    refuted = run("--then", 'verdict == "allow"', "--output", "json")
    assert refuted.returncode == 4
    answer = json.loads(refuted.stdout)
    assert answer["result"] == "refuted"
    assert answer["decisions"][0]["verdict"] in {"deny", "modify"}
    file.write_text(GUARD.replace("llm.provider !=", "llm.nobody !="))
    assert run("--then", "true").returncode == 3
