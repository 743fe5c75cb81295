"""
What the data plane asks of a broker, as scripts that run on the real one and on the simulated one, and must agree.

What holds here of both is what the simulation may be trusted for.
"""

from __future__ import annotations

import asyncio
import gc
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from enforcer.broker import BrokerConfig, KafkaBroker, LedgerProducer, NewTopicSpec, Record
from enforcer.errors import (
    AgentCorruptedError,
    AgentFencedError,
    EnforcerError,
    NotFoundError,
    UnavailableError,
)
from enforcer.testing.simulation import Cluster, Process, SimulatedBroker, Weather

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from enforcer.broker.ports import Broker


@pytest.fixture(params=["real", "simulated"])
async def broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    """A broker with topics d, a and small (records up to 10 kB); the event loop must report nothing."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    prefix = request.getfixturevalue("prefix")
    topics = [
        NewTopicSpec(f"{prefix}.d", 2, 1),
        NewTopicSpec(f"{prefix}.a", 2, 1),
        NewTopicSpec(f"{prefix}.small", 1, 1, {"max.message.bytes": "10000"}),
        NewTopicSpec(f"{prefix}.rows", 1, 1, COMPACTED),
    ]
    if request.param == "simulated":
        simulated = SimulatedBroker(Cluster(), Process("script"))
        await simulated.create_topics(topics)
        yield simulated
    else:
        bootstrap = request.getfixturevalue("bootstrap")
        async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as real:
            await real.create_topics(topics)
            yield real
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "100",
}


class LateMarkers(Weather):
    """Ends of transactions are long on their way."""

    def marker_delay_s(self) -> float:
        """Longer than anything else here."""
        return 0.2


def row(value: bytes, key: bytes | None = None) -> tuple[bytes | None, bytes, tuple[()], None]:
    return (key, value, (), None)


async def read_all(
    broker: Broker, topic: str, partition: int = 0, *, read_committed: bool = True
) -> list[Record]:
    """Everything from the log start to the end as it is now."""
    reader = await broker.open_reader(read_committed=read_committed)
    try:
        reader.assign([(topic, partition)])
        await reader.seek_to_beginning()
        end = (await reader.offsets_end([(topic, partition)]))[topic, partition]
        found: list[Record] = []
        while (reader.position(topic, partition) or 0) < end:
            for records in (await reader.poll(100)).values():
                found.extend(records)
        return found
    finally:
        await reader.close()


async def values(broker: Broker, topic: str, *, read_committed: bool = True) -> list[bytes]:
    return [
        record.value or b""
        for record in await read_all(broker, topic, read_committed=read_committed)
    ]


async def until_values(broker: Broker, topic: str, wanted: list[bytes]) -> None:
    """Return when *topic* holds just these: the end of a commit may be on its way when it is answered."""
    async with asyncio.timeout(5):
        while (found := await values(broker, topic)) != wanted:
            assert found == [], found
            await asyncio.sleep(0.02)


async def test_a_commit_shows_everything_at_once_and_the_offsets(
    broker: Broker, prefix: str
) -> None:
    """Before the commit a read-committed reader sees nothing, after it all; the group's offsets with it."""
    d, a = f"{prefix}.d", f"{prefix}.a"
    ledger = broker.open_ledger(f"{prefix}-0")
    await ledger.start()
    await ledger.begin()
    first = ledger.send(a, 0, [row(b"1"), row(b"2", b"k")])
    ledger.send(d, 0, [row(b"3")])
    await ledger.offsets(f"{prefix}-g", {(d, 0): 5, (a, 1): 7})
    assert await first == 0
    assert await values(broker, a) == []

    await ledger.commit()
    await until_values(broker, a, [b"1", b"2"])
    await until_values(broker, d, [b"3"])
    async with asyncio.timeout(5):
        while await broker.group_offsets(f"{prefix}-g") != {(d, 0): 5, (a, 1): 7}:  # noqa: ASYNC110 — as above
            await asyncio.sleep(0.02)
    await ledger.close()


async def test_an_abort_shows_nothing_and_the_ledger_goes_on(broker: Broker, prefix: str) -> None:
    """What was sent in an aborted transaction is never read; the next transaction is a good one."""
    a = f"{prefix}.a"
    ledger = broker.open_ledger(f"{prefix}-0")
    await ledger.start()
    await ledger.begin()
    await ledger.send(a, 0, [row(b"lost")])
    await ledger.abort()
    await ledger.begin()
    ledger.send(a, 0, [row(b"kept")])
    await ledger.commit()

    await until_values(broker, a, [b"kept"])
    assert await values(broker, a, read_committed=False) == [b"lost", b"kept"]
    await ledger.close()


async def test_a_failed_send_makes_the_commit_raise_and_nothing_is_visible(
    broker: Broker, prefix: str
) -> None:
    """The torn transaction: aiokafka alone would commit the other topic's records."""
    a, small = f"{prefix}.a", f"{prefix}.small"
    ledger = broker.open_ledger(f"{prefix}-0")
    await ledger.start()
    await ledger.begin()
    ledger.send(a, 0, [row(b"audit")])
    ledger.send(small, 0, [row(b"x" * 20_000)])
    with pytest.raises(UnavailableError) as caught:
        await ledger.commit()
    assert caught.value.code == "refused"

    # Poisoned: every step says the same, closing is quick, and the next owner ends the transaction.
    for step in (ledger.begin, ledger.commit, ledger.abort):
        with pytest.raises(UnavailableError):
            await step()
    with pytest.raises(UnavailableError):
        ledger.send(a, 0, [row(b"x")])
    with pytest.raises(UnavailableError):
        ledger.fast.send(a, 0, [row(b"x")])
    begun_s = time.monotonic()
    await ledger.close()
    assert time.monotonic() - begun_s < 2

    successor = broker.open_ledger(f"{prefix}-0")
    await successor.start()
    assert await values(broker, a) == []
    assert await values(broker, small) == []
    await successor.close()


async def test_a_new_owner_fences_the_ledger_of_the_old(broker: Broker, prefix: str) -> None:
    """The old owner's open transaction is aborted, and its next step is refused as fenced."""
    a = f"{prefix}.a"
    old = broker.open_ledger(f"{prefix}-0")
    await old.start()
    await old.begin()
    await old.send(a, 0, [row(b"old")])

    new = broker.open_ledger(f"{prefix}-0")
    assert await new.start() > old.epoch
    assert new.producer_id == old.producer_id
    with pytest.raises(AgentFencedError):
        await old.commit()
    await new.begin()
    new.send(a, 0, [row(b"new")])
    await new.commit()

    await until_values(broker, a, [b"new"])
    await old.close()
    await new.close()


async def test_twenty_handovers_leave_no_record_of_an_older_owner_after_a_claim(
    broker: Broker, prefix: str
) -> None:
    """Owners spam both lanes while they are replaced; once a claim is acknowledged the older ones are refused."""
    d, a = f"{prefix}.d", f"{prefix}.a"
    refused: list[EnforcerError] = []

    async def until_refused(act: Callable[[], Awaitable[object]]) -> None:
        try:
            while True:
                await act()
        except EnforcerError as error:
            refused.append(error)

    async def keep_books(number: int, ledger: LedgerProducer) -> None:
        await ledger.begin()
        ledger.send(a, 0, [row(b"%d" % number)])
        await ledger.commit()

    owners, tasks = [], []
    for number in range(20):
        ledger = broker.open_ledger(f"{prefix}-0")
        await ledger.start()
        await ledger.fast.send(d, 0, [row(b"claim %d" % number)])
        owners.append(ledger)
        spam = partial(ledger.fast.send, d, 0, [row(b"%d" % number)])
        books = partial(keep_books, number, ledger)
        tasks += [asyncio.create_task(until_refused(act)) for act in (spam, books)]
        await asyncio.sleep(0.05)
    # The newest owner is still at it; all others were refused.
    async with asyncio.timeout(20):
        await asyncio.wait(tasks[:-2])
    await owners[-1].close()
    await asyncio.wait(tasks)
    for owner in owners[:-1]:
        await owner.close()

    # Now and then a broker that is replacing an owner answers its commit with "unknown server error": refused as well.
    others = [error for error in refused if not isinstance(error, AgentFencedError)]
    assert len(refused) == 40
    assert all(isinstance(error, UnavailableError) for error in others), others
    assert len(others) <= 10, others
    told = b" ".join(await values(broker, d)).split(b"claim ")
    for number, by_owner in enumerate(told[1:]):
        assert set(by_owner.split()) <= {b"%d" % number}
    assert sum(map(len, told)) > 200
    booked = [int(value) for value in await values(broker, a)]
    assert booked == sorted(booked)


async def test_a_zombie_that_sends_after_a_long_sleep_is_refused(
    broker: Broker, prefix: str
) -> None:
    """Sends of an old owner on the fast lane are fenced, now and for good, with the reason."""
    d = f"{prefix}.d"
    zombie = broker.open_ledger(f"{prefix}-0")
    await zombie.start()
    await zombie.fast.send(d, 0, [row(b"before")])
    heir = broker.open_ledger(f"{prefix}-0")
    await heir.start()
    await heir.fast.send(d, 0, [row(b"claim")])

    pending = [zombie.fast.send(d, 0, [row(b"late %d" % i)]) for i in range(3)]
    for future in pending:
        with pytest.raises(AgentFencedError):
            await future
    with pytest.raises(AgentFencedError):
        zombie.fast.send(d, 0, [row(b"again")])
    # The ledger of the same owner knows it too.
    with pytest.raises(AgentFencedError):
        await zombie.begin()
    assert await values(broker, d) == [b"before", b"claim"]
    await zombie.close()
    await heir.close()


async def test_an_open_transaction_holds_the_known_end(broker: Broker, prefix: str) -> None:
    """The last stable offset stops before an open transaction and passes it when it ends."""
    a = f"{prefix}.a"
    ledger = broker.open_ledger(f"{prefix}-0")
    await ledger.start()
    await ledger.begin()
    ledger.send(a, 0, [row(b"1")])
    await ledger.commit()
    await ledger.begin()
    await ledger.send(a, 0, [row(b"2")])
    reader = await broker.open_reader()
    reader.assign([(a, 0)])
    assert reader.position(a, 0) is None
    reader.seek(a, 0, 0)
    assert reader.end(a, 0) is None

    got = await reader.poll(2_000)
    assert [record.value for record in got[a, 0]] == [b"1"]
    await reader.poll(100)
    assert (reader.position(a, 0), reader.end(a, 0)) == (2, 2)
    assert await reader.offsets_end([(a, 0)]) == {(a, 0): 2}

    await ledger.abort()
    async with asyncio.timeout(5):
        while reader.end(a, 0) != 4 or reader.position(a, 0) != 4:
            assert await reader.poll(50) == {}
    await reader.close()
    await ledger.close()


async def test_a_refused_record_of_a_client_costs_only_itself(broker: Broker, prefix: str) -> None:
    """A record that is too large fails alone; those before, beside and after it arrive, once and in order."""
    small = f"{prefix}.small"
    producer = await broker.open_producer()
    await producer.send(small, 0, [row(b"0")])
    large = producer.send(small, 0, [row(b"x" * 20_000)])
    with pytest.raises(UnavailableError) as caught:
        await large
    assert caught.value.code == "refused"
    for i in range(1, 4):
        await producer.send(small, 0, [row(b"%d" % i)])
    await producer.close()
    assert await values(broker, small) == [b"0", b"1", b"2", b"3"]


async def test_an_unknown_topic_is_named(broker: Broker, prefix: str) -> None:
    """prepare() says which topic is missing, and what makes it."""
    producer = await broker.open_producer()
    with pytest.raises(NotFoundError, match=f"{prefix}.nope") as caught:
        await producer.prepare([f"{prefix}.d", f"{prefix}.nope"])
    assert "topics apply" in caught.value.help
    await producer.close()


async def test_the_end_of_a_commit_may_be_late_but_the_next_owner_sees_all_of_it(
    broker: Broker, prefix: str
) -> None:
    """What an answered commit wrote may not be readable yet; InitProducerId waits until it is."""
    a = f"{prefix}.a"
    if isinstance(broker, SimulatedBroker):
        broker.cluster.weather = LateMarkers()
    ledger = broker.open_ledger(f"{prefix}-0")
    await ledger.start()
    for number in range(3):
        # The next transaction waits for the end of the last one, too.
        await ledger.begin()
        ledger.send(a, 0, [row(b"%d" % number)])
        await ledger.offsets(f"{prefix}-g", {(a, 1): number})
        await ledger.commit()
    assert await values(broker, a) in ([b"0", b"1"], [b"0", b"1", b"2"])

    successor = broker.open_ledger(f"{prefix}-0")
    await successor.start()
    assert await values(broker, a) == [b"0", b"1", b"2"]
    assert await broker.group_offsets(f"{prefix}-g") == {(a, 1): 2}
    await ledger.close()
    await successor.close()


async def test_the_commit_of_a_zombie_changes_nothing(broker: Broker, prefix: str) -> None:
    """All is sent and acknowledged, then the owner is replaced: its commit is fenced, its offsets are not there."""
    a, d = f"{prefix}.a", f"{prefix}.d"
    zombie = broker.open_ledger(f"{prefix}-0")
    await zombie.start()
    await zombie.begin()
    await zombie.send(a, 0, [row(b"1")])
    await zombie.send(d, 1, [row(b"2")])
    await zombie.offsets(f"{prefix}-g", {(a, 0): 7})
    heir = broker.open_ledger(f"{prefix}-0")
    await heir.start()

    with pytest.raises(AgentFencedError):
        await zombie.commit()
    assert await values(broker, a) == await values(broker, d) == []
    reader = await broker.open_reader()
    # The markers of the abort are in: nothing holds the ends any more.
    assert await reader.offsets_end([(a, 0), (d, 1)]) == {(a, 0): 2, (d, 1): 2}
    assert (a, 0) not in await broker.group_offsets(f"{prefix}-g")
    for each in (zombie, heir, reader):
        await each.close()


async def test_a_verdict_of_a_zombie_is_taken_before_the_claim_and_refused_after_it(
    broker: Broker, prefix: str
) -> None:
    """InitProducerId alone stops no record that is not transactional: hence the claim."""
    d = f"{prefix}.d"
    zombie = broker.open_ledger(f"{prefix}-0")
    await zombie.start()
    await zombie.fast.send(d, 0, [row(b"told")])
    heir = broker.open_ledger(f"{prefix}-0")
    await heir.start()
    assert await zombie.fast.send(d, 0, [row(b"told after the fence")]) == 1
    assert await heir.fast.send(d, 0, [row(b"claim")]) == 2
    with pytest.raises(AgentFencedError):
        await zombie.fast.send(d, 0, [row(b"told after the claim")])
    assert await values(broker, d) == [b"told", b"told after the fence", b"claim"]
    await zombie.close()
    await heir.close()


async def test_compaction_keeps_the_newest_of_each_key_and_every_offset(
    broker: Broker, prefix: str
) -> None:
    """Older values and markers go, offsets stay, a reader passes over the gaps and comes to the end."""
    rows = f"{prefix}.rows"
    ledger = broker.open_ledger(f"{prefix}-0")
    await ledger.start()
    for number in range(6):
        await ledger.begin()
        ledger.send(
            rows, 0, [row(b"%d" % number, b"k"), row(b"%d" % number, b"k%d" % (number % 2))]
        )
        await ledger.commit()
        await asyncio.sleep(0.15)  # So that the next batch begins another segment.
    if isinstance(broker, SimulatedBroker):
        log = broker.cluster.log(rows, 0)
        log.compact(below=log.end - 3, tombstones_before_ms=0)
    async with asyncio.timeout(60):
        while len(kept := await read_all(broker, rows)) > 5:  # noqa: ASYNC110 — the broker's cleaner
            await asyncio.sleep(0.5)
    newest = {record.key: (record.offset, record.value) for record in kept}
    assert newest == {b"k": (15, b"5"), b"k0": (13, b"4"), b"k1": (16, b"5")}

    reader = await broker.open_reader()
    reader.assign([(rows, 0)])
    reader.seek(rows, 0, 1)
    first: list[Record] = []
    async with asyncio.timeout(10):
        while not first:
            for records in (await reader.poll(100)).values():
                first.extend(records)
        while reader.position(rows, 0) != 18:
            await reader.poll(100)
    assert first[0].offset >= kept[0].offset > 1
    await reader.close()
    await ledger.close()


async def test_an_offset_that_is_not_in_the_log_is_said(broker: Broker, prefix: str) -> None:
    """A position beyond the end is an error, never skipped."""
    reader = await broker.open_reader()
    reader.assign([(f"{prefix}.a", 0)])
    reader.seek(f"{prefix}.a", 0, 1_000)

    async def poll_on() -> None:
        while True:
            await reader.poll(100)

    with pytest.raises(AgentCorruptedError) as caught:
        await asyncio.wait_for(poll_on(), 10)
    assert caught.value.code == "offset_out_of_range"
    await reader.close()
