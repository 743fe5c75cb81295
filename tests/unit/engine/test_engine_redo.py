"""
A takeover: one engine decides, another redoes what was told, on rows of its own.

Both end with the same rows and the same ledger, whatever came in whatever order.
"""

import json

import pytest
from engine_desk import CARD, MAIL, MINUTE_US, NOW_US, SECOND_US, Desk, asked, program, spec, tenant
from hypothesis import given, note, settings
from hypothesis import strategies as st

from enforcer import events, state
from enforcer.engine import Arrival
from enforcer.errors import AgentCorruptedError

POLICY = spec("""
rules:
  - {id: cards, condition: {operator: contains, field: pii.types, value: credit_card}, then: deny}
  - {id: mail, then: {verdict: modify, edits: [{redact: llm.prompt, types: [email]}, {cap: llm.max_tokens, value: 400}]}}
  - {id: cheap, condition: {operator: eq, field: team.tier, value: free}, then: {verdict: modify, edits: [{set: llm.model, value: gpt-4o-mini}]}}
budgets:
  - {id: all, per: hour, limit_usd: 0.02}
  - {id: user, per: total, limit_usd: 0.01, key: user.id, on_exceeded: warn, on_missing_key: shared}
rate_limits:
  - {id: calls, per: minute, limit_requests: 4}
  - {id: tokens, per: minute, limit_tokens: 5000, key: user.id, on_missing_key: skip}
""")
TENANTS = {
    "acme": program(POLICY, tenant("{reservation_ttl: 2 min, dedup_window: 3 min, defaults: {llm.service_tier: auto}}")),
    "globex": program(
        POLICY.replace("tenant: 'acme'", "tenant: 'globex'"),
        tenant("{reservation_ttl: 1 min, dedup_window: 5 min, on_expiry: release, unknown_model: {ceiling_usd_per_mtok: 9}}", name="globex"),
        name="globex",
    ),
    "broken": program(tenant(name="broken"), name="broken", invalid="ENF0101"),
}  # fmt: skip

IDS = st.sampled_from(["r1", "r2", "r3", "r4"])
TENANT_NAMES = st.sampled_from(["acme", "acme", "acme", "globex", "broken", "nobody"])
REQUESTS = st.builds(
    lambda id_, tenant_, prompt, tokens, tier, user, **more: asked(
        prompt,
        id=id_,
        tenant=tenant_,
        team={"id": "t1", "tier": tier},
        user={"id": user},
        llm={"max_tokens": tokens, "model": more.pop("model")},
        **more,
    ),
    IDS,
    TENANT_NAMES,
    st.sampled_from(["hi", "hi", f"to {MAIL}", CARD]),
    st.sampled_from([10, 300, 900]),
    st.sampled_from(["gold", "free"]),
    st.sampled_from([None, "u1", "u2"]),
    attempt=st.sampled_from([1, 1, 2]),
    deadline_ms=st.sampled_from([None, 5]),
    model=st.sampled_from(["gpt-4o", "gpt-4o", "no-such-model"]),
)
REPORTS = st.builds(
    lambda id_, tenant_, **more: {"request_id": id_, "tenant": tenant_, **more},
    IDS,
    TENANT_NAMES,
    attempt=st.sampled_from([1, 1, 2]),
    final=st.sampled_from([True, True, False]),
    outcome=st.sampled_from(["completed", "cancelled", "failed"]),
    input_tokens=st.sampled_from([None, 5, 800]),
    output_tokens=st.sampled_from([None, 0, 700]),
    user=st.sampled_from([None, "u1"]),
    acted=st.sampled_from(["allow", "deny", "timeout_allow"]),
)
EVENTS = st.lists(
    st.tuples(
        st.one_of(
            REQUESTS.map(lambda value: ("request", value)),
            REQUESTS.map(lambda value: ("request", value)),
            REPORTS.map(lambda value: ("usage", value)),
            st.just(("request", {"id": "r9", "tenant": "acme", "llm": 1})),
            st.just(("usage", {"request_id": "r1"})),
        ),
        st.sampled_from([0, SECOND_US, 20 * SECOND_US, MINUTE_US, 3 * MINUTE_US]),
        st.booleans(),
        st.sampled_from([0, 9]),
    ),
    min_size=1,
    max_size=14,
)


def encoded(kind, value, *, in_avro):
    raw = json.dumps(value).encode()
    if not in_avro or ("llm" not in value and kind == "request") or value.get("llm") == 1:
        return raw
    if kind == "request":
        return events.encode(events.request_from_json(raw))
    return events.encode(events.usage_from_json(raw)) if "tenant" in value else raw


def ledger(outcome):
    return [
        (e.kind, e.account, e.payload, e.notes, tuple(map(repr, e.effects)))
        for e in outcome.entries
    ]


def letter(outcome):
    return outcome.dead_letter and events.encode(outcome.dead_letter)


def known(name):
    return TENANTS.get(name) or program(name=name)


@settings(max_examples=200)
@given(EVENTS)
def test_redoing_what_was_told_gives_the_same_rows_and_ledger(script):
    """
    Requests and usage of several tenants in both forms, repeats, reuse, lateness, expiry: after each event the
    rows, the queues, the ledger entries and dead letters of decider and successor are the same. The successor
    reads told decisions from their bytes, JSON or Avro; what was not told anew it takes as it comes.
    """
    first, second = Desk(), Desk()
    now_us = NOW_US
    charged = {}
    for at, ((kind, value), step_us, in_avro, late_ms) in enumerate(script):
        now_us += step_us
        raw = encoded(kind, value, in_avro=in_avro)
        source = events.Source("t", 0, at, 0, 0, late_ms)
        arrival = Arrival(None, raw, source, now_us, now_us)
        note(f"{kind} {value} at {now_us - NOW_US}")
        if kind == "usage":
            one = first.engine.usage(known, arrival, first.rows, first.queue)
            two = second.engine.usage(known, arrival, second.rows, second.queue)
        else:
            one = first.engine.request(known, arrival, first.rows, first.queue)
            if one.decision is None:
                two = second.engine.request(known, arrival, second.rows, second.queue)
            else:
                told = events.read_decision(one.value)
                two = second.engine.redo(
                    arrival, told, one.value, second.rows, second.queue, program_of=known
                )
        assert ledger(two) == ledger(one)
        assert letter(two) == letter(one)
        assert two.value == one.value
        assert two.overrun_usd_nano == one.overrun_usd_nano
        assert second.snapshot() == first.snapshot()
        assert len(second.queue) == len(first.queue)
        check_reserved(first)
        check_first_verdicts(one, charged)


def check_reserved(desk):
    """What budgets hold is what open calls hold of them: no event leaks a reservation."""
    held = {}
    for _, row in desk.rows.items("c/"):
        if row.status == "open":
            for part in row.budgets:
                left = max(part.amount - row.charged_usd_nano, 0)
                held[part.row] = held.get(part.row, 0) + left
    for key, row in desk.rows.items("b/"):
        assert row.reserved_usd_nano == held.get(key, 0)
    assert state.leaked(desk.rows.items()) == ()


def check_first_verdicts(outcome, told):
    """A verdict told again is one that was told before, byte for byte."""
    if outcome.decision is not None:
        told[outcome.value] = True
    elif outcome.value is not None:
        assert outcome.value in told


@settings(max_examples=60)
@given(REQUESTS)
def test_a_decision_in_json_says_what_it_says_in_avro(value):
    """to_json and from_json lose nothing that a redo needs: effects and amounts are exact."""
    raw = json.dumps(value).encode()
    decided = Desk(TENANTS).outcome(raw).decision
    again = events.from_json(events.Decision, json.loads(json.dumps(events.to_json(decided))))
    assert again == decided


def test_what_was_refused_unread_is_redone_unread():
    """A record that ends whoever reads it is denied and set aside, by the successor too."""
    first, second = Desk(TENANTS), Desk(TENANTS)
    raw = json.dumps(asked()).encode()
    arrival = first.arrival(raw)
    one = first.engine.refuse(first.program_of, arrival, first.rows, first.queue)
    assert [reason.code for reason in one.decision.reasons] == ["internal_error"]
    told = events.read_decision(one.value)
    unreadable = arrival._replace(value=memoryview(raw))  # Reading it would fail.
    two = second.engine.redo(
        unreadable, told, one.value, second.rows, second.queue, program_of=known
    )
    assert ledger(two) == ledger(one)
    assert (two.dead_letter.code, two.dead_letter.reason) == (
        one.dead_letter.code,
        one.dead_letter.reason,
    )
    assert first.rows.rows == second.rows.rows == {}
    report = first.engine.refuse_usage(arrival)
    assert [entry.notes for entry in report.entries] == [("internal_error",)]


def test_a_bug_is_redone_with_its_dead_letter(monkeypatch):
    """`internal_error` opens a row for the call; the successor sets the record aside as well."""
    from enforcer.engine import verdict

    first, second = Desk(TENANTS), Desk(TENANTS)
    arrival = first.arrival(asked())
    monkeypatch.setattr(verdict, "check_limits", None)
    one = first.engine.request(known, arrival, first.rows, first.queue)
    monkeypatch.undo()
    told = events.read_decision(one.value)
    two = second.engine.redo(arrival, told, one.value, second.rows, second.queue, program_of=known)
    assert letter(two) == letter(one)
    assert second.snapshot() == first.snapshot()


def test_rows_that_do_not_belong_are_no_callers_fault():
    """A corrupt table ends the agent, which restores it; nobody is denied for it."""
    desk = Desk(TENANTS)
    desk.decide()
    ((key, _),) = [item for item in desk.rows.items("b/") if "/all/" in item[0]]
    desk.rows.put(key, events.BudgetRow(0, 0, 0))
    with pytest.raises(AgentCorruptedError):
        desk.usage(input_tokens=1, output_tokens=1)
