"""``enforcer eval --trace``: what each rule looked at, what its parts came to, and what was skipped and why."""

import json

import pytest

from enforcer.cli.main import run

POLICIES = """\
apiVersion: enforcer/v1
kind: Policy
metadata: {id: a-guard, tenant: acme}
spec:
  priority: 2
  match: project.environment == "production"
  rules:
    - id: long
      when: size(llm.prompt) > 3 + size(user.roles) && llm.model in ["gpt-4o"]
      then: deny
      code: LEN-1
    - {id: quiet, then: warn}
---
apiVersion: enforcer/v1
kind: Policy
metadata: {id: b-notes, tenant: acme}
spec:
  unless: '"security" in user.roles'
  rules:
    - {id: note, condition: {operator: eq, field: attributes.note, value: x}, then: warn}
    - {id: level, condition: {operator: gt, field: attributes.level, value: 3}, then: deny}
"""
WORDS = "Sphinx of black quartz"


def request(name, **fields):
    """A request in JSON."""
    llm = {"provider": "openai", "model": "gpt-4o", "max_tokens": 10, "prompt": WORDS}
    return {"id": name, "tenant": "acme", "llm": llm, **fields}


@pytest.fixture
def evaluated(tmp_path, capsys):
    """Decide requests; the output."""

    def call(*requests, arguments=("--trace",)):
        (tmp_path / "p.yaml").write_text(POLICIES)
        (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(each) for each in requests))
        paths = ["--policies", tmp_path / "p.yaml", "--input", tmp_path / "r.jsonl"]
        code = run(["eval", *map(str, paths), "--now", "2026-11-23", *arguments])
        assert code == 0
        return capsys.readouterr().out

    return call


PRODUCTION = request("r1", project={"environment": "production"})


def policies(out):
    """The trace of the first decision, by policy."""
    return {each["policy"]: each for each in json.loads(out.splitlines()[0])["trace"]}


def test_every_part_has_its_value_and_its_place(evaluated):
    """A chain, its terms, and the parts of an expression, down to the facts."""
    found = policies(evaluated(PRODUCTION))["a-guard"]
    rule = found["rules"][0]
    assert (rule["rule"], rule["status"]) == ("long", "matched")
    assert rule["condition"]["value"] == "true"
    (term,) = [each for each in rule["condition"]["terms"] if each["text"].startswith("size")]
    assert (term["line"], term["column"], term["value"]) == (9, 13, "true")
    parts = {each["text"]: each.get("result") for each in term["terms"]}
    assert parts == {"size(llm.prompt)": len(WORDS), "3 + size(user.roles)": 3}


def test_what_was_skipped_says_why(evaluated):
    """The index, a guard, and a deny that came before."""
    found = policies(evaluated(PRODUCTION))
    assert found["a-guard"]["rules"][1]["why"] == "early exit: a deny matched before it"
    found = policies(evaluated(request("r2", user={"roles": ["security"]})))
    assert found["a-guard"]["skipped"].startswith("index: ")
    assert found["b-notes"]["skipped"] == "guard: `unless` is true"
    assert found["b-notes"]["rules"] == []


def test_an_error_is_told(evaluated):
    """A rule that cannot be evaluated counts as a deny, and the trace says so."""
    found = policies(evaluated(request("r3", attributes={"level": "high"})))
    (level, note) = found["b-notes"]["rules"]
    assert (level["status"], level["why"]) == (
        "error", "it could not be evaluated, and counts as a deny",
    )  # fmt: skip
    assert note["status"] == "skipped"


def test_the_verdict_is_the_same_without_a_trace(evaluated):
    """Nothing but the trace is added to any decision."""
    requests = [
        PRODUCTION,
        request("r2", attributes={"note": "x", "level": 4}),
        request("r3", attributes={"level": "high"}),
        request("r4", tenant="nobody"),
        {"id": 5},
    ]
    plain = [json.loads(line) for line in evaluated(*requests, arguments=()).splitlines()]
    traced = [json.loads(line) for line in evaluated(*requests).splitlines()]
    assert [each.pop("trace") for each in traced][-1] == []
    assert traced == plain


@pytest.mark.parametrize("output", ["json", "table"])
def test_no_text_of_a_caller_is_shown(evaluated, output):
    """Prompts, attributes and names of people are shown by their length."""
    one = request("r1", attributes={"note": "Zephyr"}, user={"id": "Quincy", "roles": ["dev"]})
    out = evaluated(one, arguments=("--trace", "--output", output))
    assert "<text, 6 characters>" in out
    assert "Zephyr" not in out
    assert "black quartz" not in out


def test_a_listing_shows_the_source(evaluated):
    """Each line that was looked at, and below it what its parts came to."""
    lines = evaluated(PRODUCTION, arguments=("--trace", "--output", "table")).splitlines()
    assert lines[0] == "r1: deny (LEN-1)"
    assert "    rule long (deny): matched" in lines
    at = lines.index(
        '        9 |       when: size(llm.prompt) > 3 + size(user.roles) && llm.model in ["gpt-4o"]'
    )
    assert "^ true: size(llm.prompt) > 3 + size(user.roles)" in lines[at + 1]
    assert any(line.endswith("^ 22: size(llm.prompt)") for line in lines)


EXEMPT = """\
apiVersion: enforcer/v1
kind: Policy
metadata: {id: p, tenant: acme}
spec:
  rules:
    - {id: a, when: llm.n == 1, then: deny}
    - {id: b, when: llm.n == 1, then: warn}
  exceptions:
    - {id: w, when: user.id == "u7", rules: [a], expires: 2027-01-01, approved_by: ciso, reason: move}
"""


def test_a_rule_that_an_exception_removes_says_so(evaluated, tmp_path, capsys):
    """It matched, and stopped nothing: the rules after it were looked at."""
    (tmp_path / "e.yaml").write_text(EXEMPT)
    (tmp_path / "e.jsonl").write_text(json.dumps(request("r1", user={"id": "u7"})))
    paths = ["--policies", tmp_path / "e.yaml", "--input", tmp_path / "e.jsonl"]
    assert run(["eval", *map(str, paths), "--now", "2026-11-23", "--trace"]) == 0
    (decision,) = map(json.loads, capsys.readouterr().out.splitlines())
    (a, b) = decision["trace"][0]["rules"]
    assert decision["verdict"] == "warn"
    assert (a["status"], a["why"]) == ("matched", "an exception removes it")
    assert b["status"] == "matched"


LIMITED = """\
apiVersion: enforcer/v1
kind: Policy
metadata: {id: spend, tenant: acme}
spec:
  match: team.id == "t1"
  variables: {words: 'llm.prompt.split(" ")'}
  rules:
    - {id: near, when: 'budget("day").remaining_usd < 9.0 && size(words) > 1', then: warn}
  budgets: [{id: day, per: day, limit_usd: 5}]
  rate_limits: [{id: minute, key: user.id, per: minute, limit_requests: 60, on_missing_key: skip}]
  exceptions:
    - {id: old, when: "true", rules: [near], expires: 2026-01-01, approved_by: ciso, reason: x}
    - {id: new, when: 'user.id == "u1"', rules: [near], expires: 2026-12-31, approved_by: ciso, reason: x}
"""


@pytest.fixture
def limited(tmp_path, capsys):
    """Decide requests under limits; their traces of the one policy."""

    def call(*requests):
        (tmp_path / "p.yaml").write_text(LIMITED)
        (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(each) for each in requests))
        paths = ["--policies", tmp_path / "p.yaml", "--input", tmp_path / "r.jsonl"]
        assert run(["eval", *map(str, paths), "--now", "2026-11-23", "--trace"]) == 0
        return [json.loads(line)["trace"][0] for line in capsys.readouterr().out.splitlines()]

    return call


def test_limits_are_told_as_they_were_before_the_request(limited):
    """The first request sees an empty budget and books on it; the second sees what the first one booked."""
    first, second = limited(
        request("r1", team={"id": "t1"}, user={"id": "u2"}), request("r2", team={"id": "t1"})
    )
    day, minute = first["limits"]
    assert (day["limit"], day["spent_usd"], day["reserved_usd"]) == ("day", 0.0, 0.0)
    assert (minute["limit"], minute["remaining"], minute["why"]) == ("minute", 60, None)
    day, minute = second["limits"]
    assert 0 < day["reserved_usd"] == pytest.approx(5 - day["remaining_usd"])
    assert "remaining" not in minute
    assert "key is absent" in minute["why"]
    (term,) = [t for t in second["rules"][0]["condition"]["terms"] if "budget" in t["text"]]
    assert term["terms"][0]["result"] == day["remaining_usd"]


def test_a_limit_that_a_guard_ends_says_so(limited):
    """No amounts, and why."""
    ((day, minute),) = [each["limits"] for each in limited(request("r1", team={"id": "t2"}))]
    assert day["why"] == minute["why"] == "guard: `match` is false"


def test_exceptions_are_told_up_to_the_one_that_removes_the_rule(limited):
    """Those that are over, and those that were asked, with what their conditions came to."""
    one, other = limited(
        request("r1", team={"id": "t1"}, user={"id": "u1"}),
        request("r2", team={"id": "t1"}, user={"id": "u2"}),
    )
    told = [
        [(e["exception"], e["status"]) for e in each["rules"][0]["exceptions"]]
        for each in (one, other)
    ]
    assert told == [
        [("old", "expired"), ("new", "removes it")],
        [("old", "expired"), ("new", "does not hold")],
    ]
    assert one["rules"][0]["exceptions"][1]["condition"]["value"] == "true"


def test_a_variable_is_one_part(limited):
    """Its name, with its value, and not the tree behind it once more at the same place."""
    (found,) = limited(request("r1", team={"id": "t1"}))
    (term,) = [t for t in found["rules"][0]["condition"]["terms"] if "size" in t["text"]]
    (size,) = term["terms"]
    (words,) = size["terms"]
    assert (words["text"], words["result"]) == ("words", "<list, 4 elements>")
    assert "terms" not in words
