"""The ledger's promises on the real broker: fencing, atomicity, failures that are seen."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from enforcer.broker import BrokerConfig, KafkaBroker, NewTopicSpec, Record
from enforcer.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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


async def test_closing_with_a_broker_gone_is_bounded(prefix: str, bootstrap: str) -> None:
    """With unsendable records in the queue close() ends all the same, and their futures fail."""
    config = BrokerConfig(bootstrap=bootstrap, prefix=prefix, close_timeout_s=1.0)
    async with KafkaBroker(config) as broker:
        await broker.create_topics([NewTopicSpec(f"{prefix}.d", 1, 1)])
        ledger = broker.open_ledger(f"{prefix}-0")
        await ledger.start()
        await ledger.prepare([f"{prefix}.d"])
        # The connections are cut under the client: what it has enqueued cannot be sent any more.
        for client in (ledger._producer.client, ledger.fast._courier.client):
            for connection in list(client._conns.values()):
                connection._host, connection._port = "127.0.0.1", 1
                connection.close()
            for node in client.cluster._brokers:
                known = client.cluster._brokers[node]
                client.cluster._brokers[node] = known._replace(port=1)
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
