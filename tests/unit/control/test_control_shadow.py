"""The shadow report: what would have been another verdict, by rule, from the ledger's own bytes."""

import json
from base64 import b64encode

import pytest

from enforcer import events
from enforcer.audit.chain import Chain
from enforcer.cli import main
from enforcer.cli.since import since_us
from enforcer.control.shadow_report import ShadowReport, would_be
from enforcer.errors import ConfigError

T0_US = 1_700_000_000_000_000
SOURCE = events.Source("requests", 0, 0, 0, 0, 0)


def decision(number, verdict="allow", shadow=(), *, code="x", cost=1_000_000_000):
    return events.Decision(
        id=f"d{number}",
        request_id=f"r{number}",
        attempt=1,
        tenant="acme",
        account="acme",
        verdict=verdict,
        http_status=200,
        reasons=[events.Reason("p", "r", verdict, code, "m")],
        facts=events.Facts(estimated_cost_usd_nano=cost),
        shadow=[events.Reason("s", rule, to, "CODE", "m") for rule, to in shadow],
        policy_digest="",
        data_digest="",
        engine="test",
        source=SOURCE,
        time_us=T0_US + number,
    )


def values(*decisions):
    chain = Chain()
    yield chain.append("policy_change", "*", T0_US, SOURCE, b"{}")
    for each in decisions:
        yield chain.append("decision", "acme", each.time_us, SOURCE, events.encode_decision(each))


def report(*decisions, **kwargs):
    found = ShadowReport(**kwargs)
    for value in values(*decisions):
        found.add(value)
    return found.as_json()


@pytest.mark.parametrize(
    ("verdict", "code", "shadow", "after"),
    [
        ("allow", "x", [], "allow"),
        ("allow", "x", ["warn", "deny"], "deny"),
        ("modify", "x", ["warn"], "modify"),
        ("deny", "x", ["allow"], "deny"),
        ("deny", "default_deny", ["allow"], "allow"),
        ("deny", "default_deny", ["modify", "allow"], "modify"),
        ("deny", "default_deny", [], "deny"),
    ],
)
def test_a_verdict_joins_with_its_shadow(verdict, code, shadow, after):
    """The stricter of the two; only a default deny yields, for a shadow rule would have been a match."""
    one = decision(1, verdict, [("r", to) for to in shadow], code=code)
    assert would_be(one) == after


def test_the_report_counts_by_rule_and_change():
    """Calls that turn, by from and to; a row a rule with its spend and examples; what changes comes first."""
    found = report(
        decision(1),
        decision(2, shadow=[("deny", "deny")]),
        decision(3, shadow=[("deny", "deny"), ("say", "warn")]),
        decision(4, "modify", shadow=[("say", "warn")]),
        decision(5, "deny", shadow=[("ok", "allow")], code="default_deny"),
    )
    assert (found["decisions"], found["shadowed"], found["changed"]) == (5, 4, 3)
    assert found["spend_usd_change"] == -1.0
    assert found["changes"] == [
        {"from": "allow", "to": "deny", "count": 2},
        {"from": "deny", "to": "allow", "count": 1},
    ]
    first = found["rules"][0]
    assert (first["rule"], first["count"], first["spend_usd"]) == ("deny", 2, 2.0)
    assert first["examples"] == ["r2", "r3"]
    assert [(r["rule"], r["from"], r["to"]) for r in found["rules"]] == [
        ("deny", "allow", "deny"),
        ("ok", "deny", "allow"),
        ("say", "allow", "warn"),
        ("say", "modify", "modify"),
    ]


def test_the_report_begins_where_it_is_told():
    """`--since` is event time."""
    found = report(decision(1, shadow=[("d", "deny")]), decision(9), since_us=T0_US + 5)
    assert (found["decisions"], found["changed"]) == (1, 0)


def test_what_cannot_be_read_is_counted_not_hidden():
    """A damaged record does not end the report, and does not vanish from it."""
    found = ShadowReport()
    found.add(b"\x00")
    found.add(None)
    assert found.as_json()["unreadable"] == 2


def test_the_command_reads_a_file(tmp_path, capsys):
    """As `tail audit --output raw` writes it; JSON has the whole, JSON lines the rules."""
    file = tmp_path / "audit.jsonl"
    lines = [
        json.dumps({"partition": 0, "offset": at, "value": b64encode(value).decode()})
        for at, value in enumerate(values(decision(2, shadow=[("d", "deny")])))
    ]
    file.write_text("\n".join(lines))
    assert main.run(["shadow", "report", str(file), "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == 1
    assert main.run(["shadow", "report", str(file), "--output", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out)["rule"] == "d"
    assert main.run(["shadow", "report", str(file)]) == 0
    assert "1 verdicts would be others" in capsys.readouterr().err
    assert main.run(["shadow", "report", str(tmp_path / "none")]) == 5


def test_since_is_a_duration_or_a_moment():
    """Before now, or a time that is UTC unless it says otherwise; anything else is the user's mistake."""
    assert since_us(None) == 0
    assert since_us("90s", now_s=100) == 10_000_000
    assert since_us("1d", now_s=86_401) == 1_000_000
    assert since_us("1970-01-01T00:00:01") == since_us("1970-01-01T01:00:01+01:00") == 1_000_000
    with pytest.raises(ConfigError, match="neither"):
        since_us("yesterday")
