"""``enforcer eval`` as somebody new to it would use it, mistakes included."""

import io
import json
import sys
from pathlib import Path

import pytest

from enforcer.cli.main import run

POLICIES = Path(__file__).parents[3] / "policies"
TENANT = "apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {id: acme}\n"
BUDGET = (
    "apiVersion: enforcer/v1\nkind: Policy\nmetadata: {id: p, tenant: acme}\n"
    "spec: {rate_limits: [{id: r, per: minute, limit_requests: 1}]}\n"
)


def line(**fields):
    llm = {"provider": "openai", "model": "gpt-4o", "prompt": "hi"}
    return json.dumps({"id": "r1", "tenant": "acme", "llm": llm, **fields})


@pytest.fixture
def evaluated(tmp_path, capsys, monkeypatch):
    """Run ``eval`` over lines and documents; exit code, stdout and stderr."""

    def call(lines, *arguments, documents=TENANT + "---\n" + BUDGET, stdin=None):
        policies, requests = tmp_path / "policies.yaml", tmp_path / "requests.jsonl"
        policies.write_text(documents)
        requests.write_text("\n".join(lines))
        if stdin is not None:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        given = [each.format(policies=policies, requests=requests) for each in arguments]
        for option, path in (("--policies", policies), ("--input", requests)):
            if option not in given:
                given += [option, str(path)]
        code = run(["eval", *given])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def decisions(out):
    return [json.loads(each) for each in out.splitlines()]


def test_a_decision_a_line_in_order(evaluated):
    """Lines are counted as one partition would: the second is over the rate; blank lines have no answer."""
    code, out, err = evaluated([line(), "", line(id="r2"), line(id="r1")])
    first, second, third = decisions(out)
    assert (code, err) == (0, "")
    assert [first["verdict"], second["verdict"]] == ["allow", "deny"]
    assert second["retry_after_ms"] == 60_000
    assert third == first


def test_event_time_is_given_and_steps(evaluated):
    """`--now` is the first line's time, `--step-ms` lies between two lines."""
    code, out, _ = evaluated(
        [line(), line(id="r2")], "--now", "2026-11-23T12:00:00Z", "--step-ms", "60000"
    )
    assert code == 0
    assert [d["time_us"] for d in decisions(out)] == [1795435200000000, 1795435260000000]
    assert [d["verdict"] for d in decisions(out)] == ["allow", "allow"]


@pytest.mark.parametrize(
    "now", ["nonsense", "", "1969-12-31", "9999-01-01T00:00:00Z", "0001-01-01"]
)
def test_a_time_that_is_none_is_a_mistake_of_usage(evaluated, now):
    """One line, what to write, exit 2."""
    code, out, err = evaluated([line()], "--now", now)
    assert (code, out) == (2, "")
    assert err.splitlines()[1] == "help: write it like 2026-11-23T12:00:00Z"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("not json", "neither Avro nor JSON"),
        ("[]", "neither Avro nor JSON"),
        ("{}", "/id"),
        ('{"id": "x"}', "expected"),
        ('{"request_id": "r1", "tenant": "acme", "outcome": "completed", "final": true}', "usage report"),
        ('{"id": "big", "x": "' + "x" * (11 * 1024 * 1024) + '"}', "bytes"),
        ("\x00\x01", ""),
    ],
    ids=["text", "list", "empty", "half", "usage", "huge", "bytes"],
)  # fmt: skip
def test_a_line_that_is_no_request_is_denied_and_named(evaluated, bad, why):
    """Every line has one answer, at its place, with the reason; the others are decided as ever."""
    code, out, _ = evaluated([line(), bad, line(id="r2")])
    assert code == 0
    first, wrong, last = decisions(out)
    assert first["request_id"] == "r1"
    assert (wrong["verdict"], wrong["http_status"]) == ("deny", 400)
    assert wrong.get("line", 2) == 2
    assert why in wrong["reasons"][0]["message"]
    assert last["request_id"] == "r2"


def test_a_tenant_that_nobody_named_is_denied(evaluated):
    """As an agent would: `unknown_tenant`."""
    _, out, _ = evaluated([line(tenant="globex")])
    assert decisions(out)[0]["reasons"][0]["code"] == "unknown_tenant"


def test_output_in_every_form(evaluated):
    """A table for people, one document, or a document a line."""
    code, out, _ = evaluated([line(), "x"], "--output", "table")
    assert code == 0
    assert out.splitlines()[0].split() == [
        "request",
        "verdict",
        "status",
        "code",
        "policy",
        "message",
    ]
    assert out.splitlines()[2].startswith("line 2")
    code, out, _ = evaluated([line(), "x"], "--output", "json")
    assert [d["verdict"] for d in json.loads(out)] == ["allow", "deny"]


def test_stdin_is_a_dash_for_one_of_both(evaluated):
    """Requests or documents; both at once is a mistake that is told."""
    code, out, _ = evaluated((), "--input", "-", stdin=line().encode())
    assert (code, len(decisions(out))) == (0, 1)
    code, out, _ = evaluated([line()], "--policies", "-", stdin=TENANT.encode())
    assert decisions(out)[0]["verdict"] == "allow"
    code, out, err = evaluated([line()], "--policies", "-", "--input", "-", stdin=b"")
    assert (code, out) == (2, "")
    assert "stdin" in err


def test_no_line_is_said(evaluated):
    """An empty input is no error, and no silence either."""
    for form, expected in (("jsonl", ""), ("json", "[]\n"), ("table", "")):
        code, out, err = evaluated(["", "  "], "--output", form)
        assert (code, out) == (0, expected)
        assert "holds no line" in err


@pytest.mark.parametrize(
    ("option", "path", "code", "said"),
    [
        ("--policies", "/nowhere", 5, "does not exist"),
        ("--policies", "{empty}", 5, "holds no documents"),
        ("--input", "/nowhere", 5, "cannot be read"),
        ("--input", "{empty}", 5, "Is a directory"),
    ],
)
def test_a_path_that_is_wrong_is_one_clear_line(evaluated, tmp_path, option, path, code, said):
    """What it is, which path, what to do, and the right exit code."""
    (tmp_path / "empty").mkdir()
    found, out, err = evaluated([line()], option, path.replace("{empty}", str(tmp_path / "empty")))
    assert (found, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) == 2


def test_documents_that_do_not_check_decide_nothing(evaluated):
    """Exit 3, and the findings as data."""
    wrong = BUDGET.replace("limit_requests: 1", "limit_requests: none")
    code, out, _ = evaluated([line()], documents=wrong)
    assert code == 3
    finding = json.loads(out)
    assert (finding["severity"], finding["line"]) == ("error", 4)
    assert finding["help"]


def test_warnings_are_told_beside_the_data(evaluated):
    """A source without a document is a warning, on stderr."""
    code, out, err = evaluated([line()], documents="")
    assert (code, decisions(out)[0]["verdict"]) == (0, "deny")
    assert "warning[" in err


def test_a_stream_of_documents_and_a_folder_are_the_same(capsys, tmp_path):
    """The ready policies in their folders, and as one stream of documents."""
    requests = tmp_path / "requests.jsonl"
    requests.write_text("\n".join(line(id=f"r{at}") for at in range(3)))
    texts = [p.read_text() for p in sorted(POLICIES.rglob("*.yaml")) if ".test." not in p.name]
    (tmp_path / "all.yaml").write_text("\n---\n".join(texts))
    found = []
    for policies in (POLICIES, tmp_path / "all.yaml"):
        arguments = ["--policies", str(policies), "--input", str(requests), "--now", "2026-11-23"]
        assert run(["eval", *arguments]) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]
