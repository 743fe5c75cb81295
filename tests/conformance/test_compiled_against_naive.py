"""The compiled code against the naive evaluator, over generated policies, requests and facts."""

from __future__ import annotations

import naive_evaluator
import policy_worlds as worlds
from hypothesis import given, settings


@settings(max_examples=400, deadline=None)
@given(documents=worlds.policies(), request=worlds.REQUESTS, facts=worlds.FACTS)
def test_compiled_policies_decide_as_the_law_reads(documents, request, facts):
    """
    Matches, their order, and the set of errors are those of the naive evaluator.
    """
    program = worlds.program(documents)
    evaluation = program.evaluate(worlds.request(request), facts)
    assert worlds.told(evaluation) == naive_evaluator.evaluate(
        documents, request, facts.as_json()
    )


@settings(max_examples=200, deadline=None)
@given(condition=worlds.CONDITIONS, request=worlds.REQUESTS, facts=worlds.FACTS)
def test_one_condition_has_the_value_of_the_law(condition, request, facts):
    """
    True, false and error of a single condition are those of the naive evaluator, under not as well.
    """
    for each in (condition, {"operator": "not", "conditions": [condition]}):
        document = worlds.document("p", {"rules": [{"id": "r", "then": "warn", "condition": each}]})
        evaluation = worlds.program([document]).evaluate(
            worlds.request({**request, "phase": "request"}), facts
        )
        expected = naive_evaluator.outcome(each, {**request, "phase": "request"}, facts.as_json())
        found = True if evaluation.matches else None if evaluation.errors else False
        assert found is expected
