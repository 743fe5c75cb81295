"""Which edits a rule may carry, by operation, path and value."""

from __future__ import annotations

import json

import pytest
from policy_sources import load, spec

from enforcer import detect, policy

CODES = {
    "fine": [
        {"set": "llm.model", "value": "m"},
        {"set": "llm.temperature", "value": 1},
        {"set": "llm.stream", "value": True},
        {"set": "llm.prompt", "value": "text"},
        {"set": "llm.messages[0].content", "value": "text"},
        {"set": "llm.messages", "value": [{"role": "user", "content": "x"}]},
        {"set": "llm.tool_choice", "value": {"type": "none"}},
        {"set": "llm.tools", "value": [{"type": "function"}]},
        {"set": "attributes.x", "value": ["a"]},
        {"set": 'attributes["a.b"]', "value": False},
        {"remove": "llm.max_tokens"},
        {"remove": "llm.tools"},
        {"remove": "llm.tools[0]"},
        {"remove": "attributes.x"},
        {"cap": "llm.max_tokens", "value": 5},
        {"cap": "llm.temperature", "value": 0.5},
        {"cap": "attributes.x", "value": 5},
        {"append": "llm.tools", "value": {"type": "function"}},
        {"append": "attributes.tags", "value": "a"},
        {"redact": "llm"},
        {"redact": "llm.messages[0].content", "types": ["name"]},
        {"redact": "llm", "types": ["pii", "secrets", "name"], "style": "mask"},
        {"redact": "llm", "types": ["github_token", "private_key"], "style": "remove"},
    ],
    "ENF0203": [
        {"put": "llm.model", "value": "m"},
        "set",
        {"cap": "llm.max_tokens", "value": "5"},
        {"cap": "llm.max_tokens", "value": True},
        {"redact": "llm.messages", "types": []},
    ],
    "ENF0202": [{"set": "llm.model"}, {"append": "llm.tools"}],
    "ENF0201": [{"remove": "llm.max_tokens", "value": 1}],
    "ENF0403": [{"set": "llm.modell", "value": "m"}],
    "ENF0502": [
        {"set": "llm.input_tokens", "value": 1},
        {"set": "pii.types", "value": []},
        {"set": "now", "value": 1},
        {"set": "llm", "value": {}},
        {"set": "raw.x", "value": 1},
        {"set": "tenant", "value": "other"},
        {"set": "attributes", "value": {}},
        {"remove": "user.email"},
        {"remove": "llm.provider"},
        {"remove": "llm.stream"},
        {"cap": "llm.model", "value": 1},
        {"cap": "attempt", "value": 1},
        {"append": "llm.model", "value": "m"},
        {"append": "user.roles", "value": "m"},
        {"redact": "llm.model"},
        {"redact": "attributes.x"},
    ],
    "ENF0503": [
        {"set": "llm.model", "value": 1},
        {"set": "llm.model", "value": None},
        {"set": "llm.max_tokens", "value": 1.5},
        {"set": "llm.max_tokens", "value": True},
        {"set": "llm.stream", "value": "yes"},
        {"set": "llm.messages", "value": [{"roles": "user"}]},
        {"set": "attributes.x", "value": {"a": 1}},
        {"set": "attributes.x", "value": [1]},
        {"cap": "llm.max_tokens", "value": 1.5},
        {"append": "llm.messages", "value": "text"},
        {"append": "attributes.tags", "value": 1},
    ],
    "ENF0507": [{"redact": "llm", "style": "hash"}, {"redact": "llm", "style": "pseudonym"}],
    "ENF0505": [{"redact": "llm.messages", "types": ["email", "e-mail"]}],
}
CASES = [(code, edit) for code, edits in CODES.items() for edit in edits]


@pytest.mark.parametrize(("code", "edit"), CASES, ids=[json.dumps(each) for _, each in CASES])
def test_an_edit_is_fine_or_has_its_finding(code, edit):
    """
    Edits change the call and attributes, with values that can stand there; nothing else.
    """
    rules = [{"id": "r", "then": {"verdict": "modify", "edits": [edit]}}]
    codes = [each.code for each in load(spec("rules: " + json.dumps(rules))).findings]
    assert codes == ([] if code == "fine" else [code])


def test_a_key_makes_every_style_fine():
    """Where workers are given a key, hashes and pseudonyms are no findings."""
    edits = "[{redact: llm, style: hash}, {redact: llm, types: [secrets], style: pseudonym}]"
    text = spec(f"rules: [{{id: r, then: {{verdict: modify, edits: {edits}}}}}]")
    assert not load(text, has_redaction_key=True).findings
    assert len(load(text).findings) == 2


def test_a_group_of_kinds_is_its_kinds():
    """`secrets` stands for every kind of secret, `pii` for the default kinds of personal data."""
    edits = "[{redact: llm, types: [secrets, email]}, {redact: llm, types: [pii]}, {redact: llm}]"
    loaded = load(spec(f"rules: [{{id: r, then: {{verdict: modify, edits: {edits}}}}}]"))
    (code,) = policy.compile_scope(loaded.documents, "acme").policies
    secrets, default, none = (set(each.kinds or ()) for each in code.rules[0].match.edits)
    assert secrets == detect.combined.SECRETS | {"email"}
    assert default == detect.pii.DEFAULT
    assert not none


def test_an_append_to_an_attribute_is_kept():
    """An edit that checks is an edit of the rule: text appended to an attribute, too."""
    edits = [{"append": "attributes.tags", "value": "a"}]
    rules = [{"id": "r", "then": {"verdict": "modify", "edits": edits}}]
    loaded = load(spec("rules: " + json.dumps(rules)))
    (code,) = policy.compile_scope(loaded.documents, loaded.documents[0].scope).policies

    assert code.rules[0].match.edits == (policy.EditSpec("append", "attributes.tags", "a"),)
