"""Everything that YAML does to an expression is told, at the expression, with what to write."""

from __future__ import annotations

import pytest
from policy_sources import load, spec

RULES = "rules:\n  - id: r\n    then: deny\n"


def rule(line):
    """A policy of one rule with *line* in it: its key begins at line 8, column 7."""
    return spec(RULES + "    " + line.replace("\n", "\n    "))


def braces(text):
    """A policy of one rule in braces, which begins at line 6."""
    return spec("rules:\n  - {id: r, then: deny, " + text + "}")


# What stands in the rule, and where the expression begins.
TAKEN_APART = [
    (rule('when: "security" in user.roles'), 8, 13),
    (rule('when: llm.model == "a" ? llm.stream : false'), 8, 13),
    (rule('when: {"a": 1}["a"] == llm.n'), 8, 13),
    (rule('when: ["a"].exists(x, x == llm.model)'), 8, 13),
    (rule("when: %x"), 8, 13),
    (rule("when: `x`"), 8, 13),
    (rule("when: - llm.n > 3"), 8, 13),
    (rule("when: > 5"), 8, 13),
    (rule("when: |llm.stream"), 8, 13),
    (rule("when: {llm.stream"), 8, 13),
    (rule('when: llm.model == "a" && # why\n  llm.stream'), 8, 13),
    (rule('when: llm.model == "a #b"'), 8, 26),
    (rule("when: !llm.stream"), 8, 13),
    (rule("when: &a llm.stream"), 8, 13),
    (rule("when: *a"), 8, 13),
    (rule("when: true"), 8, 13),
    (rule("when: 5"), 8, 13),
    (rule("when:"), 8, 7),
    (rule('when: >\n  llm.stream // why\n  && llm.model == "a"'), 8, 13),
    (rule('when: llm.stream\n  // why\n  && llm.model == "a"'), 8, 13),
    (rule(r"""when: "llm.model.matches('\bfoo')" """), 8, 13),
    (braces('when: user.id in ["a", "b"]'), 6, 33),
    (braces('when: llm.model.replace("a", "b") == "b"'), 6, 33),
    (braces("when: math.greatest(llm.n, 3) > 3"), 6, 33),
    (spec(RULES + "variables: {a: !(llm.stream)}"), 8, 18),
    (spec(RULES + 'variables:\n  a: "b" in user.roles'), 9, 8),
    (spec(RULES + "variables: {a: 5}"), 8, 18),
]


@pytest.mark.parametrize(("text", "line", "column"), TAKEN_APART)
def test_an_expression_that_yaml_takes_apart_is_told_once_at_its_place(text, line, column):
    """One finding, ENF0111, where the expression begins, whose help says how to write it."""
    (finding,) = load(text).findings
    assert finding.code == "ENF0111", str(finding)
    assert (finding.span.line, finding.span.column) == (line, column), str(finding)
    assert any(word in finding.help for word in ("block scalar", "quotes")), finding.help


@pytest.mark.parametrize(
    "text",
    [
        rule("when: llm.stream  # why"),
        rule('when: llm.stream &&\n  llm.model == "a"'),
        rule('when: >\n  llm.stream &&\n  llm.model == "a"'),
        rule('when: >\n  llm.stream\n  && llm.model == "a" // why'),
        rule('when: llm.model == "http://a" &&\n  llm.stream'),
        rule("when: |-\n  // why\n  llm.stream // because\n  && llm.stream"),
        rule(r"""when: 'llm.model.matches("\\\\bfoo")' """),
        braces('when: \'user.id in ["a", "b"]\''),
        braces("when: size(llm.model) > 3"),
    ],
)
def test_what_yaml_leaves_alone_is_no_finding(text):
    """Comments of both languages, lines that join to the same expression, quotes."""
    assert [str(each) for each in load(text).findings] == []


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (rule("enabled: no"), "ENF0203", "write `false`"),
        (rule("when: yes"), "ENF0403", "write `true`"),
        (
            rule("condition: {operator: eq, field: llm.stream, value: yes}"),
            "ENF0407",
            "write `true`",
        ),
        (rule("condition: {operator: eq, field: team.id, value: 12}"), "ENF0407", "in quotes"),
        (rule("condition: {operator: eq, field: llm.n, value: '12'}"), "ENF0407", "without quotes"),
        (rule("\twhen: llm.stream"), "ENF0101", "not with tabs"),
        (rule("reason: cost: too high"), "ENF0101", "in quotes"),
        (rule("reason: {{ llm.model }} is bad"), "ENF0110", "in quotes"),
        (rule("description: 2026"), "ENF0203", "put it in quotes"),
        (spec("budgets: [{id: b, per: day, limit_usd: $1_000}]"), "ENF0203", ": 1000"),
        (spec("budgets: [{id: b, per: day, limit_usd: '50 USD'}]"), "ENF0203", ": 50"),
        (spec("rate_limits: [{id: b, per: day, limit_tokens: 1_000}]"), "ENF0203", ": 1000"),
        (spec("rules: [{id: r, then: dney}]"), "ENF0203", "`deny`"),
        (rule(r'when: "llm.model.matches(\"\\d+\")"'), "ENF0701", "block scalar"),
    ],
)
def test_what_yaml_does_to_other_values_is_answered(text, code, said):
    """Words, numbers, tabs, colons and braces: the help says what to write."""
    (finding,) = load(text).findings
    assert finding.code == code, str(finding)
    assert said in finding.help, finding.help


@pytest.mark.parametrize(
    ("when", "word"),
    [
        ("llm.model.startWith('x')", "`startsWith`"),
        ("user.roles.exist(r, r == 'x')", "`exists`"),
        ("user.roles.exists(role, rol == 'x')", "`role`"),
        ("user.roles.any(role, role == 'x')", "`exists`"),
        ("length(llm.model) > 3", "`size`"),
        ("contains(llm.model, 'x')", "`x.contains(…)`"),
        ("outsid", "`outside`"),
        ("llm.stream and outside", "`&&`"),
        ("llm.n = 3", "`==`"),
        ("llm.n * 2.5 > 3.0", "`double(x)`"),
        ("user.idd == 'u'", "`user.id`"),
    ],
)
def test_slips_in_expressions_are_answered(when, word):
    """Functions, macros, variables, signs of other languages, fields: did you mean."""
    text = spec(f'variables: {{outside: llm.stream}}\nmatch: "{when}"\n{RULES}')
    (finding,) = load(text).findings
    assert word in finding.help, str(finding)
