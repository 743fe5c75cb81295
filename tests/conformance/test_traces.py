"""A trace is of what was decided: walked term by term, generated policies come to what their program came to."""

from __future__ import annotations

import json

import policy_worlds as worlds
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer import policy
from enforcer.policy.tracing import Asked, trace_policies, traced_policies


def rules_with(traces, status):
    """Policy and rule of all that the walk gave *status*."""
    return {
        (trace.policy, rule.rule)
        for trace in traces
        for rule in trace.rules
        if rule.status == status
    }


@given(worlds.policies(worlds.CONDITIONS), worlds.REQUESTS, worlds.FACTS, st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_the_walk_and_the_program_agree(specs, data, facts, now_us):
    """
    Rule for rule: what matched, what erred; a policy that the index passed over matches nothing when walked.
    """
    loaded = policy.load([("p.json", json.dumps(specs))])
    request = worlds.request(data)
    evaluation = worlds.program(specs).evaluate(request, facts, now_us=now_us)
    policies = traced_policies(loaded.documents, "acme")
    every = frozenset(each.name for each in policies)
    traces = trace_policies(policies, Asked(request, facts, now_us), every)
    erred = {(each.policy, each.rule) for each in evaluation.errors if each.rule}
    matched = {(each.policy, each.rule) for each in evaluation.matches}
    assert rules_with(traces, "error") == erred
    assert rules_with(traces, "matched") == matched - erred
