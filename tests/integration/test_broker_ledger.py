"""The ledger's promises on the real broker: fencing, atomicity, failures that are seen."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from enforcer.broker import BrokerConfig, KafkaBroker, LedgerProducer, NewTopicSpec, Record
from enforcer.errors import AgentFencedError, EnforcerError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial


@pytest.fixture
async def broker(bootstrap: str, prefix: str) -> AsyncIterator[KafkaBroker]:
    """A broker with topics d, a and small (records up to 10 kB); the event loop must report nothing."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with KafkaBroker(BrokerConfig(bootstrap=bootstrap, prefix=prefix)) as opened:
        await opened.create_topics(
            [
                NewTopicSpec(f"{prefix}.d", 2, 1),
                NewTopicSpec(f"{prefix}.a", 2, 1),
                NewTopicSpec(f"{prefix}.small", 1, 1, {"max.message.bytes": "10000"}),
            ]
        )
        yield opened
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []


def row(value: bytes, key: bytes | None = None) -> tuple[bytes | None, bytes, tuple[()], None]:
    return (key, value, (), None)


async def read_all(
    broker: KafkaBroker, topic: str, partition: int = 0, *, read_committed: bool = True
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


async def values(broker: KafkaBroker, topic: str, *, read_committed: bool = True) -> list[bytes]:
    return [
        record.value or b""
        for record in await read_all(broker, topic, read_committed=read_committed)
    ]


async def test_a_commit_shows_everything_at_once_and_the_offsets(
    broker: KafkaBroker, prefix: str
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
    assert await values(broker, a) == [b"1", b"2"]
    assert await values(broker, d) == [b"3"]
    assert await broker.group_offsets(f"{prefix}-g") == {(d, 0): 5, (a, 1): 7}
    await ledger.close()


async def test_an_abort_shows_nothing_and_the_ledger_goes_on(
    broker: KafkaBroker, prefix: str
) -> None:
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

    assert await values(broker, a) == [b"kept"]
    assert await values(broker, a, read_committed=False) == [b"lost", b"kept"]
    await ledger.close()


async def test_a_failed_send_makes_the_commit_raise_and_nothing_is_visible(
    broker: KafkaBroker, prefix: str
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


async def test_a_new_owner_fences_the_ledger_of_the_old(broker: KafkaBroker, prefix: str) -> None:
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

    assert await values(broker, a) == [b"new"]
    await old.close()
    await new.close()


async def test_twenty_handovers_leave_no_record_of_an_older_owner_after_a_claim(
    broker: KafkaBroker, prefix: str
) -> None:
    """Owners spam both lanes while they are replaced; once a claim is acknowledged the older ones are refused."""
    d, a = f"{prefix}.d", f"{prefix}.a"
    refused: list[type[BaseException]] = []

    async def until_refused(act: Callable[[], Awaitable[object]]) -> None:
        try:
            while True:
                await act()
        except EnforcerError as error:
            refused.append(type(error))

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

    assert refused.count(AgentFencedError) == 38
    told = b" ".join(await values(broker, d)).split(b"claim ")
    for number, by_owner in enumerate(told[1:]):
        assert set(by_owner.split()) <= {b"%d" % number}
    assert sum(map(len, told)) > 200
    booked = [int(value) for value in await values(broker, a)]
    assert booked == sorted(booked)


async def test_a_zombie_that_sends_after_a_long_sleep_is_refused(
    broker: KafkaBroker, prefix: str
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


async def test_an_open_transaction_holds_the_known_end(broker: KafkaBroker, prefix: str) -> None:
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


async def test_sends_are_enqueued_in_order_and_split_at_the_batch_size(
    bootstrap: str, broker: KafkaBroker, prefix: str
) -> None:
    """A send never waits; records beyond a batch go into the next one, each future has its first offset."""
    d = f"{prefix}.d"
    config = BrokerConfig(bootstrap=bootstrap, prefix=prefix, batch_bytes=4_000)
    async with KafkaBroker(config) as small_batches:
        producer = await small_batches.open_producer()
        await producer.prepare([d])
        futures = [
            producer.send(d, 0, [row(b"%05d" % (i * 50 + k) + b"." * 40) for k in range(50)])
            for i in range(40)
        ]
        assert not any(future.done() for future in futures)
        assert producer.queued_bytes > 40 * 50 * 45
        assert [await future for future in futures] == [i * 50 for i in range(40)]
        await producer.flush()
        assert producer.queued_bytes == 0
        big = await producer.send(d, 0, [row(b"b" * 50_000)])
        assert big == 2_000
        await producer.close()
    read = await values(broker, d)
    assert [int(value[:5]) for value in read[:-1]] == list(range(2_000))


async def test_a_refused_record_of_a_client_costs_only_itself(
    broker: KafkaBroker, prefix: str
) -> None:
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


async def test_the_queue_of_a_producer_is_bounded(bootstrap: str, prefix: str) -> None:
    """Above its limit of bytes a producer refuses at once, and says why."""
    config = BrokerConfig(bootstrap=bootstrap, prefix=prefix, queued_bytes_max=10_000)
    async with KafkaBroker(config) as broker:
        await broker.create_topics([NewTopicSpec(f"{prefix}.q", 1, 1)])
        producer = await broker.open_producer()
        for _ in range(10):
            producer.send(f"{prefix}.q", 0, [row(b"x" * 1_000)])
        with pytest.raises(UnavailableError) as caught:
            producer.send(f"{prefix}.q", 0, [row(b"x" * 1_000)])
        assert caught.value.code == "backlog"
        await producer.flush()
        await producer.send(f"{prefix}.q", 0, [row(b"y")])
        await producer.close()
        with pytest.raises(UnavailableError):
            producer.send(f"{prefix}.q", 0, [row(b"z")])


async def test_an_unknown_topic_is_named(broker: KafkaBroker, prefix: str) -> None:
    """prepare() says which topic is missing, and what makes it."""
    producer = await broker.open_producer()
    with pytest.raises(NotFoundError, match=f"{prefix}.nope") as caught:
        await producer.prepare([f"{prefix}.d", f"{prefix}.nope"])
    assert "topics apply" in caught.value.help
    await producer.close()


async def test_closing_with_a_broker_gone_is_bounded(prefix: str, bootstrap: str) -> None:
    """With unsendable records in the queue close() ends all the same, and their futures fail."""
    config = BrokerConfig(bootstrap=bootstrap, prefix=prefix, close_timeout_s=1.0)
    async with KafkaBroker(config) as broker:
        await broker.create_topics([NewTopicSpec(f"{prefix}.d", 1, 1)])
        ledger = broker.open_ledger(f"{prefix}-0")
        await ledger.start()
        await ledger.prepare([f"{prefix}.d"])
        # The connections are cut under the client: what it has enqueued cannot be sent any more.
        for producer in (ledger._producer, ledger.fast._producer):
            for connection in list(producer.client._conns.values()):
                connection._host, connection._port = "127.0.0.1", 1
                connection.close()
            for node in producer.client.cluster._brokers:
                known = producer.client.cluster._brokers[node]
                producer.client.cluster._brokers[node] = known._replace(port=1)
        await ledger.begin()
        stuck = ledger.send(f"{prefix}.d", 0, [row(b"x")])
        told = ledger.fast.send(f"{prefix}.d", 0, [row(b"y")])
        begun_s = time.monotonic()
        await ledger.close()
        assert time.monotonic() - begun_s < 5
        for future in (stuck, told):
            with pytest.raises(UnavailableError):
                await asyncio.wait_for(future, 1)


async def test_no_broker_is_one_clear_error_in_time() -> None:
    """Neither a refused nor a hanging address takes more than ten seconds, and the error names it."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        # The backlog accepts; nobody ever answers.
        for where in ("127.0.0.1:1", f"127.0.0.1:{hanging.getsockname()[1]}"):
            begun_s = time.monotonic()
            with pytest.raises(UnavailableError) as caught:
                await KafkaBroker(BrokerConfig(bootstrap=where, connect_timeout_s=2)).start()
            assert time.monotonic() - begun_s < 5
            assert where in caught.value.message
            assert "enforcer up" in caught.value.help
