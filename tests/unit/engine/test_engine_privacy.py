"""What names a person stands in one place, and no text of a call anywhere."""

import json

from engine_desk import Desk, asked, spec, tenant
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer import events

BODY = """
rules:
  - {id: a, condition: {operator: matches, field: llm.prompt, value: "q+"}, then: warn, reason: "said so"}
  - {id: b, condition: {operator: gt, field: attributes.note, value: 3}, then: %s}
  - {id: c, condition: {operator: contains, field: user.email, value: "@"}, then: {verdict: modify, edits: [
      {redact: llm.messages, types: [email, phone, credit_card]}, {append: llm.messages, value: {role: system, content: "mind it"}},
      {set: llm.model, value: gpt-4o-mini}]}}
budgets:
  - {id: by-user, per: day, limit_usd: %s, key: user.id, on_missing_key: shared}
  - {id: by-mail, per: day, limit_usd: 9, key: [user.email, team.id], on_missing_key: shared}
  - {id: by-text, per: day, limit_usd: 9, key: "llm.messages[0].content", on_missing_key: skip}
rate_limits:
  - {id: by-ip, per: minute, limit_requests: 9, key: caller.ip, on_missing_key: shared}
  - {id: by-raw, per: minute, limit_requests: 9, key: raw.user.badge, on_missing_key: deny}
"""
MARKED = st.text("qxyz", min_size=8, max_size=12)


def everything_but_subject(outcome):
    record = events.to_json(outcome.decision)
    record.pop("subject")
    return json.dumps(record)


@settings(max_examples=80)
@given(
    st.lists(MARKED, min_size=6, max_size=6, unique=True),
    st.sampled_from(["warn", "deny"]),
    st.sampled_from([0, 9]),
    st.booleans(),
)
def test_persons_and_texts_stay_where_they_belong(words, then, limit, avro):
    """
    User, e-mail and address stand in `subject` alone; rows' keys have pseudonyms; no text of a message, a tool
    call or an attribute stands anywhere: not in reasons, errors, edits, budgets, effects or the ledger's notes.
    """
    user, mail, address, badge, text, note = words
    call = {"name": "f", "arguments": json.dumps({"to": f"{text}@example.org"})}
    request = asked(
        user={"id": user, "email": f"{mail}@example.org", "badge": badge},
        caller={"ip": address},
        attributes={"note": note},
        llm={"messages": [
            {"role": "user", "content": f"{text} {text}@example.org"},
            {"role": "assistant", "content": [{"type": "text", "text": text}], "tool_calls": [call]},
        ]},
    )  # fmt: skip
    value = json.dumps(request).encode()
    if avro:
        value = events.encode(events.request_from_json(value))
    desk = Desk.of(spec(BODY % (then, limit)), tenant())
    outcome = desk.outcome(value)
    told = everything_but_subject(outcome)
    keys = " ".join(desk.rows.rows)
    notes = repr(
        [(entry.kind, entry.account, entry.notes, entry.effects) for entry in outcome.entries]
    )
    for word in words:
        assert word not in told
        assert word not in keys
        assert word not in notes
    subject = json.loads(outcome.decision.subject.data)
    assert subject == {"user": user, "email": f"{mail}@example.org", "ip": address}


@given(MARKED, st.sampled_from(["llm", "user", "attributes", "team"]))
def test_what_cannot_be_read_is_not_quoted(text, field):
    """The reason of a denial and of a dead letter names the place and the types, never the value."""
    wrong = asked(**{field: text} if field != "llm" else {})
    if field == "llm":
        wrong["llm"]["messages"] = text
    outcome = Desk.of(tenant()).outcome(wrong)
    assert outcome.decision.verdict == "deny"
    assert text not in everything_but_subject(outcome)
    assert text not in outcome.dead_letter.reason


def test_pseudonyms_are_keyed_and_stable():
    """The same person has the same row; another key makes another row."""
    from enforcer.engine import Engine, EngineConfig

    body = spec("budgets: [{id: b, per: day, limit_usd: 9, key: user.id}]")
    desk = Desk.of(body, tenant())
    views = [desk.decide(asked(id=f"r{at}", user={"id": "ann"})).budgets[0].key for at in (1, 2)]
    other = Desk.of(body, tenant())
    other.engine = Engine(EngineConfig(pseudonym_key=b"another"))
    (view,) = other.decide(asked(user={"id": "ann"})).budgets
    assert views[0] == views[1] != view.key
    assert len(desk.money()) == 1


def test_who_names_nobody_has_no_subject():
    """Without a user, an e-mail and an address there is nothing to keep apart."""
    assert Desk.of(tenant()).decide().subject is None
