"""A tenure: slices and cuts between one takeover and the next, with no loop running."""

import asyncio

import pytest
from stream_desk import (
    ACME,
    CAPPED,
    META,
    NOW_MS,
    Cluster,
    Office,
    call_row,
    deny_word,
    document_of,
    documents_of,
    position,
    set_of,
)

from enforcer import events
from enforcer.errors import AgentCorruptedError, UnavailableError
from enforcer.stream import tenure as tenure_module
from enforcer.stream.commit import write_table
from enforcer.stream.passing import HEADER_BYTES_MAX, KEY_BYTES_MAX
from enforcer.stream.poison import PoisonError
from enforcer.stream.restore import Restored
from enforcer.stream.rows import encode_row
from enforcer.stream.tail import read_tail
from enforcer.stream.takeover import Taken
from enforcer.stream.tenure import Tenure

BUDGET = "b/acme/cap/all//total"


@pytest.fixture
async def office():
    """Services over a cluster where acme is known, its policies read."""
    return await opened(ACME)


async def opened(*texts, **settings):
    cluster = Cluster()
    cluster.put_set(*texts)
    made = Office(cluster, **settings)
    await made.policies.start()
    return made


async def begun(office, *, told=None, tail_lost=False, cold=None, condemned=(), counts=True, **row):
    """The tenure of a takeover that found *row* and *told*; it claimed at the end of ``decisions``."""
    ledger = office.broker.open_ledger("enforcer-0")
    await ledger.start()
    log = office.broker.log("decisions")
    claim = log.append(None, events.encode_claim(events.Claim(0, ledger.epoch, "w1", 0)))
    row.setdefault("policy_offset", office.policies.table.offset)
    restored = Restored(0, {"state": 0, "calls": 0}, cold)
    taken = Taken(ledger, position(**row), told or {}, claim, restored, tail_lost, counts)
    return await Tenure.begin(office, office.table, taken, partition=0, condemned=condemned)


def feed(tenure, office):
    """Feed everything that is in the inputs and was not fed."""
    for name in ("requests", "usage", "leases"):
        queue = getattr(tenure.inputs, name)
        tenure.inputs.feed(name, office.fetched(name, queue.fetched))


def run(tenure, office):
    """Feed and decide all."""
    feed(tenure, office)
    while tenure.take_slice():
        pass


def entries(tenure):
    """The audit records of the open interval, decoded."""
    return [events.decode_audit(record[1]) for record in tenure.interval.audit]


def kinds(tenure):
    return [entry.kind for entry in entries(tenure)]


def codes(decision):
    return [reason.code for reason in decision.reasons]


# -- a slice --------------------------------------------------------------------------------------------------------


async def test_a_slice_decides_tells_and_extends_the_ledger(office):
    """One request: its verdict is in ``decisions``, the same bytes wait for the ledger, the row has changed."""
    office.broker.ask("r1")
    tenure = await begun(office)
    feed(tenure, office)
    assert tenure.take_slice() == 1
    (told,) = office.broker.told()
    assert (told.verdict, told.source.offset, told.source.policy_offset) == ("allow", 0, 2)
    (entry,) = entries(tenure)
    value = office.broker.log("decisions").values(committed=False)[1]
    assert (entry.kind, entry.payload, entry.sequence) == ("decision", value, 0)
    assert (tenure.interval.events, tenure.has_work, len(tenure.interval.acks)) == (1, True, 1)
    assert office.broker.log("audit").values() == []
    assert tenure.take_slice() == 0


async def test_usage_settles_and_tells_nobody(office):
    """A usage report makes an entry, no verdict; what the gateway did without one is counted."""
    office.broker.ask("r1")
    office.broker.report("r1", acted="timeout_allow")
    tenure = await begun(office)
    run(tenure, office)
    assert kinds(tenure) == ["decision", "settlement"]
    assert len(office.broker.told()) == 1
    assert tenure.interval.events == 2


async def test_a_redelivery_is_told_again_and_changes_nothing(office):
    """The same request again gets the first verdict's bytes, and no entry of its own."""
    office.broker.ask("r1")
    office.broker.ask("r1")
    tenure = await begun(office)
    run(tenure, office)
    first, second = office.broker.log("decisions").values(committed=False)[1:]
    assert first == second
    assert kinds(tenure) == ["decision"]


async def test_a_slice_lasts_so_long_and_no_longer(monkeypatch):
    """After ``slice_us`` the slice is sent, whatever is still in the queues."""
    office = await opened(ACME, slice_us=5_000)
    now = [0.0]

    def monotonic():
        now[0] += 0.002
        return now[0]

    class Time:
        pass

    Time.monotonic = staticmethod(monotonic)
    for n in range(10):
        office.broker.ask(f"r{n}")
    tenure = await begun(office)
    feed(tenure, office)
    monkeypatch.setattr(tenure_module, "time", Time)
    assert tenure.take_slice() == 3


async def test_a_slice_is_no_larger_than_the_room():
    """What is told and not committed, the commit under way among it, stays within its bound."""
    office = await opened(ACME, uncommitted_records_max=5, commit_records_max=3)
    for n in range(20):
        office.broker.ask(f"r{n}")
    tenure = await begun(office)
    feed(tenure, office)
    assert tenure.take_slice() == 3
    assert (tenure.is_large, tenure.is_backlogged()) == (True, False)
    cut = tenure.cut()
    assert tenure.take_slice() == 2
    assert tenure.is_backlogged()
    assert tenure.take_slice() == 0
    tenure.committed(cut)
    assert not tenure.is_backlogged()


async def test_bytes_bound_the_backlog_too():
    """Large records are as many bytes: both the ledger's and those not yet acknowledged count."""
    office = await opened(ACME, uncommitted_bytes_max=1000, commit_bytes_max=10)
    office.broker.ask("r1")
    tenure = await begun(office)
    run(tenure, office)
    assert tenure.is_large
    office = await opened(ACME, uncommitted_bytes_max=100_000)
    office.broker.ask("r1")
    tenure = await begun(office)
    tenure._fast.queued_bytes = 100_000
    assert not tenure.is_backlogged()  # Nothing is told: its verdicts are another interval's.
    run(tenure, office)
    assert tenure.is_backlogged()


async def test_time_bounds_the_backlog_too(office, monkeypatch):
    """What was told longer than ``uncommitted_ms_max`` ago and is not committed stops the inputs."""
    office.broker.ask("r1")
    tenure = await begun(office)
    run(tenure, office)
    assert not tenure.is_backlogged()
    later = tenure_module.time.monotonic() + 6

    class Time:
        monotonic = staticmethod(lambda: later)

    monkeypatch.setattr(tenure_module, "time", Time)
    assert tenure.is_backlogged()
    cut = tenure.cut()
    assert tenure.is_backlogged()
    tenure.committed(cut)
    assert not tenure.is_backlogged()


async def test_a_record_from_the_future_waits_and_moves_no_time(office):
    """Too far ahead of the clock it is not taken, nor does event time follow it; later it is."""
    office.broker.ask("r1")
    office.broker.ask("r2", at_ms=NOW_MS + 60_001)
    tenure = await begun(office)
    run(tenure, office)
    assert [d.request_id for d in office.broker.told()] == ["r1"]
    assert tenure.cut().position.now_us == NOW_MS * 1000
    tenure.take_slice()
    assert tenure._future._offset == 1
    office.clock_ms += 1
    run(tenure, office)
    assert [d.request_id for d in office.broker.told()] == ["r1", "r2"]


async def test_event_time_never_goes_back(office):
    """The largest record time counts, over takeovers too; lateness is the worker's clock less the record's."""
    office.broker.ask("r1", at_ms=NOW_MS)
    office.broker.ask("r2", at_ms=NOW_MS - 500)
    office.clock_ms = NOW_MS + 40
    tenure = await begun(office, now_us=(NOW_MS + 7) * 1000)
    run(tenure, office)
    first, second = office.broker.told()
    assert (first.source.late_ms, second.source.late_ms, tenure.lag_ms) == (40, 540, 540)
    assert tenure.cut().position.now_us == (NOW_MS + 7) * 1000


# -- copied on ----------------------------------------------------------------------------------------------------------


async def test_headers_that_are_copied_on(office):
    """The first short trace goes to ledger and verdict, the gateway's name to the verdict alone."""
    long = b"x" * (HEADER_BYTES_MAX + 1)
    office.broker.ask(
        "r1", headers=[("traceparent", long), ("traceparent", b"t"), ("gateway", b"g"), ("b", b"")]
    )
    office.broker.ask("r2", headers=[("gateway", None)])
    tenure = await begun(office)
    run(tenure, office)
    log = office.broker.log("decisions")
    first, second = log.read(1, log.end, committed=False)
    assert first.headers == (("traceparent", b"t"), ("gateway", b"g"))
    assert second.headers == ()
    assert [record[2] for record in tenure.interval.audit] == [(("traceparent", b"t"),), ()]


async def test_a_key_that_is_too_long_is_not_copied_on(office):
    """A sender's mistake must not make a verdict too large."""
    value = office.broker.log("requests")
    office.broker.ask("r1")
    request = value.records[0][0].value
    value.append(b"k" * (KEY_BYTES_MAX + 1), request.replace(b'"r1"', b'"r2"'))
    tenure = await begun(office)
    run(tenure, office)
    log = office.broker.log("decisions")
    assert [r.key for r in log.read(1, log.end, committed=False)] == [b"acme", None]


# -- cutting -------------------------------------------------------------------------------------------------------------


async def test_a_cut_holds_everything_and_leaves_nothing(office):
    """Positions, chain and rows as of the cut; the next interval is empty, and the chain goes on."""
    office.broker.ask("r1")
    office.broker.report("r1")
    tenure = await begun(office, starts=1)
    run(tenure, office)
    cut = tenure.cut()
    row = cut.position
    assert (row.request_offset, row.usage_offset, row.next_sequence) == (1, 1, 2)
    assert row.chain_head == events.decode_audit(cut.interval.audit[-1][1]).digest
    assert (row.now_us, row.policy_offset, row.starts) == (NOW_MS * 1000, 2, 0)
    assert row.tail_start == 1  # After the claim.
    assert [key for key, _ in cut.changes.calls] == [b"c/acme/r1/1"]
    assert (cut.keep_tail_start, tenure.has_work, tenure.committing) == (False, False, 2)
    office.broker.ask("r2")
    run(tenure, office)
    assert entries(tenure)[0].previous == row.chain_head


async def test_a_cut_of_nothing_keeps_the_starts(office):
    """The first commit of a takeover counts the start; only a position that moved takes it back."""
    tenure = await begun(office, starts=2)
    assert tenure.cut().position.starts == 2


async def test_ended_rows_go_with_a_cut(office):
    """Each cut sweeps a few rows: those of calls are named for the table, without a record."""
    row = call_row(end_us=NOW_MS * 1000)
    office.table.write({b"c/acme/old/1": encode_row("c/", row)})
    office.broker.ask("r1")
    tenure = await begun(office)
    run(tenure, office)
    cut = tenure.cut()
    assert cut.swept == [b"c/acme/old/1"]
    assert [key for key, _ in cut.changes.calls] == [b"c/acme/r1/1"]


async def test_half_a_slice_is_never_cut(office):
    """After an exception within a slice nothing of it may be committed."""
    office.broker.ask("r1")
    tenure = await begun(office)
    feed(tenure, office)
    office.broker.fail["tell:decisions"] = []
    tenure.target.ledger.fenced = True
    with pytest.raises(Exception, match="newer owner"):
        tenure.take_slice()
    assert tenure.is_broken
    with pytest.raises(AssertionError):
        tenure.cut()


# -- the tail -------------------------------------------------------------------------------------------------------------


async def tail_of(office, count):
    """Let an owner tell verdicts on *count* requests and commit none; what its successor reads."""
    for n in range(count):
        office.broker.ask(f"r{n}")
    run(await begun(office), office)
    log = office.broker.log("decisions")
    return read_tail(log.read(0, log.end, committed=False), request_offset=0)


async def test_a_told_verdict_is_kept_and_not_told_again(office):
    """Under other policies by now, the verdict stands as it was told, byte for byte."""
    told = await tail_of(office, 2)
    for key, value in [*map(document_of, documents_of(deny_word("hi")))]:
        office.policies.table.apply(2, key, value)
    office.policies.table.apply(3, *set_of("*", documents_of(deny_word("hi"))))
    before = office.broker.log("decisions").end
    office.broker.ask("r2")
    tenure = await begun(office, told=told)
    run(tenure, office)
    decided = [e for e in entries(tenure) if e.kind == "decision"]
    assert [e.payload for e in decided[:2]] == [told[0].value, told[1].value]
    assert [e.source for e in decided[:2]] == [t.decision.source for t in told.values()]
    log = office.broker.log("decisions")
    new = log.read(before + 1, log.end, committed=False)
    assert [events.read_decision(r.value).request_id for r in new] == ["r2"]
    assert events.read_decision(new[0].value).verdict == "deny"


async def test_the_tail_start_stays_until_the_tail_is_redone(office):
    """A cut in the midst of the tail must not let the next owner miss the rest of it."""
    told = await tail_of(office, 3)
    tenure = await begun(office, told=told)
    tenure.inputs.feed("requests", office.fetched("requests")[:1])
    tenure.take_slice()
    cut = tenure.cut()
    assert (cut.keep_tail_start, cut.position.tail_start) == (True, 0)
    tenure.committed(cut)
    run(tenure, office)
    cut = tenure.cut()
    assert (cut.keep_tail_start, cut.position.tail_start) == (False, tenure._claim_offset + 1)


async def test_a_tail_that_was_lost_is_in_the_ledger(office):
    """Verdicts told and deleted unread are an exception that auditors see."""
    tenure = await begun(office, tail_lost=True)
    (entry,) = entries(tenure)
    assert (entry.kind, entry.account, entry.notes) == ("exception_use", "*", ["tail_lost"])
    assert tenure.has_work


# -- policies ---------------------------------------------------------------------------------------------------------------


def change(office, *texts):
    """Put documents in force; the changes, as the follower tells them."""
    changes = []
    table = office.policies.table
    documents = documents_of(*texts)
    for key, value in [*map(document_of, documents), set_of(documents[0].scope, documents)]:
        changes += table.apply(table.offset, key, value)
    return changes


async def test_a_policy_change_is_in_the_ledger_before_what_it_decides(office):
    """Each change once, before the next decision; one that does not check carries its note."""
    tenure = await begun(office)
    for each in change(office, deny_word("hi")):
        tenure.policy_changed(each)
    (broken,) = office.policies.table.apply(office.policies.table.offset, b"acme/set", b"broken")
    tenure.policy_changed(broken)
    office.broker.ask("r1")
    run(tenure, office)
    found = entries(tenure)
    assert [(e.kind, e.account, e.notes) for e in found] == [
        ("policy_change", "*", []),
        ("policy_change", "acme", ["policy_invalid"]),
        ("decision", "acme", []),
    ]
    assert codes(office.broker.told()[0]) == ["policy_invalid"]


async def test_a_takeover_enters_what_came_into_force_since(office):
    """Changes at or after the position's policy offset are entered, others were; a cut alone does it."""
    tenure = await begun(office, policy_offset=1)
    assert not tenure.has_work
    cut = tenure.cut()
    assert [events.decode_audit(r[1]).kind for r in cut.interval.audit] == ["policy_change"]
    again = await begun(office, policy_offset=2)
    assert again.cut().interval.audit == []


async def test_while_the_tail_is_redone_only_seen_changes_are_entered(office):
    """A change that no told verdict had seen waits, and the position's policy offset with it."""
    told = await tail_of(office, 1)
    changes = change(office, deny_word("hi"))
    tenure = await begun(office, told=told, policy_offset=0)
    assert changes
    first = tenure.cut()
    assert (first.interval.audit, first.position.policy_offset) == ([], 1)
    run(tenure, office)
    assert [(e.kind, e.account) for e in entries(tenure)] == [
        ("policy_change", "acme"), ("decision", "acme"),
    ]  # fmt: skip
    cut = tenure.cut()
    assert [events.decode_audit(r[1]).account for r in cut.interval.audit] == ["acme", "acme", "*"]
    assert cut.position.policy_offset == office.policies.table.offset


# -- poison ------------------------------------------------------------------------------------------------------------------


def raising(error):
    """An engine's method that raises."""

    def fail(*_args, **_kwargs):
        raise error

    return fail


class Wired:
    """An engine whose methods may be replaced."""

    def __init__(self, engine, **methods):
        self.engine = engine
        self.__dict__.update(methods)

    def __getattr__(self, name):
        return getattr(self.engine, name)


@pytest.mark.parametrize(("name", "method"), [("requests", "request"), ("usage", "usage")])
async def test_an_exception_of_the_engine_names_its_record(office, name, method):
    """Whatever the engine raises at a record is that record's poison, and the slice is broken."""
    if name == "requests":
        office.broker.ask("r1")
    else:
        office.broker.report("r1")
    office.engine = Wired(office.engine, **{method: raising(ValueError("secret text"))})
    tenure = await begun(office)
    feed(tenure, office)
    with pytest.raises(PoisonError) as error:
        tenure.take_slice()
    assert error.value.place == (name, 0)
    assert "secret" not in str(error.value)
    assert tenure.is_broken


async def test_a_damaged_row_is_nobodys_poison(office):
    """The agent's own state at fault comes out as it is: no caller is denied for it."""
    office.broker.ask("r1")
    office.engine = Wired(office.engine, request=raising(AgentCorruptedError("row")))
    tenure = await begun(office)
    feed(tenure, office)
    with pytest.raises(AgentCorruptedError):
        tenure.take_slice()


async def test_a_condemned_request_is_denied_unread(office):
    """What raised before is denied ``internal_error``, audited, dead-lettered; the next one is decided."""
    office.broker.ask("r1")
    office.broker.ask("r2")
    tenure = await begun(office, condemned={("requests", 0)})
    run(tenure, office)
    assert [codes(d) for d in office.broker.told()] == [["internal_error"], []]
    (letter,) = tenure.interval.dead_letters
    assert letter[0] == b"enforcer.requests/0/0"
    assert events.decode_dead_letter(letter[1]).code == "internal_error"
    assert kinds(tenure) == ["decision", "decision"]


async def test_a_condemned_usage_report_is_set_aside(office):
    """It settles nothing, and says so in the ledger."""
    office.broker.report("r1")
    tenure = await begun(office, condemned={("usage", 0)})
    run(tenure, office)
    (entry,) = entries(tenure)
    assert (entry.kind, entry.notes) == ("settlement", ["internal_error"])
    assert len(tenure.interval.dead_letters) == 1


async def test_a_told_verdict_whose_redoing_raises_stands(office):
    """It was told: it goes into the ledger as it is, though its effects cannot be found again."""
    told = await tail_of(office, 1)
    office.engine = Wired(office.engine, redo=raising(ValueError()))
    tenure = await begun(office, told=told)
    feed(tenure, office)
    with pytest.raises(PoisonError):
        tenure.take_slice()
    tenure = await begun(office, told=told, condemned={("requests", 0)})
    run(tenure, office)
    assert [e.payload for e in entries(tenure)] == [told[0].value]
    assert len(office.broker.told()) == 1


async def test_a_refusal_that_was_told_and_not_committed_keeps_its_dead_letter(office):
    """A commit failed after a condemned record was refused: the verdict comes back from the tail, the letter with it."""
    office.broker.ask("r1")
    run(await begun(office, condemned={("requests", 0)}), office)
    (verdict,) = office.broker.told()
    log = office.broker.log("decisions")
    told = read_tail(log.read(0, log.end), request_offset=0)
    tenure = await begun(office, told=told, condemned={("requests", 0)})
    run(tenure, office)
    assert [e.payload for e in entries(tenure)] == [told[0].value]
    assert [events.decode_dead_letter(each[1]).code for each in tenure.interval.dead_letters] == [
        "internal_error"
    ]
    assert office.broker.told() == [verdict]


async def test_from_the_fourth_start_each_record_is_tried_by_itself(office):
    """The head is named in a commit first, then taken alone; then the next one is named."""
    office.broker.ask("r1")
    office.broker.ask("r2")
    tenure = await begun(office, starts=4)
    assert tenure.take_slice() == 0  # Nothing there: nothing on trial.
    assert tenure.care.trying is None
    feed(tenure, office)
    assert tenure.take_slice() == 0
    assert (tenure.has_work, tenure.is_large, tenure.is_backlogged()) == (True, True, True)
    assert office.trial.bars(1)
    cut = tenure.cut()
    assert (cut.position.trying, cut.position.trying_count) == (0, 1)
    assert (cut.position.starts, cut.position.request_offset) == (4, 0)
    tenure.committed(cut)
    assert tenure.take_slice() == 1
    assert tenure.is_backlogged()
    cut = tenure.cut()
    assert (cut.position.trying, cut.position.request_offset) == (None, 1)
    tenure.committed(cut)
    assert tenure.take_slice() == 0
    assert tenure.care.trying == 1


async def test_one_trial_at_a_time(office):
    """While another partition's record is on trial, none of this one's is named."""
    office.trial.begin(5)
    office.broker.ask("r1")
    tenure = await begun(office, starts=4)
    feed(tenure, office)
    assert tenure.take_slice() == 0
    assert tenure.care.trying is None


async def test_a_record_found_on_trial_three_times_is_refused(office):
    """The position row of three dead owners condemns it, without a further trial."""
    office.broker.ask("r1")
    tenure = await begun(office, starts=7, trying=0, trying_count=3)
    run(tenure, office)
    assert codes(office.broker.told()[0]) == ["internal_error"]


# -- what a takeover finds in the rows ------------------------------------------------------------------------------------------


async def test_reservations_without_a_call_are_charged_after_a_cold_restore():
    """Money that no usage will ever find is charged, in the ledger under its account; a warm table has none."""
    office = await opened(ACME, CAPPED)
    row = events.BudgetRow(1, 9, 0)
    key = BUDGET
    office.table.write({key.encode(): encode_row(key, row)})
    warm = await begun(office, cold=None)
    assert not warm.has_work
    tenure = await begun(office, cold="new")
    (entry,) = entries(tenure)
    assert (entry.kind, entry.account, entry.notes) == ("expiry", "acme", ["leaked"])
    assert [(e.kind, e.amount) for e in entry.effects] == [("release", 9), ("charge", 9)]
    changes = dict(tenure.cut().changes.state)
    assert events.decode_budget_row(changes[key.encode()]) == events.BudgetRow(10, 0, 0)


async def test_open_calls_are_in_the_queue_again(office):
    """A reservation found in the table expires in this tenure as it would have in the last."""
    held = call_row(
        status="open", expires_us=NOW_MS * 1000 - 1, reserved_usd_nano=5,
        budgets=[events.Allocation(BUDGET, 5)],
    )  # fmt: skip
    changes = [
        (b"c/acme/old/1", encode_row("c/", held)),
        (BUDGET.encode(), encode_row(BUDGET, events.BudgetRow(0, 5, 0))),
    ]
    write_table(office.table, changes, [], meta=META)
    office.broker.ask("r1")
    tenure = await begun(office)
    run(tenure, office)
    assert kinds(tenure) == ["expiry", "decision"]


async def test_a_failed_send_breaks_the_slice(office):
    """The fast lane refuses at once: what was decided in this slice is told to nobody, and never committed."""
    office.broker.ask("r1")
    tenure = await begun(office)
    feed(tenure, office)

    def refuse(*_args):
        raise UnavailableError("full", code="backlog")

    tenure._fast.send = refuse
    with pytest.raises(UnavailableError):
        tenure.take_slice()
    assert tenure.is_broken
    await asyncio.sleep(0)
