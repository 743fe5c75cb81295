"""Identity of calls, routing, sizes, forms, time: what surrounds the evaluation."""

import json

import pytest
from engine_desk import (
    CARD,
    MINUTE_US,
    NOW_US,
    SECOND_US,
    Desk,
    asked,
    codes,
    program,
    spec,
    tenant,
)

from enforcer import events, state
from enforcer.engine import DECISION_BYTES_MAX, REQUEST_BYTES_MAX
from enforcer.engine.recording import HTTP_STATUS

BUDGET = spec("budgets: [{id: b, per: day, limit_usd: 5, key: user.id, on_missing_key: shared}]")
SHORT = "{reservation_ttl: 2 min, dedup_window: 5 min}"


def as_json(**fields):
    return json.dumps(asked(**fields)).encode()


def as_avro(**fields):
    return events.encode(events.request_from_json(as_json(**fields)))


@pytest.mark.parametrize("form", [as_json, as_avro])
@pytest.mark.parametrize("limit", [5, 0])
def test_a_redelivery_gets_the_first_verdict_byte_for_byte(form, limit):
    """The same call with the same content is charged once, allowed or denied, in its own form."""
    desk = Desk.of(BUDGET.replace("limit_usd: 5", f"limit_usd: {limit}"), tenant())
    first = desk.outcome(form())
    money = desk.money()
    desk.now_us += MINUTE_US
    again = desk.outcome(form(deadline_ms=7))
    assert again.value == first.value
    assert again.decision is None
    assert again.entries == []
    assert desk.money() == money
    assert events.is_json(first.value) == (form is as_json)


def test_after_the_dedup_window_a_call_is_new():
    """Within `dedup_window` known, from its end on new; an open reservation keeps it known."""
    desk = Desk.of(BUDGET, tenant("{reservation_ttl: 10 min, dedup_window: 5 min}"))
    first = desk.outcome(as_json())
    desk.now_us += 9 * MINUTE_US
    assert desk.outcome(as_json()).value == first.value
    desk.now_us += MINUTE_US
    assert desk.outcome(as_json()).decision is not None


def test_an_id_with_other_content_is_refused_without_a_row():
    """`request_id_reused`, 400; the first call's row and verdict stay, and its decision has another id."""
    desk = Desk.of(BUDGET, tenant())
    first = desk.decide()
    before = desk.snapshot()
    other = desk.decide(asked("something else"))
    assert (codes(other), other.http_status) == (["request_id_reused"], 400)
    assert other.id != first.id
    assert desk.snapshot() == before


def test_a_new_attempt_reserves_anew_with_the_first_ones_content():
    """Attempt 2 of the same content is a call of its own; of other content it is refused."""
    desk = Desk.of(BUDGET, tenant())
    first, second = desk.decide(), desk.decide(asked(attempt=2))
    assert first.id != second.id
    assert desk.only("b/").reserved_usd_nano == 2 * first.reservation.usd_nano
    assert codes(desk.decide(asked("other", attempt=3))) == ["request_id_reused"]
    assert desk.decide(asked(attempt=3)).verdict == "allow"


@pytest.mark.parametrize(
    ("deadline_ms", "late_ms", "expected"),
    [(100, 100, "allow"), (100, 101, "deny"), (None, 10**9, "allow"), (0, 1, "deny")],
)
def test_too_late_reserves_nothing(deadline_ms, late_ms, expected):
    """A request taken up after its deadline is denied, `too_late`; its usage finds its budget."""
    desk = Desk.of(BUDGET, tenant())
    decision = desk.decide(asked(deadline_ms=deadline_ms), late_ms=late_ms)
    assert decision.verdict == expected
    if expected == "deny":
        assert codes(decision) == ["too_late"]
        assert desk.money() == {}
        desk.usage(input_tokens=1, output_tokens=0)
        assert desk.only("b/").spent_usd_nano == 2_500


def test_a_record_on_the_wrong_partition_or_key_is_misrouted():
    """The account is recomputed from the tenant's document; sender's choice of key or partition changes nothing."""
    desk = Desk.of(BUDGET, tenant("{account: [tenant, team.id]}"))
    desk.partitions = 4
    request = asked(team={"id": "t/1"})
    key = events.account_of("acme", "t/1", ("tenant", "team.id")).encode()
    home = events.partition_of(key, 4)
    for wrong in (
        {"key": key, "partition": (home + 1) % 4},
        {"key": b"acme", "partition": events.partition_of(b"acme", 4)},
        {"key": None, "partition": home},
    ):
        decision = desk.decide(request, **wrong)
        assert (codes(decision), decision.http_status) == (["misrouted"], 400)
        assert desk.rows.rows == {}
    decision = desk.decide(request, key=key, partition=home)
    assert (decision.verdict, decision.account) == ("allow", "acme/t%2F1")
    report = {
        "request_id": "r1",
        "tenant": "acme",
        "outcome": "completed",
        "final": True,
        "team": "t/1",
    }
    arrival = desk.arrival(report, key=b"acme", partition=home)
    outcome = desk.engine.usage(desk.program_of, arrival, desk.rows, desk.queue)
    assert [entry.notes for entry in outcome.entries] == [("misrouted",)]


def test_usage_settles_by_the_account_of_its_team():
    """The report names the team that the account goes by."""
    desk = Desk.of(BUDGET, tenant("{account: [tenant, team.id]}"))
    desk.decide(asked(team={"id": "t1"}))
    desk.usage(team="t1", input_tokens=1, output_tokens=1)
    assert desk.only("b/").reserved_usd_nano == 0
    assert desk.only("b/").spent_usd_nano == 12_500


@pytest.mark.parametrize(
    ("value", "letter", "code"),
    [
        (None, "undecodable", None),
        (b"", "undecodable", None),
        (b"\x00rubbish", "undecodable", None),
        (b'{"id": "r1", "tenant": "acme"', "invalid_request", "invalid_request"),
        (b'{"id": "r1", "tenant": "acme", "llm": 3}', "invalid_request", "invalid_request"),
        (b'{"id": "r1", "llm": {}}', "invalid_request", "invalid_request"),
        (b'{"tenant": "acme"}', "invalid_request", None),
        (b'{"id": "r1", "tenant": "acme", "x": "' + b"x" * REQUEST_BYTES_MAX + b'"}', "too_large", "too_large"),
        (b'{"id": "' + b"x" * DECISION_BYTES_MAX + b'", "tenant": "acme", "llm": 3}', "too_large", None),
    ],
    ids=["tombstone", "empty", "rubbish", "torn", "mistyped", "no tenant", "no id", "large", "long id"],
)  # fmt: skip
def test_what_cannot_be_read_goes_to_the_dead_letters(value, letter, code):
    """With its bytes, place and reason; where an id can be read it is denied too; rows stay as they are."""
    desk = Desk.of(tenant())
    outcome = desk.outcome(value, key=b"acme")
    assert outcome.dead_letter.code == letter
    assert outcome.dead_letter.value == value
    assert desk.rows.rows == {}
    if code is None:
        assert outcome.value is None
    else:
        assert codes(outcome.decision) == [code]
        assert outcome.decision.http_status == 400
        assert (outcome.decision.request_id, outcome.decision.account) == ("r1", "acme")


def test_a_decision_that_is_too_large_becomes_a_deny():
    """`too_large`: first without what was said, then without the person; never an endless loop."""
    many = "\n".join(f"- {{id: r{at}, then: warn, reason: '{'x' * 1000}'}}" for at in range(120))
    texts = [spec(f"rules:\n{many}", name=f"p{at}") for at in range(5)]
    desk = Desk.of(*texts, BUDGET.replace("id: p", "id: z"), tenant())
    outcome = desk.outcome(asked(user={"id": "u"}))
    assert codes(outcome.decision) == ["too_large"]
    assert len(outcome.value) < DECISION_BYTES_MAX
    assert [e.kind for e in outcome.decision.effects] == ["reserve", "open"]
    assert outcome.decision.subject is not None
    assert desk.money() == {}

    desk = Desk.of(BUDGET, tenant())
    outcome = desk.outcome(asked(user={"id": "u" * DECISION_BYTES_MAX}))
    assert codes(outcome.decision) == ["too_large"]
    assert outcome.decision.subject is None
    assert [e.kind for e in outcome.decision.effects] == ["open"]
    assert desk.outcome(asked(user={"id": "u" * DECISION_BYTES_MAX})).value == outcome.value


def test_forms_are_answered_in_kind():
    """JSON in JSON, Avro in Avro, with equal content."""
    one, other = Desk.of(BUDGET, tenant()), Desk.of(BUDGET, tenant())
    in_json, in_avro = one.outcome(as_json()), other.outcome(as_avro())
    assert events.is_json(in_json.value)
    assert not events.is_json(in_avro.value)
    assert events.read_decision(in_json.value) == events.read_decision(in_avro.value)
    assert one.money() == other.money()


def test_every_code_of_a_limit_or_a_caller_has_its_status():
    """400 for the caller's mistakes, 402 for money, 429 for rates, else 403."""
    assert set(HTTP_STATUS.values()) == {400, 402, 429}
    both = spec(
        "rate_limits: [{id: r, per: day, limit_tokens: 1}]\nbudgets: [{id: b, per: day, limit_usd: 0}]"
    )
    assert Desk.of(both, tenant()).decide().http_status == 402


def test_a_reservation_expires_before_the_event_that_reads_it():
    """At its end, by event time: charged by default, released where the tenant says so; entered once."""
    for on_expiry, spent in (("charge", True), ("release", False)):
        desk = Desk.of(BUDGET, tenant(f"{{reservation_ttl: 2 min, on_expiry: {on_expiry}}}"))
        amount = desk.decide().reservation.usd_nano
        desk.now_us += 2 * MINUTE_US - 1
        assert desk.decide(asked(id="r2")).effects[0].kind == "reserve"
        desk.now_us += 1
        outcome = desk.outcome(asked(id="r3"))
        assert [e.kind for e in outcome.entries] == ["expiry", "decision"]
        assert [e.kind for e in outcome.decision.effects][:2] == ["expire", "reserve"]
        (view,) = outcome.decision.budgets
        assert view.spent_usd_nano == (amount if spent else 0)
        assert view.reserved_usd_nano == 2 * amount
        assert outcome.entries[0].notes == (() if spent else ("released",))


def test_an_event_expires_what_it_reads_and_at_most_eight_others():
    """In order of their ends, whatever is due beyond that waits for the next event."""
    desk = Desk.of(BUDGET, tenant(SHORT))
    for at in range(24):
        desk.decide(asked(id=f"r{at:02}", user={"id": f"u{at % 3 if at < 12 else 9}"}))
        desk.now_us += SECOND_US
    desk.now_us += 3 * MINUTE_US
    outcome = desk.outcome(asked(id="x", user={"id": "u2"}))
    expired = [e.effects[0].row.split("/")[2] for e in outcome.entries if e.kind == "expiry"]
    read = ["r02", "r05", "r08", "r11"]
    others = ["r00", "r01", "r03", "r04", "r06", "r07", "r09", "r10"]
    assert expired == [*read, *others]
    for at in range(12):
        desk.decide(asked(id=f"s{at:02}", user={"id": f"v{at}"}))
    desk.now_us += 3 * MINUTE_US
    outcome = desk.usage("nobody")
    assert [e.kind for e in outcome.entries] == ["expiry"] * 8 + ["settlement"]


@pytest.mark.parametrize("form", [as_json, as_avro])
def test_a_long_silence_ends_in_many_events(form):
    """What ended meanwhile is more than one decision can carry: the rest waits, and stays reserved until then."""
    desk = Desk.of(BUDGET, tenant(SHORT))
    count = 1_500
    long = "x" * 200
    for at in range(count):
        desk.outcome(as_avro(id=f"{long}{at}"))
    amount = desk.only("b/").reserved_usd_nano
    desk.now_us += 3 * MINUTE_US
    seen = []
    for at in range(4):
        outcome = desk.outcome(form(id=f"n{at}"))
        assert outcome.decision.verdict == "allow"
        assert len(outcome.value) <= DECISION_BYTES_MAX
        seen.append(sum(e.kind == "expiry" for e in outcome.entries))
    assert sum(seen) == count
    assert seen[0] < count
    assert desk.only("b/").spent_usd_nano == amount


def test_early_usage_waits_for_its_request():
    """It settles when the request comes, in the same event; without one it is charged by the keys it carries."""
    desk = Desk.of(BUDGET, tenant(SHORT))
    assert desk.usage(input_tokens=1, output_tokens=0).entries[0].notes == ("waiting",)
    outcome = desk.outcome(asked())
    assert [e.kind for e in outcome.entries] == ["decision", "settlement"]
    assert outcome.entries[1].notes[0] == "early"
    assert {e.at_us for e in outcome.entries[1].effects if e.kind in {"settle", "drop"}} == {NOW_US}
    assert desk.only("b/").spent_usd_nano == 2_500

    desk.usage(
        "lost", input_tokens=2, output_tokens=0, user="u7", model="gpt-4o", provider="openai"
    )
    desk.now_us += 3 * MINUTE_US
    outcome = desk.usage("other")
    assert outcome.entries[0].notes == ("early", "overrun")
    assert outcome.overrun_usd_nano == 5_000
    charged = [row for key, row in desk.rows.items("b/") if row.spent_usd_nano == 5_000]
    assert len(charged) == 1


def test_early_usage_that_nothing_claims_is_unattributed():
    """No budget has its keys, or its tenant cannot be evaluated: audited as such."""
    for texts in (
        [tenant(SHORT)],
        [tenant(SHORT.replace("{", "{defaults: {attributes.a.b: 1}, "))],
    ):
        desk = Desk.of(*texts)
        desk.usage("lost", input_tokens=2, output_tokens=0)
        desk.now_us += 3 * MINUTE_US
        outcome = desk.usage("other")
        assert outcome.entries[0].notes == ("early", "unattributed")


def test_usage_that_cannot_be_read_goes_to_the_dead_letters():
    """Tombstones and rubbish; nothing is settled."""
    desk = Desk.of(tenant())
    for value in (None, b"x", b'{"request_id": "r1"}'):
        outcome = desk.engine.usage(desk.program_of, desk.arrival(value), desk.rows, desk.queue)
        assert outcome.dead_letter is not None
        assert outcome.entries == []


def test_digests_and_positions_are_named():
    """A decision names both sets, the data, the engine, its place and its time."""
    found = program(BUDGET, spec("{}", name="all", tenant="*"), tenant())
    desk = Desk({"acme": found})
    decision = desk.decide(asked(CARD))
    assert set(decision.policy_sets) == {"*", "acme"}
    assert decision.policy_digest == found.policy_digest
    assert decision.data_digest
    assert decision.engine
    assert (decision.source.offset, decision.time_us) == (1, NOW_US)
    assert decision.id == events.decision_id("acme", "r1", 1)
    assert desk.only("c/").decision
    assert state.parse_call_key(decision.effects[-1].row).request_id == "r1"
