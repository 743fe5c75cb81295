"""Taking a partition over: seven steps in order, and what each of them refuses."""

import asyncio
from dataclasses import replace

import pytest
from stream_desk import ACME, META, NOW_MS, Cluster, Office, position, until

from enforcer import events
from enforcer.errors import AgentFencedError, IntegrityError, UnavailableError
from enforcer.stream.installation import MisalignedError
from enforcer.stream.takeover import take_over


@pytest.fixture
def cluster():
    """Policies of one tenant, nothing else."""
    made = Cluster()
    made.put_set(ACME)
    return made


@pytest.fixture
async def office(cluster):
    """Services whose policies are followed."""
    made = Office(cluster)
    await made.policies.start()
    running = asyncio.create_task(made.policies.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def taken_over(office, *, is_start=True):
    ledger = office.broker.open_ledger("enforcer-0")
    return await take_over(office, office.table, ledger, partition=0, is_start=is_start)


def keep(cluster, **fields):
    """Commit a position row, as an owner before did."""
    row = position(**fields)
    cluster.log("state").append(b"p", events.encode_position_row(row))
    return row


def verdict(offset, *, usage_offset=0, policy_offset=0):
    source = events.Source("enforcer.requests", 0, offset, usage_offset, policy_offset, 0)
    decision = events.Decision(
        f"d{offset}", f"r{offset}", 1, "acme", "acme", "allow", 200, [],
        policy_digest="", data_digest="", engine="", source=source, time_us=0,
    )  # fmt: skip
    return events.encode_decision(decision)


def tell(cluster, *offsets, **kwargs):
    for offset in offsets:
        cluster.log("decisions").append(b"acme", verdict(offset, **kwargs))


async def test_a_first_owner_begins_at_the_log_starts(cluster, office):
    """A partition nobody has committed is decided from the oldest input there is."""
    log = cluster.log("requests")
    log.gap(3)
    log.begin = 3
    taken = await taken_over(office)
    assert taken.position == position(request_offset=3, starts=1)
    assert (taken.told, taken.tail_lost, taken.is_start) == ({}, False, True)
    assert all(reader.closed for reader in cluster.readers[1:])


async def test_the_claim_is_written_before_anything_is_read(cluster, office):
    """The old owner is fenced, and the claim acknowledged, before rows, tail or policies are looked at."""
    opened = []
    hook = cluster.open_reader

    async def open_reader(*, read_committed=True):
        opened.append(list(cluster.journal))
        return await hook(read_committed=read_committed)

    cluster.open_reader = open_reader
    taken = await taken_over(office)
    assert opened
    assert all(journal == ["start", "tell decisions"] for journal in opened)
    claim = events.read_decision(cluster.log("decisions").values(committed=False)[0])
    assert claim == events.Claim(0, taken.ledger.epoch, "w1", 0)


async def test_the_position_row_is_the_truth(cluster, office):
    """Where the group's offsets differ the row wins; a start is counted, taking over from oneself is not."""
    for n in range(6):
        cluster.ask(f"r{n}")
    keep(cluster, request_offset=4, starts=2, chain_head=b"h" * 32, next_sequence=9)
    cluster.groups["enforcer"] = {("enforcer.requests", 0): 6}
    taken = await taken_over(office)
    assert (taken.position.request_offset, taken.position.starts) == (4, 3)
    assert (await taken_over(office, is_start=False)).position.starts == 2


async def test_what_the_group_says_may_be_unknown(cluster, office):
    """Nothing hangs on the group's offsets: a broker that will not tell them stops nobody."""
    keep(cluster)
    cluster.fail["group_offsets"] = [UnavailableError("no")]
    await taken_over(office)


async def test_the_tail_is_read_from_its_start_to_the_claim(cluster, office):
    """Told verdicts that are not in the ledger are kept; those before the tail start are not even read."""
    for n in range(5):
        cluster.ask(f"r{n}")
    tell(cluster, 0, 1, 2, 3, 4)
    keep(cluster, request_offset=2, tail_start=3)
    taken = await taken_over(office)
    assert list(taken.told) == [3, 4]
    assert taken.claim_offset == 5


async def test_what_an_old_owner_tells_after_the_claim_is_not_of_the_tail(cluster, office):
    """The broker refuses it; were it there, it would be passed over."""
    cluster.ask("r0")
    tell(cluster, 0)
    keep(cluster)

    async def late():
        if len(cluster.log("decisions").records) == 2:
            tell(cluster, 1)

    cluster.hooks["poll"] = late
    taken = await taken_over(office)
    assert list(taken.told) == [0]


async def test_a_tail_that_is_gone_is_said_loudly(cluster, office):
    """Retention may delete told verdicts before they were redone: the agent goes on, and audits it."""
    tell(cluster, 0, 1)
    cluster.log("decisions").begin = 2
    keep(cluster, tail_start=1)
    assert (await taken_over(office)).tail_lost


async def test_a_verdict_on_a_request_that_is_not_there_is_a_truncated_log(cluster, office):
    """A tail beyond the end of ``requests`` means that the log was cut: nobody may decide that offset anew."""
    tell(cluster, 7)
    keep(cluster)
    with pytest.raises(UnavailableError) as error:
        await taken_over(office)
    assert error.value.code == "input_truncated"


@pytest.mark.parametrize("field", ["request_offset", "usage_offset"])
async def test_an_input_that_ends_before_its_position_is_refused(cluster, office, field):
    """The topic was truncated, or made again: its offsets mean other records."""
    keep(cluster, **{field: 5})
    with pytest.raises(UnavailableError) as error:
        await taken_over(office)
    assert error.value.code == "input_truncated"


async def test_input_deleted_before_it_was_decided_is_passed(cluster, office):
    """Retention outran the agent: loud, and the position stays what it was."""
    log = cluster.log("usage")
    log.gap(9)
    log.begin = 9
    keep(cluster, usage_offset=2)
    assert (await taken_over(office)).position.usage_offset == 2


async def test_another_partition_count_is_refused(cluster, office):
    """Rows written under other partitions hold other accounts."""
    keep(cluster, partition_count=4)
    with pytest.raises(MisalignedError):
        await taken_over(office)


async def test_a_ledger_without_its_position_is_refused(cluster, office):
    """A second chain from zero would fork the first."""
    cluster.log("audit").append(b"acme", b"a record")
    with pytest.raises(IntegrityError) as error:
        await taken_over(office)
    assert error.value.code == "position_lost"


async def test_a_ledger_of_aborted_records_alone_is_none(cluster, office):
    """Control records and a first owner's aborted transaction leave the ledger empty."""
    cluster.log("audit").gap(3)
    assert (await taken_over(office)).position.next_sequence == 0


async def test_policies_never_run_backwards(cluster, office):
    """The table must reach the topic's end, the position's policies and those of every told verdict."""
    cluster.ask("r0")
    tell(cluster, 0, policy_offset=4)
    keep(cluster, policy_offset=3)
    taking = asyncio.create_task(taken_over(office))
    for _ in range(2):
        await asyncio.sleep(0.02)
        assert not taking.done()
        cluster.log("policies").gap()
    await taking
    assert office.policies.table.offset == 4


async def test_policies_that_do_not_come_end_it(cluster, office):
    """A topic that was made again does not reach what was decided under: in a bounded time that is said, and what to do."""
    office.config = office.config.model_copy(update={"step_timeout_ms": 20})
    keep(cluster, policy_offset=99)
    with pytest.raises(UnavailableError, match=r"offset 99, and .*\.policies ends at 2") as error:
        await taken_over(office)
    assert error.value.code == "policies_truncated"
    assert "apply the policies again" in error.value.help


async def test_policies_that_are_not_read_end_it(cluster, office, monkeypatch):
    """Every step has its bound, and the error says which step it was."""
    office.config = office.config.model_copy(update={"step_timeout_ms": 20})
    keep(cluster)

    async def never(_):
        await asyncio.sleep(60)

    monkeypatch.setattr(type(office.policies), "wait_for", lambda *_: never(_))
    with pytest.raises(UnavailableError, match="policies") as error:
        await taken_over(office)
    assert error.value.code == "indefinite"


async def test_decisions_that_cannot_be_read_end_it(cluster, office):
    """A broker that gives nothing of the tail is not taken for an empty tail."""
    office.config = office.config.model_copy(update={"step_timeout_ms": 20})
    tell(cluster, 0)
    keep(cluster)
    row = cluster.log("state").values()[0]
    meta = replace(META, positions={"state": 1, "calls": 0}, written_ms=NOW_MS)
    office.table.write({b"p": row}, meta=meta)
    cluster.silent = True
    with pytest.raises(UnavailableError, match="decisions"):
        await taken_over(office)


async def test_a_ledger_that_cannot_be_read_is_not_taken_for_none(cluster, office):
    """Whether there is a ledger without its position is not known from a broker that gives nothing: it ends in a bounded time."""
    office.config = office.config.model_copy(update={"step_timeout_ms": 20})
    cluster.log("audit").append(b"acme", b"a record")
    cluster.silent = True
    async with asyncio.timeout(5):
        with pytest.raises(UnavailableError, match="audit"):
            await taken_over(office)


async def test_a_newer_owner_ends_it(cluster, office):
    """Who is fenced while it takes over has lost: it reads nothing."""
    cluster.fail["tell:decisions"] = [AgentFencedError("no")]
    with pytest.raises(AgentFencedError):
        await taken_over(office)


async def test_without_a_seat_nobody_is_fenced(cluster, office):
    """The seat is asked for before the producer starts: a stale worker must not fence the rightful owner."""
    office.seat_lost = AgentFencedError("lost")
    with pytest.raises(AgentFencedError):
        await taken_over(office)
    assert cluster.journal == []


async def test_progress_is_told(cluster, office):
    """Whoever watches a restore hears of it."""
    keep(cluster)
    await taken_over(office)
    await until(lambda: office.progress == [(1, 1)])
