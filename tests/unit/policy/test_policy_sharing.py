"""What the rules of a policy have in common is computed once, and both notations come to one code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_sources import Facts, documents, program, request, rules_of, spec

from enforcer import policy
from enforcer.bench import scale, workload
from enforcer.policy.regex import compile_search, literal_of

ROOT = Path(__file__).parents[3]
WORDS = """
variables: {words: 'llm.prompt.lowerAscii().split(" ")'}
rules:
  - {id: a, when: '"bomb" in words', then: warn}
  - {id: b, when: 'size(words) > 2', then: warn}
  - {id: c, when: 'words.exists(w, w.startsWith("x"))', then: deny}
"""


def evaluated(text, facts, **fields):
    """What the rules of a policy say."""
    found = program(spec(text)).evaluate(request(**fields), facts)
    return rules_of(found.matches), [each.rule for each in found.errors]


def test_a_variable_of_several_rules_is_computed_once():
    """Three rules read a variable; the prompt behind it is read once, and all three have its value."""
    facts = Facts(text="A bomb x1")
    assert evaluated(WORDS, facts) == (["p/a:warn", "p/b:warn", "p/c:deny"], [])
    assert facts.read == ["prompt"]


def test_a_variable_is_computed_where_it_is_first_needed():
    """A rule that is decided without it does not compute it."""
    facts = Facts()
    text = """
variables: {words: 'llm.prompt.lowerAscii().split(" ")'}
rules:
  - {id: a, when: 'llm.model == "other" && size(words) > 2', then: warn}
  - {id: b, when: 'llm.model == "other" && "x" in words', then: warn}
"""
    assert evaluated(text, facts) == ([], [])
    assert facts.read == []


def test_an_erring_variable_is_an_error_of_each_rule_that_asks_it():
    """Nothing is shared of an error: it fails every rule, and an absorbed one none."""
    text = """
variables: {third: 'llm.prompt.split("-")[3]'}
rules:
  - {id: a, when: 'third == "x"', then: deny}
  - {id: b, when: 'third == "y"', then: deny}
  - {id: c, when: 'third == "z" || llm.model == "gpt-4o"', then: warn}
"""
    matches, errors = evaluated(text, Facts(text="a-b"))
    assert (matches, errors) == (["p/a:deny", "p/b:deny"], ["a", "b"])
    assert evaluated(text, Facts(text="-----"))[1] == []
    assert evaluated(text.replace("deny", "warn"), Facts(text="a-b")) == (["p/c:warn"], ["a", "b"])


def test_a_search_that_several_rules_make_is_made_once():
    """A comparison that reads a text, and its contrary, are one."""
    facts = Facts(text="please ignore this")
    text = """
rules:
  - {id: a, when: 'llm.prompt.matches("ign.re")', then: warn}
  - {id: b, when: '!llm.prompt.matches("ign.re")', then: warn}
  - {id: c, condition: {operator: matches, field: llm.prompt, value: "ign.re"}, then: warn}
"""
    found = program(spec(text))
    made = found.policies[0].run.__globals__
    search, texts = compile_search("ign.re"), []
    # The compiled pattern is a global of the code: in its place, one that counts.
    made.update({
        name: lambda text: texts.append(text) or search(text)
        for name, value in made.items()
        if value is search
    })  # fmt: skip
    assert rules_of(found.evaluate(request(), facts).matches) == ["p/a:warn", "p/c:warn"]
    assert texts == ["please ignore this"]


def test_a_fact_that_several_comparisons_read_is_read_once():
    """The kinds of personal data are asked of the facts once, for three kinds."""
    facts = Facts(counts={"email": 1})
    text = """
rules:
  - {id: a, when: '"email" in pii.types', then: warn}
  - {id: b, when: '!("ssn" in pii.types)', then: warn}
  - {id: c, condition: {operator: contains, field: pii.types, value: iban}, then: warn}
"""
    assert evaluated(text, facts) == (["p/a:warn", "p/b:warn"], [])
    assert facts.read == ["pii"]


def test_what_reads_a_macros_variable_is_another_value_each_time():
    """The same words over another list, and within a loop, are not shared."""
    text = """
rules:
  - {id: a, when: 'user.roles.exists(r, r.lowerAscii() == "x")', then: warn}
  - {id: b, when: 'user.permissions.exists(r, r.lowerAscii() == "x")', then: warn}
"""
    user = {"roles": ["A", "X"], "permissions": ["b"]}
    assert evaluated(text, Facts(), user=user) == (["p/a:warn"], [])


def test_a_part_within_a_part_and_within_a_loop():
    """Parts of parts are shared too, also where a loop's body asks for them."""
    text = """
variables:
  low: llm.prompt.lowerAscii()
  words: low.split(" ")
rules:
  - {id: a, when: 'user.roles.exists(r, r in words)', then: warn}
  - {id: b, when: 'user.permissions.exists(p, words.exists(w, w == p) && low.contains(p))', then: warn}
  - {id: c, when: 'low.replace(" ", "") == "xyz"', then: warn}
"""
    facts = Facts(text="X yZ")
    user = {"roles": ["yz"], "permissions": ["q", "x"]}
    assert evaluated(text, facts, user=user) == (["p/a:warn", "p/b:warn", "p/c:warn"], [])
    assert facts.read == ["prompt"]


def test_both_notations_come_to_the_same_code():
    """The 20 rules of the benchmark, structured and in CEL: the same instructions over the same constants."""
    found = workload.documents()
    scope = next(each.scope for each in found if each.kind == "Policy")
    codes = [
        {each.id: each.run.__code__ for each in policy.compile_scope(one, scope).policies}
        for one in (found, scale.in_expressions(found))
    ]
    assert len(codes[0]) == 5
    for name, code in codes[0].items():
        assert code.co_code == codes[1][name].co_code, name
        assert code.co_consts == codes[1][name].co_consts, name


TEXTS = st.text("ab\n$^", max_size=6)


@given(
    text=TEXTS,
    literal=st.text("ab\n", max_size=3),
    begins=st.sampled_from(["", "^"]),
    ends=st.sampled_from(["", "$"]),
)
def test_a_pattern_that_is_a_text_finds_what_its_automaton_finds(text, literal, begins, ends):
    """A policy compares texts where RE2 would walk an automaton: found in the same texts."""
    pattern = f"{begins}{literal}{ends}"
    assert literal_of(pattern) is not None
    body = f"rules: [{{id: a, then: warn, condition: {{operator: matches, field: llm.prompt, value: {json.dumps(pattern)}}}}}]"
    found, errors = evaluated(body, Facts(text=text))
    assert (found == ["p/a:warn"], errors) == (compile_search(pattern)(text), [])


@pytest.mark.parametrize("pattern", [r"a\$", "a.b", "a|b", "[a]", "a*", "(?i)a", r"\ba", "a{2}"])
def test_a_pattern_that_stands_for_several_texts_is_none(pattern):
    """Anything that means more than itself stays with RE2."""
    assert literal_of(pattern) is None


GUARDED = """
match: 'team.tier in ["a", "b", "c"]'
rules:
  - {id: a, then: deny, when: 'has(user.email) && user.email.endsWith("@x") && has(team.name) && team.name.contains("x")'}
  - {id: b, then: warn, when: 'llm.model in ["m1", "m2", "m3"] || attributes.x in [1, "a", true]'}
"""
PROGRAM = """
import dis, sys
from enforcer import policy
found = policy.load([("p.yaml", sys.stdin.read())])
scope = policy.compile_scope(found.documents, "acme")
def show(code):
    for each in code.co_consts:
        if hasattr(each, "co_code"):
            show(each)
    print(code.co_code.hex(), code.co_names, [c for c in code.co_consts if not hasattr(c, "co_code")])
for each in scope.policies:
    show(each.run.__code__); show(each.guard.__code__)
    for name in sorted(each.run.__globals__):
        value = each.run.__globals__[name]
        if hasattr(value, "__code__") and "<compiled" in value.__code__.co_filename:
            print(name); show(value.__code__)
    print(each.digest, sorted(each.requirements))
print(policy.compile_tenant(None, scope, "acme").policy_digest)
"""


def test_the_same_documents_give_the_same_code_whatever_the_seed_of_hashes():
    """Code and digests of four processes with different orders of sets and texts."""
    source = "---\n".join(spec(text, name=f"p{at}") for at, text in enumerate([WORDS, GUARDED]))
    assert documents(source)
    told = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            input=source,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
        ).stdout
        for seed in ("0", "1", "2", "77")
    }
    assert len(told) == 1, told
