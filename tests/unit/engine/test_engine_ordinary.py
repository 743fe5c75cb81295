"""The ordinary decision's function: whatever it decides, the general path would have decided, to the byte."""

import json
from functools import lru_cache

import pytest
from engine_desk import (
    MINUTE_US,
    NOW_US,
    SECOND_US,
    Desk,
    asked,
    program,
    rule,
    rules,
    spec,
    tenant,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer import events, state
from enforcer.audit.chain import Chain
from enforcer.engine import Arrival, Engine, EngineConfig
from enforcer.engine.ordinary import compile_ordinary
from enforcer.events.pieces import cut

KEY = b"enforcer-unkeyed"
SETTINGS = [
    "{}",
    "{account: [tenant, team.id]}",
    "{default_verdict: deny}",
    "{required: [team.id]}",
    "{models: {fast: openai/gpt-4o-mini}}",
    "{reservation_ttl: 30 s, on_expiry: release, dedup_window: 1 min}",
    "{time_zone: Pacific/Auckland, unknown_model: {ceiling_usd_per_mtok: 30}}",
    "{defaults: {project.id: p0}}",
]
RULES = [
    rule("warm", "warn", "{operator: gt, field: llm.temperature, value: 1}"),
    rule("known", "allow", "{operator: exists, field: user.id}"),
    rule("card", "deny", "{operator: contains, field: pii.types, value: credit_card}"),
    rule("mail", "warn", "{operator: contains, field: pii.types, value: email}"),
    rule("many", "{verdict: modify, edits: [{cap: llm.n, value: 2}]}", "{operator: gt, field: llm.n, value: 2}"),
    rule("big", "deny", "{operator: gt, field: llm.input_tokens, value: 40}"),
    rule("late", "warn", "{operator: gt, field: attributes.step, value: 7}"),
    rule("steps", "deny", "{operator: gt, field: attributes.step, value: 5}"),
    rule("answer", "{verdict: modify, edits: [{cap: llm.max_tokens, value: 300}]}"),
    rule("free", "{verdict: modify, edits: [{cap: llm.n, value: 2}, {cap: llm.max_tokens, value: 9}]}", "{operator: eq, field: team.tier, value: free}"),
    rule("same", "{verdict: modify, edits: [{cap: llm.max_tokens, value: 300}]}", "{operator: exists, field: user.id}"),
    rule("cooler", "{verdict: modify, edits: [{cap: llm.max_tokens, value: 400}, {set: llm.temperature, value: 1}]}", "{operator: exists, field: llm.temperature}"),
    rule("tiny", "deny", "{operator: lt, field: llm.max_tokens, value: 10}"),
    rule("dear", "deny", "{operator: gt, field: llm.estimated_cost_usd, value: 0.004}"),
    rule("single", "deny", "{operator: eq, field: llm.n, value: 2}"),
    "- {id: told, when: 'has(llm.max_tokens)', then: {verdict: modify, edits: [{cap: llm.max_tokens, value: 200}]}, reason: 'at most {{ llm.max_tokens }}'}",
    "- {id: spent, when: 'budget(\"day\").spent_usd > 0.001', then: warn}",
    "- {id: named, when: 'has(user.id)', then: warn, reason: 'asked of {{ llm.provider }}'}",
]  # fmt: skip
LIMITS = [
    "budgets: [{id: day, key: user.id, per: day, limit_usd: 0.01, on_missing_key: shared}]",
    "budgets: [{id: day, key: [user.id, team.id], per: hour, limit_usd: {by: team.tier, free: 0.012, default: 1}, on_missing_key: skip}]",
    "budgets: [{id: day, per: total, limit_usd: 100}, {id: step, key: attributes.step, per: month, limit_usd: 100, on_missing_key: shared}]",
    "rate_limits: [{id: few, key: user.id, per: minute, limit_requests: 6, burst: 2, on_missing_key: skip}]",
    "rate_limits: [{id: tokens, key: team.id, per: hour, limit_tokens: 5000, on_missing_key: shared}]",
    "rate_limits: [{id: odd, key: user.id, per: second, limit_requests: {by: team.tier, free: 1, default: 7}, on_missing_key: deny, on_exceeded: warn}]",
    "match: {operator: eq, field: team.tier, value: free}\nbudgets: [{id: free, key: user.id, per: week, limit_usd: 1, on_missing_key: shared}]",
    "mode: shadow\nbudgets: [{id: tried, per: day, limit_usd: 0.02}]",
    "mode: shadow\nrules: [{id: hot, condition: {operator: gt, field: llm.temperature, value: 1}, then: deny}]",
    "mode: shadow\nrate_limits: [{id: tries, key: user.id, per: hour, limit_tokens: 2000, on_missing_key: shared}]",
]  # fmt: skip


@st.composite
def worlds(draw):
    """Documents of one tenant: its settings, rules, and limits, each in a policy of its own."""
    texts = [tenant(draw(st.sampled_from(SETTINGS)))]
    chosen = draw(st.lists(st.sampled_from(RULES), unique=True, max_size=5))
    limits = draw(st.lists(st.sampled_from(LIMITS), unique=True, max_size=3))
    if any("budget(" in each for each in chosen) and not any("id: day" in each for each in limits):
        limits.append(LIMITS[0])
    days = [each for each in limits if "id: day" in each]
    if chosen:
        # `budget("day")` is of the policy's own limits.
        texts.append(spec(rules(*chosen) + ("\n" + days[0] if days else ""), name="rules"))
    own = [each for each in limits if not chosen or each not in days[:1]]
    texts += [spec(each, name=f"limit-{at}") for at, each in enumerate(own)]
    return texts


TEXTS = st.sampled_from(
    ["hello", "mail jane.roe@company.com", "card 4111 1111 1111 1111", "a long story " * 20]
)


@st.composite
def requests(draw):
    """A request in Avro, now and then an odd one."""
    user = draw(st.sampled_from([None, "u1", "u2", "ü/3"]))
    request = asked(
        draw(TEXTS),
        id=draw(st.sampled_from(["r1", "r2", "r3", "r4", "r5", "a/b", "#7", "x" * 70])),
        attempt=draw(st.sampled_from([1, 1, 1, 1, 2])),
        llm={
            "model": draw(st.sampled_from(["gpt-4o", "gpt-4o", "gpt-4o", "fast", "no-such"])),
            "n": draw(st.sampled_from([1, 1, 3])),
            "temperature": draw(st.sampled_from([None, 1.5])),
            "max_tokens": draw(st.sampled_from([0, 10, 500, None])),
            "service_tier": draw(st.sampled_from([None, "flex"])),
        },
        user={"id": user, "email": draw(st.sampled_from([None, "jo@example.com"]))},
        team={"id": draw(st.sampled_from([None, "t1", "t2"])), "tier": draw(st.sampled_from([None, "free"]))},
        attributes=draw(st.sampled_from([{}, {"step": 3}, {"step": 9}, {"step": "x"}])),
        deadline_ms=draw(st.sampled_from([None, 5])),
        phase=draw(st.sampled_from(["request"] * 9 + ["response"])),
    )  # fmt: skip
    return events.encode_request(events.request_from_json(json.dumps(_bare(request)).encode()))


def _bare(value):
    """Without what is None: JSON on the wire leaves it out."""
    if isinstance(value, dict):
        return {key: _bare(each) for key, each in value.items() if each is not None}
    return value


REPORTS = st.sampled_from(["r1", "r2", "r3"]).map(
    lambda name: events.encode_usage(
        events.Usage(name, "acme", input_tokens=5, output_tokens=3, provider="openai", model="gpt-4o")
    )
)  # fmt: skip
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, SECOND_US, MINUTE_US, 90 * MINUTE_US]),
        st.one_of(requests(), requests(), requests(), REPORTS),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@lru_cache(maxsize=1_000)
def compiled(texts):
    """A program, made once: what its function keeps between events is then put to the test as well."""
    return program(*texts)


class Side:
    """One engine with its rows and its chain."""

    def __init__(self, texts, *, is_ordinary):
        self.desk = Desk({"acme": compiled(tuple(texts))})
        self.desk.engine = Engine(EngineConfig(is_ordinary=is_ordinary))
        self.chain = Chain()
        self.ordinary = 0

    def take(self, at_us, value, *, is_stale):
        """Take one record; all it leads to, as bytes."""
        desk = self.desk
        desk.offset += 1
        source = events.Source(
            "requests", 3, desk.offset * 3_000, 2, 7, 1 if is_stale else 9, desk.offset % 3
        )
        arrival = Arrival(None, value, source, at_us, at_us, 0, is_stale)
        is_usage = value[:10] == events.encode_usage(events.Usage("r", "t"))[:10]
        take = desk.engine.usage if is_usage else desk.engine.request
        outcome = take(desk.program_of, arrival, desk.rows, desk.queue)
        links = []
        for entry in outcome.entries:
            self.ordinary += bool(entry.place)
            links.append(
                self.chain.append_decision(entry.place, entry.payload)
                if entry.place
                else self.chain.append(
                    entry.kind, entry.account, at_us, source, entry.payload, entry.notes, entry.effects
                )
            )  # fmt: skip
        return outcome.value, outcome.verdict, links, outcome.dead_letter, outcome.decision

    def rows(self):
        """Every row's bytes in the order written, and what is due when."""
        written = [(key, events.encode(row)) for key, row in self.desk.rows.rows.items()]
        return written, dict(self.desk.queue._held)


@settings(max_examples=300, deadline=None)
@given(worlds(), STEPS)
def test_both_paths_give_the_same_bytes_rows_and_ledger(texts, steps):
    """Any documents, any order of requests, repeats, reports and times: verdict, links and rows are equal."""
    one, other = Side(texts, is_ordinary=True), Side(texts, is_ordinary=False)
    now_us = NOW_US
    for more_us, value, is_stale in steps:
        now_us += more_us
        assert one.take(now_us, value, is_stale=is_stale) == other.take(
            now_us, value, is_stale=is_stale
        )
        assert one.rows() == other.rows()


CAPS = [each for each in RULES if "cap:" in each and "set:" not in each and "told" not in each]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(RULES), unique=True, max_size=3),
    st.lists(st.sampled_from(CAPS), unique=True, min_size=1),
    st.lists(st.tuples(st.sampled_from([None, 5, 250, 350, 4000]), st.sampled_from([1, 2, 4])), min_size=1, max_size=6),
    st.sampled_from(["{}", "{default_verdict: deny}"]),
    st.booleans(),
)  # fmt: skip
def test_both_paths_cap_alike(others, caps, calls, body, is_tight):
    """Caps above, at and below what was asked for, several of one number, and deny rules that read it: equal bytes."""
    chosen = [*dict.fromkeys([*caps, *others])]
    tight = [LIMITS[0], LIMITS[4]]
    wide = [LIMITS[2], LIMITS[7].replace("mode: shadow\n", "").replace("0.02", "50")]
    own, more = tight if is_tight else wide
    texts = [tenant(body), spec(rules(*chosen) + "\n" + own), spec(more, name="more")]
    one, other = Side(texts, is_ordinary=True), Side(texts, is_ordinary=False)
    for number, (most, answers) in enumerate(calls):
        llm = {"n": answers, "max_tokens": most}
        value = avro(id=f"r{number}", team={"id": "t1", "tier": "free"}, llm=llm)
        assert one.take(NOW_US, value, is_stale=False) == other.take(NOW_US, value, is_stale=False)
        assert one.rows() == other.rows()


@pytest.mark.parametrize(("most", "verdict"), [(None, "modify"), (301, "modify"), (300, "allow")])
def test_a_cap_on_the_answer_is_ordinary(most, verdict):
    """Whether it puts a number in, takes one down, or leaves it: the function itself decides."""
    side = Side([tenant(), spec(rules(CAPS[1]) + "\n" + LIMITS[2])], is_ordinary=True)
    told = side.take(NOW_US, avro(attributes={"step": 1}, llm={"max_tokens": most}), is_stale=False)

    assert told[1] == verdict
    assert side.ordinary == 1
    assert [(e.op, e.value) for e in told[4].edits] == (
        [] if verdict == "allow" else [("add" if most is None else "replace", "300")]
    )


@pytest.mark.parametrize(
    "more", [RULES.index(each) for each in RULES if "cooler" in each or "told" in each]
)
def test_any_other_edit_is_left_to_the_general_path(more):
    """A set beside the cap, or a reason made for one request."""
    side = Side([tenant(), spec(rules(RULES[more]))], is_ordinary=True)
    told = side.take(NOW_US, avro(llm={"max_tokens": 900, "temperature": 1.2}), is_stale=False)

    assert told[1] == "modify"
    assert side.ordinary == 0


def avro(**fields):
    """A plain request, in Avro."""
    request = asked("hello", user={"id": "u1"}, **({"team": {"id": "t1"}} | fields))
    return events.encode_request(events.request_from_json(json.dumps(request).encode()))


@pytest.mark.parametrize("limit", LIMITS, ids=lambda each: each[:40])
def test_within_every_limit_a_decision_is_ordinary(limit):
    """Each kind of limit is asked and booked by the function itself, not left to the general path."""
    side = Side([tenant(), spec(limit)], is_ordinary=True)
    side.take(NOW_US, avro(attributes={"step": 3}), is_stale=False)

    assert side.ordinary == 1


TIGHT = [
    *(each for each in LIMITS if "limit_usd: 100" not in each),
    "budgets: [{id: day, per: day, limit_usd: 0.027}]",
    "rate_limits: [{id: few, per: hour, limit_requests: 7, burst: 3}]",
]
"""Limits that a dozen requests of one user reach."""


@pytest.mark.parametrize("limit", TIGHT, ids=lambda each: each[:40])
def test_both_paths_refuse_the_same_request(limit):
    """One request after the other until a limit is reached, and on, while it fills again: equal throughout."""
    texts = [tenant(), spec(limit)]
    one, other = Side(texts, is_ordinary=True), Side(texts, is_ordinary=False)
    verdicts = set()
    for number in range(24):
        at_us = NOW_US + number * 20 * SECOND_US
        value = avro(id=f"r{number}", team={"id": "t1", "tier": "free"}, llm={"max_tokens": 500})
        told = one.take(at_us, value, is_stale=False)
        assert told == other.take(at_us, value, is_stale=False)
        assert one.rows() == other.rows()
        verdicts.add(told[1])

    assert one.ordinary
    assert "allow" in verdicts


@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_both_paths_try_out_what_is_in_shadow(temperature):
    """Limits in force and in shadow are booked in one order; what a shadow rule finds is told by the general path."""
    tried = [each for each in LIMITS if "shadow" in each]
    limits = ["budgets: [{id: d, per: day, limit_usd: 1}]", LIMITS[4], *tried]
    texts = [tenant(), *(spec(each, name=f"limit-{at}") for at, each in enumerate(limits))]
    one, other = Side(texts, is_ordinary=True), Side(texts, is_ordinary=False)
    for number in range(4):
        value = avro(id=f"r{number}", llm={"max_tokens": 500, "temperature": temperature})
        told = one.take(NOW_US, value, is_stale=False)
        assert told == other.take(NOW_US, value, is_stale=False)
        assert one.rows() == other.rows()
        assert told[1] == "allow"

    assert bool(one.ordinary) == (temperature == 0.5)


@pytest.mark.parametrize("step", [1, 6, "x"])
def test_both_paths_list_what_errs(step):
    """A rule that errs without denying stands in the decision, whichever path decides."""
    texts = [tenant(), spec(rules(RULES[6]))]
    one, other = Side(texts, is_ordinary=True), Side(texts, is_ordinary=False)
    value = avro(attributes={"step": step})

    assert one.take(NOW_US, value, is_stale=False) == other.take(NOW_US, value, is_stale=False)
    assert one.ordinary == (step != "x")


@pytest.mark.parametrize("body", ["{defaults: {project.id: p0}}"])
def test_programs_that_have_nothing_ordinary_get_no_function(body):
    """Where every request would stand aside none is asked."""
    assert compile_ordinary(program(tenant(body)), KEY) is None
    assert compile_ordinary(program(), KEY) is None


def test_what_stands_aside_has_written_nothing():
    """A request that a limit refuses leaves the rows as they were, for the general path to decide on."""
    decide = compile_ordinary(program(tenant(), spec(LIMITS[0])), KEY)
    desk = Desk.of(tenant(), spec(LIMITS[0]))
    value = avro(llm={"max_tokens": 100_000})
    request = events.read_request(value)
    found = desk.program_of("acme")
    facts = desk.engine._facts(found, request, NOW_US)
    arrival = desk.arrival(value)

    assert decide(arrival, request, bytes(32), facts, desk.rows, desk.queue) is None
    assert desk.rows.rows == {}
    assert len(desk.queue) == 0


def test_a_row_in_bytes_reads_as_the_row():
    """The row that is written from pieces settles as any other."""
    side = Side([tenant(), spec(LIMITS[0])], is_ordinary=True)
    side.take(NOW_US, avro(), is_stale=False)
    side.desk.now_us = NOW_US + SECOND_US
    side.desk.usage("r1", input_tokens=5, output_tokens=3, provider="openai", model="gpt-4o")

    assert side.ordinary == 1
    assert side.desk.only("c/").status == "settled"
    assert side.desk.only("b/").reserved_usd_nano == 0


def test_a_name_of_an_author_is_no_code():
    """Whatever a policy is called, the function's text does not hold it."""
    body = "budgets: [{id: day, key: user.id, per: day, limit_usd: 1, on_missing_key: shared}]"
    found = program(tenant("{models: {\"'''\": openai/gpt-4o}}"), spec(body, name="x-import-os"))
    side = Side([tenant()], is_ordinary=True)
    side.desk.programs["acme"] = found
    side.take(NOW_US, avro(), is_stale=False)

    assert side.ordinary == 1


def test_a_hole_that_is_not_there_once_is_refused():
    """Pieces are cut where each hole stands once, or not at all."""
    assert cut(b"abcde", b"b", b"d") == (b"a", b"c", b"e")
    for holes in ((b"x",), (b"a", b"a")):
        with pytest.raises(ValueError, match="stands"):
            cut(b"abca", *holes)


def test_encoded_rows_are_kept_as_rows():
    """``MemoryRows`` gives out rows, whichever way they were put."""
    rows = state.MemoryRows()
    row = events.CallRow(1, "open", bytes(32), b"", 0, 0, "p", "m")
    rows.put_encoded("c/a/r/1", events.encode_call_row(row))

    assert rows.get("c/a/r/1") == row
