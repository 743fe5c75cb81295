"""When a broker is asked for records, for which, and what a reader makes of the answers."""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
from typing import Any

import pytest
from aiokafka import errors as kafka_errors
from aiokafka.protocol.fetch import FetchRequest_v10, FetchResponse_v10

from enforcer.broker import BrokerConfig
from enforcer.broker.fetching import PARKED_S
from enforcer.broker.reader import KafkaReader
from enforcer.errors import AgentCorruptedError, AuthError, UnavailableError
from tests.unit.broker.fake_kafka import Connection, Kafka, turns
from tests.unit.broker.test_broker_fetch import batch

GAP_S = 0.03
EARLY_S = 0.002
"""A loop's timers may ring this much too early."""


class Desk:
    """A reader of one node's partitions 0 to 2 of topic t, and its connection."""

    def __init__(self, *, gap_s: float = 0.0, **limits: Any) -> None:
        self.kafka = Kafka()
        limits.setdefault("retry_backoff_ms", 5)
        config = BrokerConfig(bootstrap="nowhere:1", fetch_gap_ms=round(gap_s * 1000), **limits)
        self.reader = KafkaReader(self.kafka, config, read_committed=True)

    async def read(self, *partitions: int) -> None:
        self.reader.assign([("t", p) for p in partitions])
        for partition in partitions:
            self.reader.seek("t", partition, 0)
        await turns()

    @property
    def connection(self) -> Connection:
        return self.kafka.open[-1]

    def asked(self, number: int = -1) -> dict[int, int]:
        """Partitions and offsets that a request names."""
        from io import BytesIO

        request = FetchRequest_v10.SCHEMA.decode(BytesIO(self.connection.bodies[number]))
        return {p: at for _, places in request[7] for p, _, at, _, _ in places}

    def answer(
        self, *found: tuple[int, int, int, bytes], session: int = 77, throttle_ms: int = 0
    ) -> None:
        """Partition, error code, end, records."""
        rows = [(p, code, end, end, 0, [], records) for p, code, end, records in found]
        topics = [("t", rows)] if rows else []
        self.connection.answer(FetchResponse_v10(throttle_ms, 0, session, topics).encode())


async def offsets(reader: KafkaReader, timeout_ms: int = 0) -> dict[int, list[int]]:
    polled = await reader.poll(timeout_ms)
    return {place[1]: [r.offset for r in records] for place, records in polled.items()}


async def test_what_one_turn_seeks_is_one_request() -> None:
    """Of all partitions of a node; and what is in flight is not asked for again."""
    desk = Desk()
    await desk.read(0, 1, 2)
    assert [desk.asked()] == [{0: 0, 1: 0, 2: 0}]
    await desk.reader.poll(10)
    assert len(desk.connection.sent) == 1
    await desk.reader.close()


async def test_the_next_request_leaves_before_what_came_is_decoded() -> None:
    """In the turn of the poll; it names what has moved, and no more."""
    desk = Desk()
    await desk.read(0, 1)
    polling = asyncio.create_task(offsets(desk.reader, 1_000))
    await turns()
    desk.answer((0, 0, 3, batch(0, 3)), (1, 0, 0, b""))
    assert len(desk.connection.sent) == 1
    assert await polling == {0: [0, 1, 2]}
    assert desk.asked() == {0: 3}
    assert desk.reader.position("t", 0) == desk.reader.end("t", 0) == 3
    assert desk.reader.end("t", 1) == 0
    await desk.reader.close()


async def test_what_is_not_polled_holds_the_next_request_up_for_a_moment_only() -> None:
    """The others of its node must not wait for one whose reader is slow; it itself is fetched on up to a bound."""
    desk = Desk(max_partition_fetch_bytes=100)
    await desk.read(0, 1)
    desk.answer((0, 0, 9, batch(0, 3)), (1, 0, 0, b""))
    await turns()
    assert len(desk.connection.sent) == 1
    await asyncio.sleep(PARKED_S * 2)
    assert len(desk.connection.sent) == 2
    request = desk.connection.bodies[-1]
    assert desk.asked() == {}, "full: it is taken out of the session"
    assert request.endswith(b"\0\0\0\1\0\1t\0\0\0\1\0\0\0\0")
    assert await offsets(desk.reader) == {0: [0, 1, 2]}
    desk.answer()
    await turns()
    assert desk.asked() == {0: 3}
    await desk.reader.close()


async def test_fetches_of_one_node_begin_a_gap_apart() -> None:
    """However soon the next one could be asked."""
    desk = Desk(gap_s=GAP_S)
    await desk.read(0)
    begun_s = [time.monotonic()]
    for _ in range(3):
        desk.answer()
        while len(desk.connection.sent) == len(begun_s):  # noqa: ASYNC110 — as soon as it is sent
            await asyncio.sleep(0)
        begun_s.append(time.monotonic())
    gaps = [b - a for a, b in itertools.pairwise(begun_s)]
    assert all(gap >= GAP_S - EARLY_S for gap in gaps), gaps
    await asyncio.sleep(GAP_S)
    desk.answer()
    assert len(desk.connection.sent) == 5, "after a quiet time it does not wait"
    await desk.reader.close()


async def test_a_seek_begins_the_session_anew_so_that_the_end_is_told() -> None:
    """The answer to what was asked before says nothing of where a partition stands now."""
    desk = Desk()
    await desk.read(0, 1)
    desk.answer((0, 0, 5, b""), (1, 0, 5, b""))
    await turns()
    desk.reader.seek("t", 0, 2)
    assert desk.reader.end("t", 0) is None
    desk.answer((0, 0, 9, batch(0, 9)))
    await turns()
    assert await offsets(desk.reader) == {}
    assert desk.reader.end("t", 0) is None
    assert desk.asked() == {0: 2, 1: 0}, "everything is named again"
    desk.answer((0, 0, 9, batch(0, 9)), (1, 0, 5, b""))
    assert await offsets(desk.reader) == {0: [2, 3, 4, 5, 6, 7, 8]}
    await desk.reader.close()


async def test_a_seek_begins_every_session_anew_that_knows_the_partition() -> None:
    """It may come back to a leader that remembers it as it was, and has nothing new to say."""
    desk = Desk()
    await desk.read(0, 1)
    old = desk.connection
    desk.answer((0, 0, 5, b""), (1, 0, 5, b""))
    await turns()
    desk.kafka.leaders[0] = 1
    desk.reader.seek("t", 0, 0)
    await turns()
    assert desk.connection is not old
    desk.kafka.leaders[0] = 0
    old.answer(FetchResponse_v10(0, 0, 77, []).encode())
    await turns()
    names = struct.unpack_from(">i", old.bodies[-1], 25)
    assert names == (1,), "the topic is named again"
    await desk.reader.close()


async def test_a_lost_connection_costs_nothing_but_time() -> None:
    """The leaders are asked for, another connection is made, the positions stand."""
    desk = Desk()
    await desk.read(0)
    desk.answer((0, 0, 3, batch(0, 3)))
    assert await offsets(desk.reader) == {0: [0, 1, 2]}
    await turns()
    lost = desk.connection
    lost.close()
    await asyncio.sleep(0.05)
    assert desk.connection is not lost
    assert desk.kafka.refreshed
    assert desk.asked() == {0: 3}
    await desk.reader.close()


async def test_an_answer_that_is_late_costs_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that is stopped keeps connections open and says nothing."""
    monkeypatch.setattr("enforcer.broker.fetching._WATCH_S", 0.01)
    desk = Desk(request_timeout_ms=20)
    await desk.read(0)
    silent = desk.connection
    await asyncio.sleep(0.1)
    assert not silent.connected()
    assert desk.connection is not silent
    await desk.reader.close()


async def test_a_partition_that_moved_is_asked_of_its_new_leader() -> None:
    """It rests a moment; the others go on."""
    desk = Desk()
    await desk.read(0, 1)
    desk.kafka.leaders[0] = 1
    desk.answer((0, kafka_errors.NotLeaderForPartitionError.errno, -1, b""), (1, 0, 0, b""))
    await asyncio.sleep(0.05)
    other = desk.kafka.made[1, "fetch"]
    assert other.sent
    assert desk.asked() == {0: 0}
    assert len(desk.kafka.made[0, "fetch"].sent) == 2
    await desk.reader.close()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (kafka_errors.OffsetOutOfRangeError.errno, AgentCorruptedError),
        (kafka_errors.TopicAuthorizationFailedError.errno, AuthError),
        (kafka_errors.CorruptRecordException.errno, UnavailableError),
    ],
)
async def test_what_a_reader_must_know_is_raised_once_after_the_records_before_it(
    code: int, error: type[Exception]
) -> None:
    """What was fetched of others is not lost by it; then the partition is asked for again."""
    desk = Desk()
    await desk.read(0, 1)
    desk.answer((0, code, -1, b""), (1, 0, 2, batch(0, 2)))
    assert await offsets(desk.reader) == {1: [0, 1]}
    with pytest.raises(error):
        await desk.reader.poll(0)
    assert await offsets(desk.reader) == {}
    desk.answer()
    await turns()
    assert desk.asked() == {0: 0}
    await desk.reader.close()


async def test_records_that_are_damaged_are_told_and_fetched_again() -> None:
    """Those before them, and those of others, are delivered."""
    desk = Desk()
    await desk.read(0, 1)
    broken = bytearray(batch(2, 2))
    broken[-1] ^= 1
    desk.answer((0, 0, 4, bytes(broken)), (1, 0, 2, batch(0, 2)))
    assert await offsets(desk.reader) == {1: [0, 1]}
    with pytest.raises(UnavailableError):
        await desk.reader.poll(1_000)
    assert desk.reader.position("t", 0) == 0
    await desk.reader.close()


async def test_a_topic_that_is_not_ours_to_see_is_said() -> None:
    """Nobody leads it, as far as we are told."""
    desk = Desk()
    desk.kafka.unauthorized_topics.add("t")
    desk.kafka.leaders[0] = -1
    await desk.read(0)
    with pytest.raises(AuthError):
        await desk.reader.poll(1_000)
    await desk.reader.close()


async def test_a_broker_that_asks_for_slowness_is_left_alone_for_so_long() -> None:
    """Quotas: the answer says how long."""
    desk = Desk()
    await desk.read(0)
    desk.answer(throttle_ms=round(GAP_S * 1000))
    await asyncio.sleep(GAP_S / 2)
    assert len(desk.connection.sent) == 1
    await asyncio.sleep(GAP_S)
    assert len(desk.connection.sent) == 2
    await desk.reader.close()


async def test_a_paused_partition_keeps_what_was_fetched_and_is_not_fetched() -> None:
    """Its records come after the resume, and nothing holds up the others meanwhile."""
    desk = Desk()
    await desk.read(0, 1)
    desk.reader.pause(("t", 0))
    desk.answer((0, 0, 3, batch(0, 3)), (1, 0, 1, batch(0, 1)))
    assert await offsets(desk.reader) == {1: [0]}
    assert desk.asked() == {1: 1}
    polling = asyncio.create_task(offsets(desk.reader, 1_000))
    await turns()
    desk.reader.resume(("t", 0))
    assert await polling == {0: [0, 1, 2]}
    await desk.reader.close()


async def test_a_poll_that_waits_ends_with_the_reader() -> None:
    """It raises, and does not wait for its time."""
    desk = Desk()
    await desk.read(0)
    polling = asyncio.create_task(desk.reader.poll(60_000))
    await turns()
    await desk.reader.close()
    with pytest.raises(UnavailableError):
        await asyncio.wait_for(polling, 1)


async def test_an_answer_for_what_is_assigned_no_more_is_nobodys() -> None:
    """Not even when the partition was assigned again meanwhile, and is read from elsewhere."""
    desk = Desk()
    await desk.read(0, 1)
    desk.reader.assign([("t", 1)])
    desk.reader.assign([("t", 0), ("t", 1)])
    desk.reader.seek("t", 0, 7)
    desk.answer((0, 0, 9, batch(0, 9)), (1, 0, 1, batch(0, 1)))
    assert await offsets(desk.reader) == {1: [0]}
    assert desk.reader.position("t", 0) == 7
    desk.reader.assign([("t", 1)])
    desk.answer((0, 0, 9, batch(0, 9)))
    assert await offsets(desk.reader) == {}
    await desk.reader.close()


async def test_what_two_leaders_answer_is_delivered_once() -> None:
    """The old one's answer is still under way when the new one is asked, which knows of less."""
    desk = Desk()
    await desk.read(0)
    old = desk.connection
    desk.kafka.leaders[0] = 1
    desk.reader.resume(("t", 0))
    await turns()
    new = desk.connection
    assert new is not old
    rows = [(0, 0, 3, 3, 0, [], batch(0, 1) + batch(1, 2))]
    old.answer(FetchResponse_v10(0, 0, 77, [("t", rows)]).encode())
    desk.answer((0, 0, 1, batch(0, 1)))
    assert await offsets(desk.reader) == {0: [0, 1, 2]}
    assert desk.reader.position("t", 0) == 3
    await turns()
    assert desk.asked() == {0: 3}
    await desk.reader.close()


async def test_nothing_of_a_reader_that_closes_while_it_connects_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No timer of it is left."""
    desk = Desk()
    there, connects = asyncio.Event(), desk.kafka._get_conn

    async def slowly(node: int, *, group: str) -> Connection | None:
        await there.wait()
        return await connects(node, group=group)

    monkeypatch.setattr(desk.kafka, "_get_conn", slowly)
    await desk.read(0)
    closing = asyncio.create_task(desk.reader.close())
    await turns()
    there.set()
    await closing
    assert desk.reader._fetching._watch is None
