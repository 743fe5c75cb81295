"""Policies with expressions against the naive evaluator: both notations, variables, macros, optionals, errors."""

from __future__ import annotations

import json

import naive_evaluator
import naive_expressions
import policy_worlds as worlds
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from enforcer import policy

NOW_US = 1_767_225_600_000_000 + 5 * 3_600_000_000
VARIABLES = {
    "low": "llm.prompt.lowerAscii()",
    "who": 'user.?id.orValue("none")',
    "words": 'low.split("a")',
    "risky": 'who.contains("a") || attributes.x > 1',
    "count": "size(words) + llm.n",
    "third": "words[2]",
}
TEXTS = ["llm.model", "llm.prompt", "user.id", "team.tier", "project.environment", "user.roles[0]", "phase",
         '"a"', '"b"', '"ab"', '""', "low", "who", "third"]  # fmt: skip
NUMBERS = ["llm.max_tokens", "llm.n", "llm.input_tokens", "pii.count", "pii.counts.email", "attempt", "0", "1", "2",
           "9223372036854775807", "count", "size(user.roles)", "size(low)", "now.getHours()"]  # fmt: skip
DOUBLES = ["llm.temperature", "llm.estimated_cost_usd", "1.0", "2.5"]
LISTS = ["user.roles", "user.permissions", "pii.types", "words", '["a", "b"]']
DYNAMIC = ["attributes.x", "attributes.y", 'attributes["a.b"]']
OPTIONAL = ["user.id", "team.tier", "llm.max_tokens", "llm.temperature", "attributes.x"]


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts one after another."""
    return st.tuples(*parts).map(" ".join)


def texts(depth: int) -> st.SearchStrategy[str]:
    """Expressions of type string."""
    leaf = st.sampled_from(TEXTS)
    if not depth:
        return leaf
    below, number = texts(depth - 1), numbers(depth - 1)
    return st.one_of(
        leaf,
        joined(below, st.just("+"), below).map("({})".format),
        below.map("{}.lowerAscii()".format),
        st.tuples(below, number).map(lambda t: f"{t[0]}.substring({t[1]})"),
        st.tuples(below, below).map(lambda t: f'{t[0]}.replace({t[1]}, "x")' if t[1] != '""' else t[0]),
        number.map("string({})".format),
        st.tuples(st.sampled_from(LISTS), number).map(lambda t: f"{t[0]}[{t[1]}]"),
        st.tuples(conditions(depth - 1), below, below).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
    )  # fmt: skip


def numbers(depth: int) -> st.SearchStrategy[str]:
    """Expressions of type int."""
    leaf = st.sampled_from(NUMBERS)
    if not depth:
        return leaf
    below, text = numbers(depth - 1), texts(depth - 1)
    return st.one_of(
        leaf,
        joined(below, st.sampled_from(["+", "-", "*", "/", "%"]), below).map("({})".format),
        below.map("-({})".format),
        text.map("int({})".format),
        st.tuples(text, text).map(lambda t: f"{t[0]}.indexOf({t[1]})"),
        below.map("math.abs({})".format),
        st.just("llm.?max_tokens.orValue(1)"),
    )


def relations(depth: int) -> st.SearchStrategy[str]:
    """Comparisons."""
    text, number = texts(depth), numbers(depth)
    sign = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    return st.one_of(
        joined(text, sign, text),
        joined(number, sign, number),
        joined(st.sampled_from(DOUBLES), sign, st.one_of(st.sampled_from(DOUBLES), number)),
        joined(st.sampled_from(DYNAMIC), sign, st.one_of(text, number)),
        joined(text, st.just("in"), st.sampled_from([*LISTS, "attributes"])),
        st.tuples(text, st.sampled_from(["contains", "startsWith", "endsWith"]), text).map(
            lambda t: f"{t[0]}.{t[1]}({t[2]})"
        ),
        st.tuples(text, st.sampled_from(worlds.PATTERNS)).map(lambda t: f'{t[0]}.matches("{t[1]}")'),
        st.sampled_from(OPTIONAL).map("has({})".format),
        joined(st.just("now"), st.sampled_from(["<", ">="]), st.just('timestamp("2026-01-01T04:00:00Z")')),
        st.sampled_from(["risky", "llm.stream", "true"]),
    )  # fmt: skip


def conditions(depth: int) -> st.SearchStrategy[str]:
    """Expressions of type bool."""
    leaf = relations(max(0, depth - 1))
    if not depth:
        return leaf
    below = conditions(depth - 1)
    over = st.sampled_from(["r == {}", "r in [{}]", "r.contains({})", "{}.contains(r) && r != low"])
    return st.one_of(
        leaf,
        st.lists(below, min_size=2, max_size=3).map(" && ".join).map("({})".format),
        st.lists(below, min_size=2, max_size=3).map(" || ".join).map("({})".format),
        below.map("!({})".format),
        st.tuples(below, below, below).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
        st.tuples(st.sampled_from(LISTS), st.sampled_from(["exists", "all", "exists_one"]), over, texts(0)).map(
            lambda t: f"{t[0]}.{t[1]}(r, {t[2].format(t[3])})"
        ),
        st.tuples(st.sampled_from(LISTS), over, texts(0), numbers(0)).map(
            lambda t: f"size({t[0]}.filter(r, {t[1].format(t[2])})) > {t[3]}"
        ),
        st.tuples(texts(1), texts(0)).map(lambda t: f"cel.bind(b, {t[0]}, b == {t[1]} || b.contains({t[1]}))"),
    )  # fmt: skip


# Few, so that rules of a policy often ask for the same.
SHARED = st.sampled_from(
    ["risky", 'low.contains("a")', "!risky && count > 2", 'third == "a"', 'words.exists(w, w == "b")', "third != who",
     "user.roles.exists(r, r.lowerAscii() == who)", '"email" in pii.types', 'llm.prompt.matches("a.*b")',
     '"phone" in pii.types || pii.count > 1', "size(words.map(w, w + low)) > 1", 'has(user.id) && user.id.contains("b")']
)  # fmt: skip
CONDITIONS = (SHARED, conditions(1), conditions(2))


@st.composite
def any_condition(draw: st.DrawFn) -> str:
    """One of these; a strategy of its own, for what Hypothesis would write of the others fills pages."""
    return draw(CONDITIONS[draw(st.integers(0, 2))])


@st.composite
def policies(draw: st.DrawFn) -> list[dict]:
    """Policies whose conditions are of either notation."""
    both = st.one_of(any_condition(), any_condition(), worlds.TERMS)
    found = draw(worlds.policies(both))
    for each in found:
        spec = each["spec"]
        spec["variables"] = VARIABLES
        for rule in spec["rules"]:
            if isinstance(rule.get("condition"), str):
                rule["when"] = rule.pop("condition")
    return found


def reader_of(request: dict, facts: dict):
    """What reads the expressions of a policy on a request."""

    def of(spec: dict):
        world = naive_expressions.World(request, facts, spec.get("variables", {}), NOW_US)
        return lambda text: naive_expressions.holds(text, world)

    return of


def compiled(documents: list[dict]) -> policy.TenantProgram:
    """The program; conditions that the types refuse are another test's."""
    loaded = policy.load([("policies.json", json.dumps(documents))])
    assume(not loaded.has_errors)
    return policy.compile_tenant(None, policy.compile_scope(loaded.documents, "acme"), "acme")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents=policies(), request=worlds.REQUESTS, facts=worlds.FACTS)
def test_compiled_policies_decide_as_the_law_reads_in_both_notations(documents, request, facts):
    """Matches, their order and the set of errors are the naive evaluator's, whatever rules have in common."""
    found = compiled(documents).evaluate(worlds.request(request), facts, now_us=NOW_US)
    known = facts.as_json()
    expected = naive_evaluator.evaluate(documents, request, known, reader_of(request, known))
    assert worlds.told(found) == expected


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(texts=st.lists(any_condition(), min_size=1, max_size=5), request=worlds.REQUESTS, facts=worlds.FACTS)  # fmt: skip
def test_any_expressions_have_the_values_of_the_law(texts, request, facts):
    """True, false and error of each of several expressions, compiled into one function."""
    request = {**request, "phase": "request"}
    rules = [{"id": f"r{at}", "then": "warn", "when": text} for at, text in enumerate(texts)]
    spec = {"rules": rules, "variables": VARIABLES}
    evaluation = compiled([worlds.document("p", spec)]).evaluate(
        worlds.request(request), facts, now_us=NOW_US
    )
    matched = {each.rule for each in evaluation.matches}
    erred = {each.rule for each in evaluation.errors}
    reader = reader_of(request, facts.as_json())(spec)
    for rule in rules:
        value = naive_evaluator.outcome(rule["when"], request, {}, reader)
        said = None if rule["id"] in erred else rule["id"] in matched
        assert said is value, rule["when"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('team.tier == "a"', False),
        ('team.tier != "a"', True),
        ('team.tier in ["a"]', False),
        ("team.tier == user.id", False),
        ('team.tier < "a"', None),
        ('team.tier < "a" || llm.n == 1', True),
        ("llm.n / (llm.n - 1) > 0", None),
        ('user.roles.exists(r, r == "a")', False),
        ('user.roles.all(r, r == "a")', True),
        ("third == who", None),
        ("attributes.x == third", None),
        ("third != attributes.x", None),
    ],
)
def test_the_naive_evaluator_knows_the_law(text, value):
    """The oracle itself, on cases worked out by hand: a request with nothing but a model."""
    request = {"id": "r", "tenant": "acme", "llm": {"provider": "p", "model": "m"}}
    read = reader_of(request, worlds.Facts().as_json())({"variables": VARIABLES})
    assert naive_evaluator.outcome(text, request, {}, read) is value
