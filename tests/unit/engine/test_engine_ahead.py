"""Looking ahead saves time and changes nothing: each decision is byte for byte what it is without."""

import json

import pytest
from engine_desk import CARD, Desk, asked, rule, rules, spec, tenant

from enforcer import detect, events

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


LONG = "nothing to see here, only words that go on. " * 500
MORE = spec(
    rules(
        rule("secret", "deny", "{operator: gt, field: secrets.count, value: 0}"),
        rule("attack", "deny", "{operator: gt, field: injection.score, value: 0.99}"),
        rule("low", "warn", "{operator: gt, field: pii.at(0.3).count, value: 100}"),
    ),
    name="more",
)


def read_elsewhere(texts, values, *, elsewhere):
    """The answers to *values*; with *elsewhere* the facts of long texts are made apart before each is decided."""
    desk = Desk.of(*texts)
    desk.outcome(as_json(id="first"))
    answers, read = [], 0
    for value in values:
        arrival = desk.arrival(value)
        long = desk.engine.foresight.read_long(desk.program_of, value, desk.now_us)
        if elsewhere and long is not None:
            facts = [detect.facts_of(text, long.wanted) for text in long.texts]
            long.found.update(zip([each.text for each in long.texts], facts, strict=True))
            arrival = arrival._replace(ahead=long.ahead)
            read += len(facts)
        outcome = desk.engine.request(desk.program_of, arrival, desk.rows, desk.queue)
        answers.append((outcome.value, outcome.entries, outcome.dead_letter))
    return answers, desk.snapshot(), read


@pytest.mark.parametrize(
    "texts",
    [
        (ASKS_FOR_PII, BUDGET, tenant()),
        (ASKS_FOR_PII, MORE, BUDGET, tenant("{models: {m: openai/gpt-4o}}")),
        (BUDGET, tenant("{defaults: {llm.max_tokens: 7}}")),
    ],
    ids=["personal data", "all facts", "defaults"],
)
def test_a_long_text_that_is_read_elsewhere_changes_nothing(texts):
    """As a prompt, in a conversation, with something to find in it: the same bytes, ledger and rows."""
    talk = {"role": "user", "content": LONG + CARD}
    values = [
        as_json(id="r1", prompt=LONG),
        as_json(id="r2", prompt=f"{LONG} my card is {CARD}"),
        as_json(id="r3", llm={"messages": [{"role": "user", "content": "short"}, talk]}),
        as_json(id="r1", prompt=LONG),
    ]
    answers, rows, read = read_elsewhere(texts, values, elsewhere=True)
    assert read == 4
    assert (answers, rows, 0) == read_elsewhere(texts, values, elsewhere=False)


def test_facts_of_long_texts_are_read_where_they_were_made():
    """A text whose facts are there is not scanned again; one whose reader died fails closed."""
    desk = Desk.of(ASKS_FOR_PII, tenant())
    desk.outcome(as_json(id="first"))
    value = as_json(id="r1", prompt=LONG)
    long = desk.engine.foresight.read_long(desk.program_of, value, desk.now_us)
    made = detect.CachedFacts()
    made.tokens[long.wanted.vocabulary, ""] = 777
    made.pii[long.wanted.kinds] = {"credit_card": 3}
    long.found[LONG] = made
    outcome = desk.engine.request(
        desk.program_of, desk.arrival(value)._replace(ahead=long.ahead), desk.rows, desk.queue
    )
    decision = events.read_decision(outcome.value)
    assert (decision.verdict, decision.facts.pii) == ("deny", {"credit_card": 3})

    value = as_json(id="r2", prompt=LONG)
    long = desk.engine.foresight.read_long(desk.program_of, value, desk.now_us)
    long.found[LONG] = detect.LostFacts()
    outcome = desk.engine.request(
        desk.program_of, desk.arrival(value)._replace(ahead=long.ahead), desk.rows, desk.queue
    )
    assert events.read_decision(outcome.value).verdict == "deny"


def test_short_texts_are_not_read_elsewhere():
    """Nor requests that cannot be read, nor those of tenants that nobody describes."""
    desk = Desk.of(ASKS_FOR_PII, tenant())
    read_long = desk.engine.foresight.read_long
    many = [{"role": "user", "content": "a word " * 100}] * 100
    assert read_long(desk.program_of, as_json(llm={"messages": many}), desk.now_us) is None
    assert read_long(desk.program_of, b"{broken" * 9_000, desk.now_us) is None
    stranger = as_json(prompt=LONG, tenant="stranger")
    assert read_long(desk.program_of, stranger, desk.now_us) is None
