"""Replay: the fold over a ledger, with the policies that were and with a candidate's."""

import json
from dataclasses import dataclass, field

import pytest

from enforcer import detect, events, policy, state
from enforcer.audit.chain import Chain
from enforcer.cli import main
from enforcer.control.replay import fold as folding
from enforcer.control.replay import running
from enforcer.control.replay.answer import answer_of
from enforcer.control.replay.differences import changes_sorted
from enforcer.control.replay.explain import explain
from enforcer.control.replay.fold import Fold, Start
from enforcer.control.replay.page import page_of
from enforcer.control.replay.policies import Candidate, History
from enforcer.control.replay.recording import FileRecording, Recorded, to_lines
from enforcer.control.replay.running import Job, candidate_of, replay
from enforcer.engine import Arrival, Engine
from enforcer.errors import IntegrityError

T0_US = 1_794_830_400_000_000
SECOND_US = 1_000_000
TENANT = "apiVersion: enforcer/v1\nkind: Tenant\nmetadata: {id: acme}\nspec: {}\n"


def spec(body, name="p"):
    return (
        f"apiVersion: enforcer/v1\nkind: Policy\nmetadata: {{id: {name}, tenant: acme}}\n"
        f"spec: {{{body}}}\n"
    )


DAY = spec("rules: [{id: w, then: allow}], budgets: [{id: b, per: day, limit_usd: 0.0004}]")
WIDE = spec("budgets: [{id: b, per: day, limit_usd: 100}]")
NOBODY = spec("rules: [{id: a, then: deny, code: NO-1}]", name="nobody")


def documents(*texts):
    loaded = policy.load([(f"d{at}.yaml", text) for at, text in enumerate(texts)])
    assert not loaded.has_errors, [str(f) for f in loaded.findings]
    return loaded.documents


@dataclass
class Ledger:
    """An agent's work, in memory: what it takes, decides and enters, as a tenure does."""

    partitions: int = 1
    partition: int = 0
    account: str = "acme"
    kept: list = field(default_factory=list)
    chain: Chain = field(default_factory=Chain)
    rows: state.MemoryRows = field(default_factory=state.MemoryRows)
    queue: state.ExpiryQueue = field(default_factory=state.ExpiryQueue)
    engine: Engine = field(default_factory=Engine)
    history: History = field(default_factory=History)
    program: policy.TenantProgram | None = None
    now_us: int = T0_US
    offsets: dict = field(default_factory=lambda: {"requests": 0, "usage": 0, "audit": 0})

    def put(self, topic, value, key=b""):
        offset = self.offsets.setdefault(topic, 0)
        self.offsets[topic] = offset + 1
        key = self.account.encode() if key == b"" else key
        record = Recorded(topic, self.partition, offset, self.now_us // 1000, key, value)
        self.kept.append(record)
        return record

    def source(self, topic="requests", offset=None):
        where = self.offsets["requests"] if offset is None else offset
        usage = self.offsets["usage"]
        return events.Source(f"enforcer.{topic}", self.partition, where, usage, 0, 0)

    def enter(self, kind, source, payload, notes=(), effects=()):
        value = self.chain.append(kind, "acme", self.now_us, source, payload, notes, effects)
        self.put("audit", value, None)

    def apply(self, *texts):
        found = documents(*texts)
        digest = policy.set_digest([d.digest for d in found])
        newest = events.PolicySet("acme", 1, documents=[d.digest for d in found], digest=digest)
        for record in (*(d.to_record() for d in found), newest):
            self.put("policy-history", events.encode(record))
            self.history.add(events.encode(record))
        self.program = policy.compile_tenant(None, policy.compile_scope(found, "acme"), "acme")
        change = {"scope": "acme", "digest": digest, "policy_offset": 0}
        self.enter("policy_change", self.source(), json.dumps(change).encode())

    def arrival(self, record, topic):
        source = self.source(topic, record.offset)
        return Arrival(
            record.key, record.value, source, self.now_us, record.time_ms * 1000, self.partitions
        )

    def ask(self, request_id, *, is_stale=False, refused=False, **llm):
        self.now_us += SECOND_US
        llm = {"provider": "openai", "model": "gpt-4o", "max_tokens": 10, "prompt": "hi", **llm}
        asked = {"id": request_id, "tenant": "acme", "llm": llm}
        if "/" in self.account:
            asked["team"] = {"id": self.account.partition("/")[2]}
        value = json.dumps(asked).encode()
        record = self.put("requests", value)
        arrival = self.arrival(record, "requests")._replace(is_stale=is_stale)
        decide = self.engine.refuse if refused else self.engine.request
        outcome = decide(lambda _: self.program, arrival, self.rows, self.queue)
        for entry in outcome.entries:
            self.enter(entry.kind, arrival.source, entry.payload, entry.notes, entry.effects)
        return outcome.decision

    def report(self, request_id, tokens=1):
        self.now_us += SECOND_US
        usage = {"request_id": request_id, "tenant": "acme", "output_tokens": tokens}
        record = self.put("usage", json.dumps({**usage, "input_tokens": 8}).encode())
        arrival = self.arrival(record, "usage")
        outcome = self.engine.usage(lambda _: self.program, arrival, self.rows, self.queue)
        for entry in outcome.entries:
            self.enter(entry.kind, arrival.source, entry.payload, entry.notes, entry.effects)

    # -- as a recording -------------------------------------------------------------------------

    def records(self, topic, partition, begin=0):
        assert partition in (self.partition, 0)
        return iter([r for r in self.kept if r.topic == topic and r.offset >= begin])

    def ledger_size(self):
        return self.offsets["audit"]

    def close(self):
        pass

    def fold(self, **kwargs):
        return Fold(self, self.history, 0, **kwargs)


def a_day():
    """Calls that are admitted, repeated, refused for their budget, reported on, and expire."""
    ledger = Ledger()
    ledger.apply(TENANT, DAY)
    ledger.ask("r1")
    ledger.report("r1")
    ledger.ask("r2")
    ledger.ask("r2")
    ledger.ask("r3")
    ledger.ask("r4", max_tokens=400)
    ledger.report("early")
    ledger.ask("early")
    ledger.now_us += 3_600 * SECOND_US
    ledger.ask("r5")
    return ledger


def test_the_recorded_policies_make_the_ledger_again_to_the_byte():
    """Reservations, settlements, early usage, repeats and expiries: every entry is the same."""
    found = a_day().fold().run()
    assert (found.identical, found.unlike_entries) == (found.decisions, 0)
    assert found.decisions == 6
    assert found.changes == {}
    assert found.live_usd_nano == found.replayed_usd_nano > 0


def test_a_ledger_from_before_a_repartition_is_decided_again_with_the_partitions_of_then():
    """One partition became so many that the account is another's: what came before the move, and after, is the same."""
    ledger = a_day()
    count = next(n for n in range(2, 9) if events.partition_of(b"acme", n) != 0)
    move = events.Move(0, 0, count, [], 1)
    ledger.enter("move", ledger.source(), events.encode_move(move))
    ledger.partitions = count
    assert ledger.ask("r6").reasons[0].code == "misrouted"
    found = ledger.fold().run()
    assert (found.identical, found.unlike_entries) == (found.decisions, 0) == (7, 0)


class Company:
    """Two partitions of one tenant, as a recording: a team on each."""

    partitions = 2

    def __init__(self, *texts):
        teams = [f"acme/t{n}" for n in range(20)]
        self.ledgers = []
        for number in range(2):
            account = next(t for t in teams if events.partition_of(t.encode(), 2) == number)
            ledger = Ledger(partitions=2, partition=number, account=account)
            ledger.apply(*texts)
            self.ledgers.append(ledger)

    def ask(self, number, name):
        """At another second than any other call."""
        now_us = max(ledger.now_us for ledger in self.ledgers)
        self.ledgers[number].now_us = now_us
        return self.ledgers[number].ask(name)

    def records(self, topic, partition, begin=0):
        return self.ledgers[partition].records(topic, partition, begin)

    def ledger_size(self):
        return 1

    def close(self):
        pass


def test_a_candidates_budget_of_the_whole_tenant_is_one_account_over_all_partitions(monkeypatch):
    """Calls of all partitions draw on it in the order of their time; nobody waits for a slice."""
    tenant = TENANT.replace("{}", "{account: [tenant, team.id]}")
    company = Company(tenant, spec("rules: [{id: w, then: allow}]"))
    for number in range(6):
        decision = company.ask(number % 2, f"r{number}")
    assert decision.verdict == "allow"
    monkeypatch.setattr(running, "opened", lambda _job: company)
    whole = spec("budgets: [{id: b, per: day, limit_usd: 0.0004, span: tenant}]", name="c")
    found = replay(Job(candidate=candidate_of(documents(whole))), processes=4).total
    assert found.decisions == 6
    assert dict(found.changes) == {"allow->deny": 3}
    turned = {e["request_id"] for examples in found.examples.values() for e in examples}
    assert turned == {"r3", "r4", "r5"}


def test_a_changed_ledger_is_seen_and_its_place_named():
    """A decision that these inputs do not come to differs, and the first such record is told."""
    ledger = a_day()
    at = next(n for n, r in enumerate(ledger.kept) if b"budget_exceeded" in (r.value or b""))
    changed = ledger.kept[at].value.replace(b'"http_status":402', b'"http_status":403')
    assert changed != ledger.kept[at].value
    ledger.kept[at] = ledger.kept[at]._replace(value=changed)
    found = ledger.fold().run()
    assert found.identical == found.decisions - 1
    assert found.first_difference["sequence"] == ledger.kept[at].offset
    assert dict(found.changes) == {"deny->deny": 1}


def test_rows_are_rebuilt_up_to_the_start_and_nothing_is_evaluated_before(monkeypatch):
    """What is decided again sees the budget as it was then."""
    whole = a_day()
    middle = whole.kept[-1].time_ms * 1000 - 1
    evaluated = []
    request = folding.ReplayEngine.request
    monkeypatch.setattr(
        folding.ReplayEngine,
        "request",
        lambda self, *args: evaluated.append(args) or request(self, *args),
    )
    found = whole.fold(start=Start(middle)).run()
    assert (found.decisions, found.identical, len(evaluated)) == (1, 1, 1)
    assert found.rows.startswith("folded")


def test_a_start_by_offset_is_the_same():
    """`--from-offsets` names offsets of requests."""
    ledger = a_day()
    last = ledger.offsets["requests"] - 1
    found = ledger.fold(start=Start(0, last)).run()
    assert (found.decisions, found.identical) == (1, 1)


def test_a_candidate_that_denies_spends_nothing_and_is_reported_nothing():
    """Verdicts from and to, the rule that makes the difference, and the money that would not have been spent."""
    ledger = Ledger()
    ledger.apply(TENANT, DAY)
    for name in ("r1", "r2"):
        ledger.ask(name)
        ledger.report(name)
    ledger.report("early")
    ledger.ask("early")
    found = ledger.fold(candidate=Candidate(documents(NOBODY))).run()
    assert dict(found.changes) == {"allow->deny": 3}
    assert dict(found.rules) == {("allow->deny", "nobody", "a"): 3}
    assert found.live_usd_nano > 0
    assert found.replayed_usd_nano == 0


def test_a_candidate_that_changes_nothing_spends_the_same():
    """Reports that came before their request among them."""
    found = a_day().fold(candidate=Candidate(documents(DAY))).run()
    assert found.changes == {}
    assert found.live_usd_nano == found.replayed_usd_nano > 0


def test_a_candidate_that_opens_is_held_to_what_it_would_reserve():
    """Deny to allow comes first; such a call reported nothing, so it counts what it holds."""
    ledger = Ledger()
    ledger.apply(TENANT, DAY)
    ledger.ask("r1", max_tokens=400)
    found = ledger.fold(candidate=Candidate(documents(WIDE))).run()
    assert dict(found.changes) == {"deny->allow": 1}
    assert dict(found.rules) == {("deny->allow", "p", "b"): 1}
    assert (found.live_usd_nano, found.replayed_usd_nano) == (0, 8 * 2_500 + 400 * 10_000)
    assert [e["request_id"] for e in found.examples["deny->allow", "p", "b"]] == ["r1"]


def test_a_candidate_replaces_what_it_names_and_leaves_the_rest():
    """As `policy apply`: the tenant and its other policies stay; with prune they do not."""
    ledger = a_day()
    kept = ledger.fold(candidate=Candidate(documents(spec("rules: []", "x")))).run()
    assert dict(kept.changes) == {}
    pruned = ledger.fold(candidate=Candidate(documents(TENANT), prune=True)).run()
    assert dict(pruned.changes) == {"deny->allow": 2}


def test_policies_change_where_they_did():
    """Each decision is made again under the sets that it names."""
    ledger = Ledger()
    ledger.apply(TENANT, WIDE)
    ledger.ask("r1")
    ledger.apply(TENANT, WIDE, NOBODY)
    assert ledger.ask("r2").verdict == "deny"
    ledger.apply(TENANT, WIDE)
    ledger.ask("r3")
    found = ledger.fold().run()
    assert (found.decisions, found.identical, found.unlike_entries) == (3, 3, 0)


def test_a_set_that_the_history_has_lost_ends_the_replay():
    """Nothing is guessed: what cannot be decided again is said, with the digest."""
    ledger = a_day()
    with pytest.raises(IntegrityError, match="policy-history does not hold"):
        Fold(ledger, History(), 0).run()


def test_facts_of_another_version_are_taken_as_they_were(monkeypatch):
    """Where `data_digest` differs, tokens and cost are the recorded ones, and how many is told."""
    count = detect.RequestFacts._count_tokens
    with monkeypatch.context() as patched:
        patched.setattr(detect, "DATA_DIGEST", "older")
        patched.setattr(
            detect.RequestFacts,
            "_count_tokens",
            lambda self: detect.tokens.TokenCount(count(self).tokens + 3),
        )
        ledger = a_day()
    found = ledger.fold().run()
    assert (found.decisions, found.identical, found.unlike_entries) == (6, 6, 0)
    assert (found.recorded_facts, set(found.digests)) == (6, {"older"})


def test_what_is_no_function_of_the_inputs_is_taken_from_the_ledger():
    """A record that was refused unread, and policies that were stale."""
    ledger = Ledger()
    ledger.apply(TENANT, WIDE)
    assert ledger.ask("r1", refused=True).reasons[0].code == "internal_error"
    assert ledger.ask("r2", is_stale=True).reasons[0].code == "policy_stale"
    ledger.ask("r3")
    found = ledger.fold().run()
    assert (found.decisions, found.identical, found.taken) == (3, 3, 1)


def test_input_that_retention_deleted_is_followed_by_its_effects():
    """Rows stay right where a request is gone: the ledger has what it did."""
    ledger = a_day()
    gone = next(r for r in ledger.kept if r.topic == "requests")
    ledger.kept.remove(gone)
    found = ledger.fold().run()
    assert found.without_input == 1
    assert (found.decisions, found.identical) == (5, 5)


def test_spent_rows_are_forgotten_on_the_way(monkeypatch):
    """Memory grows with what is open, and forgetting changes nothing."""
    monkeypatch.setattr(folding, "SWEEP_ROWS_MIN", 2)
    ledger = a_day()
    ledger.now_us += 3_600 * SECOND_US
    ledger.ask("r6")
    ledger.ask("r7")
    found = ledger.fold()
    result = found.run()
    assert (result.identical, result.unlike_entries) == (8, 0)
    assert len(found.rows.rows) < len(ledger.rows.rows)


def test_a_recording_is_the_same_from_a_file(tmp_path, capsys):
    """Exported, read back, replayed, explained, and shown as a page that needs nothing else."""
    ledger = a_day()
    file = tmp_path / "recording.jsonl"
    file.write_bytes(b"".join(to_lines(ledger)))
    assert [r for t in ("requests", "audit") for r in FileRecording(file).records(t, 0)] == [
        r for t in ("requests", "audit") for r in ledger.records(t, 0)
    ]
    replayed = replay(Job(file=file), processes=4)
    answer = answer_of(replayed)
    assert (answer["identical"], answer["decisions"], answer["differs"]) == (True, 6, {})
    (one,) = explain(Job(file=file), "r1")
    assert one["reproduced"]
    assert [e["kind"] for e in one["ledger"]] == ["settlement"]
    assert [each.policy for each in one["trace"]] == ["p"]
    budget = next(row for row in one["rows"] if row["key"].startswith("b/"))
    assert budget["before"] is None
    assert budget["after"]["reserved_usd"] > 0
    job = Job(file=file, candidate=candidate_of(documents(NOBODY)))
    page = page_of(replay(job, processes=1), title="<candidate>")
    assert "&lt;candidate&gt;" in page
    assert "allow-&gt;deny" in page
    assert "http" not in page

    candidate = tmp_path / "nobody.yaml"
    candidate.write_text(NOBODY)
    arguments = ["replay", "--input", str(file), "--policies", str(candidate)]
    assert main.run([*arguments, "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["differs"] == {"allow->deny": 4}
    assert main.run([*arguments, "--fail-on", "deny-to-allow"]) == 0
    assert main.run([*arguments, "--fail-on", "any-to-deny"]) == 10
    assert main.run(["replay", "--input", str(file), "--request", "none"]) == 5
    capsys.readouterr()
    assert main.run(["replay", "--input", str(file), "--request", "r1"]) == 0
    shown = capsys.readouterr().out
    assert "policy p" in shown
    assert "budget " in shown
    assert main.run(["replay", "--input", str(file), "--fail-on", "deny"]) == 2
    assert main.run(["replay", "--input", str(candidate)]) == 9
    assert main.run(["replay", "--input", str(tmp_path / "none")]) == 5


def test_what_opens_comes_first():
    """Deny to allow before all else, then what opens less, then what closes."""
    counts = {"allow->deny": 9, "warn->modify": 1, "deny->modify": 2, "deny->allow": 1}
    assert list(changes_sorted(counts)) == [
        "deny->allow", "deny->modify", "warn->modify", "allow->deny",
    ]  # fmt: skip
