"""Files of tests: what they say once matrices, fixtures and parameters are written out, and what is wrong with them."""

from __future__ import annotations

import pytest

from enforcer import policy
from enforcer.policy.cases import read_suite
from enforcer.policy.findings import Findings

EXPECT = "expect: {verdict: allow}"


def read(text):
    """The suite of a file called t.test.yaml, and its findings."""
    findings = Findings()
    return read_suite("t.test.yaml", text, findings), findings.sorted()


def cases(text):
    """The cases of a file that is right, by name."""
    suite, findings = read(text)
    assert suite is not None, [str(each) for each in findings]
    return {each.name: each for each in suite.cases}


def test_a_request_is_laid_over_the_default_one():
    """The file's request, fixtures in their order and the case's own, field by field; lists are replaced."""
    text = """
request: {team: {tier: silver}, user: {roles: [a, b]}}
fixtures:
  eu: {user: {region: eu, id: first}}
  second: {user: {id: second}}
cases:
  - {name: c, use: [eu, second], request: {user: {roles: [c]}}, expect: {verdict: allow}}
"""
    request = cases(text)["c"].request
    assert request["team"] == {"id": "t1", "tier": "silver"}
    assert request["user"] == {"id": "second", "region": "eu", "roles": ["c"]}
    assert request["llm"]["model"] == "gpt-4o-mini"
    assert "tenant" not in request


def test_a_prompt_takes_the_place_of_the_default_messages():
    """A request has messages or a prompt."""
    text = f"cases: [{{name: c, request: {{llm: {{prompt: Hi}}}}, {EXPECT}}}]"
    llm = cases(text)["c"].request["llm"]
    assert llm["prompt"] == "Hi"
    assert "messages" not in llm


def test_texts_may_be_joined_and_repeated():
    """What looks like a secret need not stand in a file, nor 20,000 words."""
    text = f"""
cases:
  - name: c
    request: {{attributes: {{a: {{join: [x, y]}}, b: {{repeat: ab, times: 3}}}}}}
    {EXPECT}
"""
    assert cases(text)["c"].request["attributes"] == {"a": "xy", "b": "ababab"}


def test_a_matrix_of_lists_is_every_combination():
    """Two tiers and two models are four cases, each with a name of its own."""
    text = f"""
cases:
  - name: c
    matrix: {{tier: [gold, free], n: [1, 2]}}
    request: {{team: {{tier: "${{tier}}"}}, llm: {{n: "${{n}}"}}}}
    {EXPECT}
"""
    found = cases(text)
    assert list(found) == [f"c [tier={t}, n={n}]" for t in ("gold", "free") for n in (1, 2)]
    assert found["c [tier=free, n=2]"].request["llm"]["n"] == 2
    assert found["c [tier=free, n=2]"].request["team"]["tier"] == "free"


def test_a_matrix_of_rows_is_a_case_a_row():
    """Parameters stand in names, rows, fixtures and expectations, and keep their types."""
    text = """
fixtures: {by-tier: {team: {tier: "${tier}"}}}
cases:
  - name: ${tier} comes to ${verdict}
    use: [by-tier]
    matrix:
      - {tier: gold, spent: 1.5, verdict: allow}
      - {tier: free, spent: 2, verdict: deny}
    rows: {day: {spent_usd: "${spent}"}}
    expect: {verdict: "${verdict}"}
"""
    found = cases(text)
    assert list(found) == ["gold comes to allow", "free comes to deny"]
    free = found["free comes to deny"]
    assert (free.request["team"]["tier"], free.expect.verdict) == ("free", "deny")
    assert float(free.rows["day"].spent_usd) == 2


def test_event_time_is_the_files_the_cases_or_a_fixed_one():
    """No case depends on when it runs."""
    text = f"""
now: "2026-12-31T23:00:00+01:00"
cases:
  - {{name: a, {EXPECT}}}
  - {{name: b, now: "1970-01-01T00:00:01Z", {EXPECT}}}
"""
    found = cases(text)
    assert (found["a"].now_us, found["b"].now_us) == (1_798_754_400_000_000, 1_000_000)
    assert cases(f"cases: [{{name: c, {EXPECT}}}]")["c"].now_us == 1_794_830_400_000_000


WRONG = [
    ("ENF0101", "cases: [1, 2\nb: }", 2, 2),
    ("ENF0108", "cases: []\ncases: []", 2, 1),
    ("ENF0201", f"cases: [{{name: c, expct: 1, {EXPECT}}}]", 1, 19),
    ("ENF0201", "cases: [{name: c, expect: {verdct: deny}}]", 1, 28),
    ("ENF0202", "cases: [{name: c}]", 1, 9),
    ("ENF0203", "cases: [{name: c, expect: {verdict: maybe}}]", 1, 37),
    ("ENF0203", f"cases: [{{name: c, now: noon, {EXPECT}}}]", 1, 24),
    ("ENF0203", "cases: [3]", 1, 9),
    ("ENF2005", "cases: []", 1, 8),
    ("ENF0207", f"cases: [{{name: c, {EXPECT}}}, {{name: c, {EXPECT}}}]", 1, 53),
    ("ENF2001", f'cases: [{{name: "${{x}}", matrix: {{y: [1]}}, {EXPECT}}}]', 1, 16),
    ("ENF2001", f'cases: [{{name: c, request: {{id: "${{x}}"}}, {EXPECT}}}]', 1, 33),
    ("ENF2002", f"fixtures: {{gold: {{}}}}\ncases: [{{name: c, use: [glod], {EXPECT}}}]", 2, 25),
    ("ENF2004", f"cases: [{{name: c, matrix: 3, {EXPECT}}}]", 1, 27),
    ("ENF2004", f"cases: [{{name: c, matrix: {{x: []}}, {EXPECT}}}]", 1, 27),
    (
        "ENF2004",
        f"cases: [{{name: c, matrix: {{x: {[0] * 200}, y: {[0] * 200}}}, {EXPECT}}}]",
        1,
        27,
    ),
    ("ENF2005", "cases: 1", 1, 8),
    ("ENF2005", "a: b", 1, 1),
    ("ENF2005", f"cases: [{{name: c, {EXPECT}}}]\n---\ncases: []", 3, 1),
]


@pytest.mark.parametrize(("code", "text", "line", "column"), WRONG)
def test_a_wrong_file_is_told_at_its_place(code, text, line, column):
    """Each fault of a file of tests has its code, line and column and a help line, and no suite comes of it."""
    suite, findings = read(text)
    assert suite is None
    found = [each for each in findings if each.code == code]
    assert found, [str(each) for each in findings]
    assert (found[0].span.file, found[0].span.line, found[0].span.column) == (
        "t.test.yaml", line, column,
    )  # fmt: skip
    assert found[0].help


def test_a_misspelt_name_is_answered_with_the_nearest():
    """Fields, fixtures and parameters."""
    for text, near in (
        (f"cases: [{{name: c, rquest: {{}}, {EXPECT}}}]", "request"),
        (f"fixtures: {{gold: {{}}}}\ncases: [{{name: c, use: [glod], {EXPECT}}}]", "gold"),
        (f'cases: [{{name: "${{tir}}", matrix: {{tier: [1]}}, {EXPECT}}}]', "tier"),
    ):
        (finding,) = read(text)[1]
        assert near in finding.help


def test_every_code_of_tests_is_a_heading():
    """The codes of files of tests are documented beside those of policies."""
    tested = {code for code, *_ in WRONG}
    assert {code for code in policy.CODES if code.startswith("ENF20")} - tested == {"ENF2003"}
