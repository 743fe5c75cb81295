"""The largest legal documents compile, on every supported Python: chains, nesting, macros, hostile text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_sources import Facts, documents, load, program, request, spec

from enforcer import policy

CHAIN_TERMS = 3_000
pytestmark = pytest.mark.no_cover


def document(**rule):
    """A policy of one rule, as JSON."""
    body = {"rules": [{"id": "r", "then": "warn", **rule}]}
    metadata = {"id": "p", "tenant": "acme"}
    return json.dumps(
        {"apiVersion": "enforcer/v1", "kind": "Policy", "metadata": metadata, "spec": body}
    )


def matches(text, **fields):
    """Whether the rule matches a request."""
    found = program(text).evaluate(request(**fields), Facts())
    assert not found.errors, found.errors
    return bool(found.matches)


@pytest.mark.parametrize("sign", ["&&", "||"])
@pytest.mark.parametrize(
    "term", ['llm.model == "m{at}"', 'llm.model.startsWith("m{at}")', "!(llm.n > {at})"]
)
def test_a_chain_of_thousands_of_terms(sign, term):
    """A chain counts as one level, however long, and whatever its terms are."""
    text = f" {sign} ".join(term.format(at=at) for at in range(CHAIN_TERMS))
    assert matches(document(when=text), llm={"model": f"m{CHAIN_TERMS - 1}"}) is (sign == "||")


def test_a_structured_chain_of_thousands_of_terms():
    """The same in the other notation."""
    terms = [
        {"operator": "eq", "field": "llm.model", "value": f"m{at}"} for at in range(CHAIN_TERMS)
    ]
    condition = {"operator": "or", "conditions": terms}
    assert matches(document(condition=condition), llm={"model": "m2999"})


def test_two_hundred_parentheses():
    """Parentheses alone are no levels."""
    assert matches(document(when="(" * 200 + "llm.n == 1" + ")" * 200))


def test_twenty_macros_within_each_other():
    """Each macro is a loop; what would nest deeper than Python allows becomes a function."""
    text = 'llm.model == "gpt-4o"'
    for at in range(20):
        text = f"user.roles.exists(x{at}, {text})"
    assert matches(document(when=text), user={"roles": ["a"]})
    assert not matches(document(when=text), user={"roles": []})


def test_the_deepest_alternation_of_both_chains():
    """60 levels of && in || in && compile into variables, not into indents."""
    text = "llm.n == 1"
    for at in range(30):
        text = f"(({text}) && llm.n < {at + 2} || llm.stream)"
    assert matches(document(when=text))


def test_variables_cannot_make_an_expression_without_bound():
    """Each variable doubles the one before: beyond the bound it is a finding, at once."""
    lines = ["v0: llm.n == 1"] + [
        f"v{at}: v{at - 1} && v{at - 1} || v{at - 1}" for at in range(1, 40)
    ]
    body = "variables:\n" + "\n".join(f"  {each}" for each in lines)
    loaded = load(spec(f"{body}\nrules: [{{id: r, then: deny, when: v39}}]"))
    assert {each.code for each in loaded.findings if each.severity == "error"} <= {
        "ENF0702",
        "ENF0706",
    }
    assert loaded.has_errors


HOSTILE = [
    "'); import os; ('", "__import__('os').system('x')", "\\", '"""', "\n\nraise SystemExit", "{x}", "%s",
    "hits", "denied", "request", "ERRORS", "\N{NULL}", "{{ llm.model }}",
]  # fmt: skip


@pytest.mark.parametrize("hostile", HOSTILE)
def test_literals_and_keys_of_an_author_stay_data(hostile):
    """What stands in a literal, a key, an id of a variable or a reason is never code."""
    quoted = json.dumps(hostile)
    if "\N{NULL}" not in hostile:
        assert matches(
            document(when=f"{quoted} == {quoted} && [{quoted}].exists(hits, hits == {quoted})")
        )
    attributes = {hostile: "v"}
    condition = {"operator": "eq", "field": f"attributes[{quoted}]", "value": "v"}
    assert matches(document(condition=condition), attributes=attributes)


def test_the_code_knows_no_name_of_an_author():
    """Names of variables and macros occur in no name of the generated code."""
    text = spec(
        "variables: {os_system: 'user.roles.exists(eval_this, eval_this == llm.model)'}\n"
        "rules: [{id: r, then: deny, when: os_system}]"
    )
    (code,) = policy.compile_scope(documents(text), "acme").policies
    names = {*code.run.__code__.co_names, *code.run.__code__.co_varnames}
    assert not [each for each in names if "eval_this" in each or "os_system" in each]


LEAVES = st.sampled_from(
    ['llm.model == "a"', "attributes.x > 1", "has(attributes.x)", "llm.n == 1", "attributes.x + 1 > 2",
     'user.roles.exists(r, r == "a")', "llm.stream", 'user.id == "u"', "user.id.size() > 1"]
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda below: st.one_of(
        st.tuples(st.sampled_from([" && ", " || "]), st.lists(below, min_size=2, max_size=4)).map(
            lambda found: "(" + found[0].join(found[1]) + ")"
        ),
        below.map(lambda inner: f"!({inner})"),
        st.tuples(below, below, below).map(lambda f: f"({f[0]} ? {f[1]} : {f[2]})"),
    ),
    max_leaves=12,
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "attributes": st.fixed_dictionaries({}, optional={"x": st.sampled_from([0, 2, "a", None])}),
        "user": st.fixed_dictionaries(
            {}, optional={"id": st.sampled_from(["u", "uu"]), "roles": st.just(["a"])}
        ),
        "llm": st.fixed_dictionaries({}, optional={"model": st.sampled_from(["a", "b"])}),
    },
)


@settings(max_examples=150, deadline=None)
@given(text=TREES, fields=REQUESTS)
def test_the_skeleton_says_what_the_whole_expression_says(text, fields):
    """Lowered into tests and leaves or compiled as one leaf, an expression has the same of three values."""
    found = program(document(when=text)).evaluate(request(**fields), Facts())
    whole = program(document(when=f"[true].exists(x, x && ({text}))")).evaluate(
        request(**fields), Facts()
    )
    assert (len(found.matches), len(found.errors)) == (len(whole.matches), len(whole.errors)), text
