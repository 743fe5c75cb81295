"""The compiled code against the naive evaluator, over generated policies, requests and facts."""

from __future__ import annotations

import itertools

import naive_evaluator
import policy_worlds as worlds
import pytest
from hypothesis import given, settings

# Every kind of value and literal, and the neighbours that a careless comparison confuses.
VALUES = [
    None, True, False, 0, 1, 2, -1, 0.0, 1.0, 2.5, "", "a", "ab", "b", "1", "true", "null", [], ["a"],
    ["a", "b"], ["1"],
]  # fmt: skip
LITERALS = [*VALUES, [1, True], [None], {}, {"a": 1}, {"a": True}, {"a": "a"}]


def comparisons(field):
    """Every operator with every literal it takes over *field*, by the name of its rule."""
    found = [{"operator": "exists", "field": field}]
    for literal in LITERALS:
        names = ["eq", "ne", "contains", "not_contains"]
        is_number = isinstance(literal, (int, float)) and not isinstance(literal, bool)
        if is_number or isinstance(literal, str):
            names += ["gt", "gte", "lt", "lte"]
        if isinstance(literal, str):
            names += ["matches"]
        if isinstance(literal, list):
            names += ["in", "not_in"]
        found += [{"operator": name, "field": field, "value": literal} for name in names]
    return {f"r{at}": condition for at, condition in enumerate(found)}


def _verdicts(conditions, evaluation):
    matched = {match.rule for match in evaluation.matches}
    erred = {error.rule for error in evaluation.errors}
    return {id_: None if id_ in erred else id_ in matched for id_ in conditions}


def check_all(conditions, requests, facts=None):
    """Compiled and naive agree on every one of *conditions* for every one of *requests*."""
    rules = [{"id": id_, "then": "warn", "condition": each} for id_, each in conditions.items()]
    program = worlds.program([worlds.document("p", {"rules": rules})])
    facts = facts or worlds.Facts()
    for request in requests:
        found = _verdicts(conditions, program.evaluate(worlds.request(request), facts))
        for id_, condition in conditions.items():
            expected = naive_evaluator.outcome(condition, request, facts.as_json())
            assert found[id_] is expected, (condition, request)


def request_with(**fields):
    """A request with *fields* at the top."""
    return {"id": "r", "tenant": "acme", "llm": {"provider": "p", "model": "m"}, **fields}


def test_every_operator_on_every_attribute_and_literal():
    """
    Each operator, over values and literals of every type and an absent field, says what the law says.
    """
    requests = [request_with()]
    requests += [request_with(attributes={"x": value}) for value in VALUES]
    check_all(comparisons("attributes.x"), requests)


def test_every_operator_on_every_raw_value_and_literal():
    """
    The same over the raw request, which may hold maps and lists of anything.
    """
    requests = [request_with(extra=value) for value in LITERALS]
    check_all(comparisons("raw.extra"), [request_with(), *requests])


DECLARED = {
    "user.id": [None, "", "a", "ab", "1"],
    "llm.model": ["a", "ab", "1"],
    "llm.max_tokens": [None, 0, 1, 2],
    "llm.temperature": [None, 0.0, 1.0, 2.5],
    "llm.stream": [True, False],
    "user.roles": [[], ["a"], ["a", "b"], ["1"]],
}


@pytest.mark.parametrize("path", DECLARED)
def test_every_operator_on_declared_fields(path):
    """
    On fields of known type, where the compiler writes shorter code, every operator says the same.
    """
    conditions = {
        id_: condition
        for id_, condition in comparisons(path).items()
        if not worlds.load_one(condition).has_errors
    }
    assert len(conditions) > 40
    group, name = path.split(".")
    requests = [request_with()]
    for value in DECLARED[path]:
        request = request_with()
        request.setdefault(group, {})
        request[group] = {**request[group], name: value}
        requests.append(request)
    check_all(conditions, requests)


FACT_PATHS = [
    "llm.prompt", "llm.input_tokens", "llm.estimated_cost_usd", "pii.types", "pii.count",
    "pii.counts", "pii.counts.email", "llm.max_output_tokens",
]  # fmt: skip


@pytest.mark.parametrize("path", FACT_PATHS)
def test_every_operator_on_facts(path):
    """
    On derived facts every operator says the same, an unknown price included, which is absent.
    """
    conditions = {
        id_: condition
        for id_, condition in comparisons(path).items()
        if not worlds.load_one(condition).has_errors
    }
    for facts in (
        worlds.Facts(),
        worlds.Facts("ab", 1, 2, 2.5, {"email": 1}),
        worlds.Facts("1", 2, 1, 1.0, {"email": 2, "phone": 1}),
    ):
        check_all(conditions, [request_with()], facts)


def test_chains_absorb_errors_in_any_order():
    """
    and, or and not over true, false and error, in every order, four levels deep.
    """
    true = {"operator": "exists", "field": "attributes.x"}
    false = {"operator": "exists", "field": "attributes.y"}
    error = {"operator": "gt", "field": "attributes.x", "value": 1}
    leaves = [true, false, error]
    pairs = [
        {"operator": name, "conditions": list(terms)}
        for name in ("and", "or")
        for terms in itertools.product(leaves, repeat=2)
    ]
    negated = [{"operator": "not", "conditions": [each]} for each in [*leaves, *pairs]]
    terms = [*leaves, *pairs, *negated]
    nested = [
        {"operator": name, "conditions": [one, other]}
        for name in ("and", "or")
        for one, other in [*itertools.product(terms, leaves), *itertools.product(leaves, terms)]
    ]
    deeper = [
        {"operator": name, "conditions": [leaf, each]}
        for name in ("and", "or")
        for leaf in leaves
        for each in nested[::2]
    ]
    conditions = {f"r{at}": each for at, each in enumerate([*terms, *nested, *deeper])}
    ids = list(conditions)
    for start in range(0, len(ids), 200):  # A document has its limits.
        part = {id_: conditions[id_] for id_ in ids[start : start + 200]}
        check_all(part, [request_with(attributes={"x": "a"})])


@settings(max_examples=300, deadline=None)
@given(documents=worlds.policies(worlds.TERMS), request=worlds.TERM_REQUESTS, facts=worlds.FACTS)
def test_compiled_policies_decide_as_the_law_reads(documents, request, facts):
    """
    Matches, their order, and the set of errors are those of the naive evaluator.
    """
    evaluation = worlds.program(documents).evaluate(worlds.request(request), facts)
    expected = naive_evaluator.evaluate(documents, request, facts.as_json())
    assert worlds.told(evaluation) == expected


@settings(max_examples=150, deadline=None)
@given(condition=worlds.CONDITIONS, request=worlds.REQUESTS, facts=worlds.FACTS)
def test_any_condition_has_the_value_of_the_law(condition, request, facts):
    """
    True, false and error of generated conditions over all fields are those of the naive evaluator.
    """
    request = {**request, "phase": "request"}
    check_all({"r1": condition}, [request], facts)
