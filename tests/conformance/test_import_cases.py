"""The existing engine's own cases, imported: what the report calls exact decides as it did there."""

from __future__ import annotations

import json

import policy_worlds as worlds
from test_seed_engine_cases import cases, check_decision, facts_of, request_of

from enforcer import policy
from enforcer.policy.formatting import formatted
from enforcer.policy.importing import import_source


def imported(document):
    """The program of an imported document, and the lines of its rules; what is written checks and is laid out."""
    found = import_source("case.json", json.dumps(document))
    assert found.findings == ()
    loaded = policy.load([("imported.yaml", found.text)])
    assert not loaded.has_errors, [str(each) for each in loaded.findings]
    assert formatted("imported.yaml", found.text)[0] == found.text
    program = policy.compile_tenant(policy.compile_scope(loaded.documents, "*"), None, "acme")
    return program, [line for line in found.lines if line.rule]


def outcome(case):
    """Status of the one rule, and what it comes to: True, False, or "error"."""
    rule = {"id": "r", "condition": case["policy"]["condition"], "action": {"decision": "deny"}}
    program, (line,) = imported({"metadata": {"id": "p"}, "status": "active", "rules": [rule]})
    request = worlds.request(request_of(case["context"]))
    evaluation = program.evaluate(request, facts_of(case["context"]))
    return line.status, "error" if evaluation.errors else bool(evaluation.matches)


def test_exact_means_the_same_answer(shared_data):
    """
    Of its 66 condition cases none that the report calls exact differs, and few are not possible.

    Most read fields that no request declares, and say so.
    """
    statuses = []
    for case in cases(shared_data, "condition"):
        status, ours = outcome(case)
        statuses.append(status)
        expected = case["expected"].get("result")
        if status == "exact" and expected is not None:
            assert ours is expected, case["test"]
        if status == "not possible":
            assert ours is False, case["test"]
    assert statuses.count("exact") >= 5
    assert statuses.count("not possible") <= 8


def test_imported_decisions_are_the_same(shared_data):
    """
    Its evaluate cases end in the same verdict, reason and edits after import.
    """
    for case in cases(shared_data, "engine"):
        if case["method"] == "evaluate":
            program, _ = imported(case["policy"])
            context = {key: value for key, value in case["context"].items() if key != "request"}
            evaluation = program.evaluate(worlds.request(request_of(context)), facts_of(context))
            check_decision(case["expected"], evaluation.matches)
