"""``enforcer policy test``: cases, coverage, reports and exit codes, as a user and as a CI system sees them."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from enforcer.cli.main import run

POLICIES = Path(__file__).parents[3] / "policies"
POLICY = """\
apiVersion: enforcer/v1
kind: Policy
metadata: {id: guard}
spec:
  rules:
    - id: env
      condition:
        operator: or
        conditions:
          - {operator: eq, field: project.environment, value: production}
          - {operator: eq, field: team.tier, value: free}
      then: deny
      code: GOV-1
      reason: Not here
  budgets:
    - {id: day, key: team.id, per: day, limit_usd: 2}
"""
TESTS = """\
cases:
  - name: staging passes
    rows: {day: {spent_usd: 1}}
    expect: {verdict: allow, codes: []}
  - name: production is refused
    request: {project: {environment: production}}
    expect: {verdict: deny, codes: [GOV-1]}
"""
FREE = "  - {name: free, request: {team: {tier: free}}, expect: {verdict: deny}}\n"
SPENT = "  - {name: spent, rows: {day: {spent_usd: 2}}, expect: {codes: [budget_exceeded]}}\n"


@pytest.fixture
def tested(tmp_path, capsys, monkeypatch):
    """Write files and run ``policy test`` in their folder; exit code, stdout and stderr."""

    def call(*arguments, **files):
        for name, text in files.items():
            (tmp_path / name.replace("__", ".")).write_text(text)
        monkeypatch.chdir(tmp_path)
        code = run(["policy", "test", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_a_line_a_case_and_what_is_not_covered(tested):
    """Everything passes; two branches and one limit were never seen, at their places."""
    code, out, err = tested(guard__yaml=POLICY, guard__test__yaml=TESTS)
    assert code == 0, out + err
    lines = out.splitlines()
    assert lines[:2] == [
        "ok    guard.test.yaml: staging passes",
        "ok    guard.test.yaml: production is refused",
    ]
    assert '      guard.yaml:11:13: never true: team.tier == "free"' in lines
    assert any("never exceeded: budget day" in line for line in lines)
    assert "2 passed, 0 failed, coverage 71.4 %" in err


def test_the_whole_is_covered(tested):
    """Both values of both terms, the rule matched, the budget within and exceeded."""
    code, _, err = tested(
        "--threshold", 100, guard__yaml=POLICY, guard__test__yaml=TESTS + FREE + SPENT
    )
    assert (code, "coverage 100.0 %" in err) == (0, True)


def test_below_the_threshold_is_a_failure(tested):
    """Exit code 4, though every case passes."""
    code, _, err = tested("--threshold", 90, guard__yaml=POLICY, guard__test__yaml=TESTS)
    assert code == 4
    assert "below the threshold of 90 %" in err


def test_a_failure_shows_what_differs_and_why(tested):
    """The case's place, expected and found, and the reasons of the decision; exit code 4."""
    wrong = TESTS.replace("verdict: deny, codes: [GOV-1]", "verdict: allow, http_status: 403")
    code, out, _ = tested(guard__yaml=POLICY, guard__test__yaml=wrong)
    assert code == 4
    lines = out.splitlines()
    at = lines.index("FAIL  guard.test.yaml:5:5: production is refused")
    assert lines[at + 1 : at + 5] == [
        "      verdict",
        "        - allow",
        "        + deny",
        "      because guard/env deny GOV-1: Not here",
    ]


def test_rows_of_a_limit_that_does_not_apply_are_a_failure(tested):
    """A misspelt budget would otherwise test nothing."""
    code, out, _ = tested(guard__yaml=POLICY, guard__test__yaml=TESTS.replace("{day:", "{dya:"))
    assert code == 4
    assert "did you mean `day`?" in out


def test_cases_are_chosen_by_name(tested):
    """`--run` is a regular expression over file and name; none found is exit code 5, a wrong one 2."""
    files = {"guard__yaml": POLICY, "guard__test__yaml": TESTS}
    code, out, _ = tested("--run", "guard.*refused$", **files)
    assert (code, out.count("ok    "), "production" in out) == (0, 1, True)
    assert tested("--run", "nothing", **files)[0] == 5
    assert tested("--run", "(", **files)[0] == 2


def test_reports_for_programs(tested):
    """JSON holds cases, differences and uncovered places."""
    wrong = TESTS.replace("verdict: allow, codes: []", "verdict: deny")
    code, out, _ = tested("--output", "json", guard__yaml=POLICY, guard__test__yaml=wrong)
    found = json.loads(out)
    assert (code, found["passed"], found["failed"]) == (4, 1, 1)
    case = found["cases"][0]
    assert (case["name"], case["line"], case["status"]) == ("staging passes", 2, "failed")
    assert case["differences"] == [{"place": "verdict", "expected": "deny", "found": "allow"}]
    parts = {each["part"]: each for each in found["coverage"]["parts"]}
    assert (parts["env"]["branches"], parts["env"]["covered"]) == (5, 4)
    assert parts["env"]["missing"][0]["never"] == "true"
    assert parts["env"]["missing"][0]["line"] == 11


def test_reports_for_ci_systems(tested):
    """JUnit counts suites and cases; GitHub's commands name file and line, on one line each."""
    files = {"guard__yaml": POLICY, "guard__test__yaml": TESTS.replace("[GOV-1]", "[GOV-2]")}
    code, out, _ = tested("--output", "junit", **files)
    suite = ET.fromstring(out).find("testsuite")
    assert (code, suite.get("tests"), suite.get("failures")) == (4, "2", "1")
    assert "GOV-1" in suite.find("testcase/failure").text
    _, out, _ = tested("--output", "github", **files)
    first, *rest = out.splitlines()
    assert first.startswith(
        "::error file=guard.test.yaml,line=5,col=5,title=production is refused::"
    )
    assert "%0A" in first
    assert all(line.startswith("::warning file=guard.yaml,line=") for line in rest)
    assert rest


def test_what_does_not_check_is_not_tested(tested):
    """Policies and tests with errors: their findings, at their places, exit code 3."""
    code, out, _ = tested(guard__yaml=POLICY.replace("deny", "dny"), guard__test__yaml=TESTS)
    assert (code, "guard.yaml:12:13: error[ENF0203]" in out) == (3, True)
    code, out, _ = tested(guard__yaml=POLICY, guard__test__yaml=TESTS.replace("rows", "row"))
    assert (code, "guard.test.yaml:3:5: error[ENF0201]" in out) == (3, True)


def test_documents_are_named_or_stand_beside(tested):
    """Exit code 3 with the place where they are named, or the file that has none beside it."""
    code, out, _ = tested("t.test.yaml", t__test__yaml="documents: [x.yaml]\n" + TESTS)
    assert (code, "t.test.yaml:1:13: error[ENF2003]" in out) == (3, True)
    code, out, _ = tested("u.test.yaml", u__test__yaml=TESTS)
    assert (code, "u.test.yaml:1:1: error[ENF2003]" in out) == (3, True)
    code, out, _ = tested(
        "t.test.yaml", g__yaml=POLICY, t__test__yaml="documents: [g.yaml]\n" + TESTS
    )
    assert code == 0


def test_nothing_to_test_is_told(tested):
    """No file of tests, or no such path: exit code 5."""
    code, _, err = tested(guard__yaml=POLICY)
    assert (code, "cards.test.yaml" in err) == (5, True)
    assert tested("nowhere")[0] == 5


def test_a_policy_without_tests_counts_as_uncovered(tested):
    """In a folder, every policy counts, those too that no test is about."""
    other = POLICY.replace("guard", "other")
    code, out, _ = tested(
        guard__yaml=POLICY, other__yaml=other, guard__test__yaml=TESTS + FREE + SPENT
    )
    assert code == 0
    assert any(line.split()[:2] == ["other/env", "0/5"] for line in out.splitlines())


def test_the_ready_policies_are_covered_whole(capsys):
    """Every rule, every term both ways, every limit within and exceeded."""
    assert run(["policy", "test", str(POLICIES), "--threshold", "100"]) == 0
    assert "coverage 100.0 %" in capsys.readouterr().err
