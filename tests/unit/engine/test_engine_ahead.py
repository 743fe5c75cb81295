"""Looking ahead saves time and changes nothing: each decision is byte for byte what it is without."""

import json

import pytest
from engine_desk import CARD, Desk, asked, rule, rules, spec, tenant

from enforcer import events

ASKS_FOR_PII = spec(
    rules(rule("card", "deny", "{operator: contains, field: pii.types, value: credit_card}"))
)
BUDGET = spec("budgets: [{id: b, per: day, limit_usd: 5}]", name="money")


def as_json(**fields):
    return json.dumps(asked(**fields)).encode()


def told(texts, values, *, ahead):
    """The answers to *values*, in order; with *ahead* all are looked at before the first is decided."""
    desk = Desk.of(*texts)
    answers = []
    # The first request tells which facts are asked for; so those after it are foreseen in full.
    desk.outcome(as_json(id="first"))
    found = desk.engine.foresight.look_ahead(desk.program_of, values, desk.now_us) if ahead else []
    for index, value in enumerate(values):
        arrival = desk.arrival(value)
        if ahead:
            arrival = arrival._replace(ahead=found[index])
        outcome = desk.engine.request(desk.program_of, arrival, desk.rows, desk.queue)
        answers.append((outcome.value, outcome.entries, outcome.dead_letter))
    return answers, desk.snapshot()


@pytest.mark.parametrize(
    "texts",
    [
        (ASKS_FOR_PII, BUDGET, tenant()),
        (BUDGET, tenant("{defaults: {llm.max_tokens: 7}}")),
        (ASKS_FOR_PII, tenant("{models: {m: openai/gpt-4o}}")),
        (),
    ],
    ids=["facts", "defaults", "aliases", "unknown tenant"],
)
def test_a_decision_is_the_same_with_and_without(texts):
    """Allowed, denied, repeated, reused, unreadable, empty: the same bytes, ledger and rows either way."""
    values = [
        as_json(id="r1"),
        as_json(id="r2", prompt=f"my card is {CARD}"),
        events.encode(events.request_from_json(as_json(id="r3", prompt="hello " * 50))),
        as_json(id="r1"),
        as_json(id="r1", prompt="another"),
        b"{broken",
        None,
    ]
    assert told(texts, values, ahead=True) == told(texts, values, ahead=False)


def test_what_no_rule_asks_for_is_not_told():
    """A scan made ahead does not count as asked for: a decision tells only the facts that rules read."""
    desk = Desk.of(ASKS_FOR_PII, tenant())
    desk.outcome(as_json(id="r1"))
    (ahead,) = desk.engine.foresight.look_ahead(desk.program_of, [as_json(id="r2")], desk.now_us)
    assert ahead.facts.counted().input_tokens
    assert not ahead.facts.has_asked_for_pii
    ahead.facts.pii_counts  # noqa: B018 — a rule asks
    assert ahead.facts.has_asked_for_pii
