"""
What documents and requests come to, as data: every file of ``decisions/``, through the engine and through ``eval``.

A file has ``documents`` (a stream of them), ``now`` (of the first step) and ``steps``, decided in order on one
partition. A step has a ``name``, a ``request`` (merged over a small one), ``after_s`` (event time since the step
before), and what to ``expect``: verdict, http, codes, warnings, errors (rules), edits (parts of them), retry_after_ms,
same_as (the id of an earlier request, whose decision it gets again) and rows (budgets, all of an account if {}).
"""

import json
from datetime import datetime
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from enforcer import events, policy, state
from enforcer.cli.main import run
from enforcer.engine import Arrival, Engine

FILES = sorted((Path(__file__).parent / "decisions").glob("*.yaml"))
NOW = "2026-11-23T12:00:00Z"
REQUEST = {
    "tenant": "acme",
    "team": {"id": "t1", "tier": "gold"},
    "llm": {"provider": "openai", "model": "gpt-4o", "max_tokens": 100, "prompt": "hi"},
}


def merged(base, over):
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    found = {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}
    if "messages" in over:
        found.pop("prompt", None)
    return found


def read(path):
    loaded = YAML(typ="safe").load(path.read_text())
    for step in loaded["steps"]:
        step["request"] = merged(REQUEST, step["request"])
    return loaded


def programs(text):
    loaded = policy.load([("documents", text)])
    assert not loaded.has_errors, [str(finding) for finding in loaded.findings]
    scopes = {document.scope for document in loaded.documents}
    compiled = {scope: policy.compile_scope(loaded.documents, scope) for scope in scopes}
    return lambda name: policy.compile_tenant(compiled.get("*"), compiled.get(name), name)


def check(name, expect, decision, before):
    """One step's expectations of a decision in its JSON form."""
    found = {
        "verdict": decision["verdict"],
        "http": decision["http_status"],
        "codes": [reason["code"] for reason in decision["reasons"]],
        "warnings": [reason["code"] for reason in decision["warnings"]],
        "errors": [error["rule"] for error in decision["errors"]],
        "retry_after_ms": decision["retry_after_ms"],
    }
    for key, value in expect.items():
        if key in found:
            assert found[key] == value, f"{name}: {key}"
        elif key == "same_as":
            assert decision == before[value], name
        elif key == "edits":
            told = [
                {part: edit[part] for part in wanted}
                for edit, wanted in zip(decision["edits"], value, strict=True)
            ]
            assert told == value, name
        else:
            assert key == "rows", f"{name}: nothing is known of {key}"


def check_rows(name, expected, rows):
    found = {
        key: {"spent_usd": row.spent_usd_nano / 1e9, "reserved_usd": row.reserved_usd_nano / 1e9}
        for key, row in rows.items("b/")
    }
    if not expected:
        assert found == {}, name
    for key, row in expected.items():
        assert found.get(key) == row, f"{name}: {key}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("form", ["json", "avro"])
def test_decisions_are_as_written(path, form):
    """Each step, in JSON and in Avro, with the rows after it."""
    case = read(path)
    engine, rows, queue = Engine(), state.MemoryRows(), state.ExpiryQueue()
    program_of = programs(case["documents"])
    at = datetime.fromisoformat(case.get("now", NOW))
    now_us = int(at.timestamp()) * 1_000_000
    before = {}
    for offset, step in enumerate(case["steps"]):
        now_us += step.get("after_s", 0) * 1_000_000
        value = json.dumps(step["request"]).encode()
        if form == "avro":
            value = events.encode(events.request_from_json(value))
        source = events.Source("cases", 0, offset, 0, 0, 0)
        arrival = Arrival(None, value, source, now_us, now_us)
        outcome = engine.request(program_of, arrival, rows, queue)
        decision = events.to_json(events.read_decision(outcome.value))
        check(step["name"], step["expect"], decision, before)
        before.setdefault(step["request"]["id"], decision)
        if "rows" in step["expect"]:
            check_rows(step["name"], step["expect"]["rows"], rows)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_eval_decides_as_the_engine_does(path, tmp_path, capsys):
    """The same steps through the command line, as far as they stand at one time."""
    case = read(path)
    steps = []
    for step in case["steps"]:
        if step.get("after_s"):
            break
        steps.append(step)
    (tmp_path / "documents.yaml").write_text(case["documents"])
    (tmp_path / "requests.jsonl").write_text("\n".join(json.dumps(s["request"]) for s in steps))
    now = case.get("now", NOW)
    arguments = [
        "--policies",
        tmp_path / "documents.yaml",
        "--input",
        tmp_path / "requests.jsonl",
        "--now",
        now,
    ]
    assert run(["eval", *map(str, arguments)]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    before = {}
    for step, decision in zip(steps, told, strict=True):
        check(step["name"], step["expect"], decision, before)
        before.setdefault(step["request"]["id"], decision)
