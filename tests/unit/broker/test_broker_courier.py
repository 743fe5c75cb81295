"""One courier for many producers: what travels together, what waits, and what is sent again."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import errors as kafka_errors

from enforcer.broker import BrokerConfig
from enforcer.broker.courier import PATIENCE_S, Courier
from enforcer.broker.produce import request
from enforcer.broker.producer import KafkaProducer
from enforcer.errors import AgentFencedError, NotFoundError, UnavailableError
from tests.unit.broker.fake_kafka import Connection, Kafka, turns

RECORD = (b"k", b"v", (), None)


def desk(monkeypatch: pytest.MonkeyPatch) -> tuple[Kafka, Courier, BrokerConfig]:
    kafka = Kafka()
    monkeypatch.setattr("enforcer.broker.courier.AIOKafkaClient", lambda **_: kafka)
    config = BrokerConfig(bootstrap="nowhere:1", retry_backoff_ms=5, close_timeout_s=0.05)
    return kafka, Courier(config), config


def lane(courier: Courier, config: BrokerConfig, number: int) -> KafkaProducer:
    return KafkaProducer(courier, config, (number, 0), is_lane=True)


async def test_what_one_turn_sends_is_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of several producers to one node; each send gets its own offset."""
    kafka, courier, config = desk(monkeypatch)
    sends = [lane(courier, config, n).send("t", n, [RECORD, RECORD]) for n in range(3)]
    await turns()
    (connection,) = kafka.open
    assert len(connection.sent) == 1
    connection.acknowledge((0, 0, 10), (1, 0, 20), (2, 0, 30))
    assert await asyncio.gather(*sends) == [10, 20, 30]
    await courier.close()


async def test_two_producers_to_one_partition_never_share_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A request names a partition once: the answer could not tell them apart."""
    kafka, courier, config = desk(monkeypatch)
    first = lane(courier, config, 1).send("t", 0, [RECORD])
    second = lane(courier, config, 2).send("t", 0, [RECORD])
    await turns()
    (connection,) = kafka.open
    assert len(connection.sent) == 1
    connection.acknowledge((0, 0, 7))
    assert await first == 7
    await turns()
    assert len(connection.sent) == 2
    connection.acknowledge((0, 0, 8))
    assert await second == 8
    await courier.close()


async def test_a_slow_answer_holds_up_its_own_partitions_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a moment's patience the next batch of another partition goes over another connection."""
    kafka, courier, config = desk(monkeypatch)
    slow, quick = lane(courier, config, 1), lane(courier, config, 2)
    stuck = slow.send("t", 0, [RECORD])
    await turns()
    told = quick.send("t", 1, [RECORD])
    behind = slow.send("t", 0, [RECORD])
    await turns()
    assert [len(each.sent) for each in kafka.open] == [1]
    await asyncio.sleep(PATIENCE_S * 4)
    assert [len(each.sent) for each in kafka.open] == [1, 1]
    kafka.open[1].acknowledge((1, 0, 5))
    assert await told == 5
    assert not stuck.done()
    assert not behind.done()
    kafka.open[0].acknowledge((0, 0, 1))
    assert await stuck == 1
    await turns()
    kafka.open[0].acknowledge((0, 0, 2))
    assert await behind == 2
    await courier.close()


async def test_what_waits_behind_a_connection_that_is_reset_is_not_lost_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It goes over another one; on the one that is gone its answer would never come, nor its loss."""
    kafka, courier, config = desk(monkeypatch)
    first = lane(courier, config, 1).send("t", 0, [RECORD])
    await turns()
    (gone,) = kafka.open
    behind = lane(courier, config, 2).send("t", 1, [RECORD])
    gone.reset()
    await asyncio.sleep(0.1)
    assert len(gone.sent) == 1
    for connection in kafka.open:
        while connection.unanswered:
            connection.acknowledge((0, 0, 1), (1, 0, 2))
            await turns()
    assert (await first, await behind) == (1, 2)
    await courier.close()


async def test_what_a_connection_loses_is_sent_again_byte_for_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the same sequence numbers, so that it is appended once; the leaders are asked for anew."""
    kafka, courier, config = desk(monkeypatch)
    sent = lane(courier, config, 1).send("t", 0, [RECORD])
    await turns()
    (lost,) = kafka.open
    lost.close()
    await asyncio.sleep(0.05)
    (fresh,) = kafka.open
    assert fresh is not lost
    assert fresh.sent[0][-60:] == lost.sent[0][-60:]
    assert kafka.refreshed
    fresh.acknowledge((0, kafka_errors.NotLeaderForPartitionError.errno, -1))
    await asyncio.sleep(0.05)
    fresh.acknowledge((0, 0, 3))
    assert await sent == 3
    await courier.close()


async def test_a_fenced_producer_fails_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had queued fails with it, and every later send; its neighbour in the request does not notice."""
    kafka, courier, config = desk(monkeypatch)
    old, other = lane(courier, config, 1), lane(courier, config, 2)
    refused, told = old.send("t", 0, [RECORD]), other.send("t", 1, [RECORD])
    await turns()
    queued = old.send("t", 0, [RECORD])
    kafka.open[0].acknowledge((0, kafka_errors.InvalidProducerEpoch.errno, -1), (1, 0, 4))
    assert await told == 4
    for future in (refused, queued):
        with pytest.raises(AgentFencedError):
            await future
    with pytest.raises(AgentFencedError):
        old.send("t", 0, [RECORD])
    await courier.close()


async def test_a_refused_batch_of_a_client_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its sequence numbers are used again, and the next send is taken."""
    kafka, courier, config = desk(monkeypatch)
    client = KafkaProducer(courier, config, (1, 0), is_lane=False)
    refused = client.send("t", 0, [RECORD])
    await turns()
    kafka.open[0].acknowledge((0, kafka_errors.MessageSizeTooLargeError.errno, -1))
    with pytest.raises(UnavailableError) as caught:
        await refused
    assert caught.value.code == "refused"
    taken = client.send("t", 0, [RECORD])
    await turns()
    kafka.open[0].acknowledge((0, 0, 0))
    assert await taken == 0
    stream = client._streams["t", 0]
    assert stream.sequence == 1
    await client.close()
    await courier.close()


async def test_closing_is_bounded_and_fails_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that never answers."""
    _, courier, config = desk(monkeypatch)
    client = KafkaProducer(courier, config, (1, 0), is_lane=False)
    stuck, queued = client.send("t", 0, [RECORD]), None
    await turns()
    queued = client.send("t", 0, [RECORD])
    await asyncio.wait_for(client.close(), 1)
    for future in (stuck, queued):
        with pytest.raises(UnavailableError):
            await future
    await courier.close()


def test_a_request_is_what_the_library_would_write() -> None:
    """Byte for byte the produce request of the library's own schema, version 7."""
    from aiokafka.protocol.produce import ProduceRequest_v7

    place = SimpleNamespace(topic="enforcer.decisions", partition=3)
    other = SimpleNamespace(topic="enforcer.decisions", partition=1)
    ours = request([(place, b"abc"), (other, b"defg")], 10_000)
    topics = [("enforcer.decisions", [(3, b"abc"), (1, b"defg")])]
    assert ours == ProduceRequest_v7(None, -1, 10_000, topics).encode()


async def test_a_topic_that_an_answer_under_way_does_not_know_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client of many users may be refreshing already, for topics that were known before."""
    kafka, courier, _ = desk(monkeypatch)
    added: list[str] = []

    def add_topic(topic: str) -> asyncio.Future[bool]:
        added.append(topic)
        return kafka.force_metadata_update()

    kafka.add_topic = add_topic  # type: ignore[attr-defined]
    known = lambda _topic: {0} if kafka.refreshed >= 3 else None  # noqa: E731 — a stand-in
    monkeypatch.setattr(kafka, "partitions_for_topic", known)
    await courier.know_topics(["t"])
    assert added == ["t"]
    monkeypatch.setattr(kafka, "partitions_for_topic", lambda _topic: None)
    with pytest.raises(NotFoundError):
        await courier.know_topics(["u"])
    await courier.close()


async def test_a_batch_refused_after_a_try_that_was_lost_gives_no_numbers_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lost try may be in the log: the next batch under its numbers would be acknowledged as its repeat, and dropped."""
    kafka, courier, config = desk(monkeypatch)
    client = KafkaProducer(courier, config, (1, 0), is_lane=False)
    refused = client.send("t", 0, [RECORD])
    await turns()
    kafka.open[0].close()
    await asyncio.sleep(0.05)
    kafka.open[0].acknowledge((0, kafka_errors.TopicAuthorizationFailedError.errno, -1))
    with pytest.raises(UnavailableError) as caught:
        await refused
    assert caught.value.code != "refused", (
        "who sends it again, by another producer, is told for good"
    )
    with pytest.raises(UnavailableError):
        client.send("t", 0, [RECORD])
    await courier.close()


async def test_a_node_that_cannot_be_reached_is_knocked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Connecting is one after the other, each up to its timeout: a stream's must not wait behind those of all others."""
    kafka, courier, config = desk(monkeypatch)
    knocks: list[asyncio.Future[None]] = []
    connect = kafka._get_conn

    async def knock(node: int, *, group: str) -> Connection | None:
        knocks.append(asyncio.get_running_loop().create_future())
        await knocks[-1]
        return await connect(node, group=group)

    monkeypatch.setattr(kafka, "_get_conn", knock)
    sends = []
    for n in range(3):
        sends.append(lane(courier, config, n).send("t", n, [RECORD]))
        await asyncio.sleep(PATIENCE_S * 3)
    assert len(knocks) == 1
    knocks[0].set_result(None)
    await asyncio.sleep(PATIENCE_S * 3)
    knocks[1].set_result(None)
    await turns()
    first, second = kafka.open
    first.acknowledge((0, 0, 1))
    second.acknowledge((1, 0, 2), (2, 0, 3))
    assert await asyncio.gather(*sends) == [1, 2, 3]
    await courier.close()


async def test_what_fails_to_connect_in_whatever_way_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An error that no library promised must not leave a batch in flight for ever."""
    kafka, courier, config = desk(monkeypatch)
    connect = kafka._get_conn

    async def fail(_node: int, *, group: str) -> Connection:
        monkeypatch.setattr(kafka, "_get_conn", connect)
        raise AssertionError(group)

    monkeypatch.setattr(kafka, "_get_conn", fail)
    sent = lane(courier, config, 1).send("t", 0, [RECORD])
    await asyncio.sleep(0.05)
    kafka.open[0].acknowledge((0, 0, 3))
    assert await asyncio.wait_for(sent, 1) == 3
    await courier.close()


async def test_a_connection_being_made_is_waited_for_at_the_close_and_carries_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cancelled halfway its socket would stay open; and after the close nothing is sent."""
    kafka, courier, config = desk(monkeypatch)
    answered = asyncio.Event()
    connect = kafka._get_conn

    async def slowly(node: int, *, group: str) -> Connection:
        await answered.wait()
        return await connect(node, group=group)

    monkeypatch.setattr(kafka, "_get_conn", slowly)
    send = asyncio.ensure_future(lane(courier, config, 1).send("t", 0, [RECORD]))
    await turns()
    closing = asyncio.create_task(courier.close())
    await turns()
    answered.set()
    await closing
    (connection,) = kafka.open
    assert connection.sent == []
    send.cancel()
