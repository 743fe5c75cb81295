"""
One way to the brokers for all idempotent sends of a process: many producers, few requests.

Theory of operation
-------------------
A request to a broker costs both sides about the same whatever is in it. aiokafka gives each producer connections and
a sender of its own, so four agents that decide in the same turn of the event loop send four requests. A batch of
records carries its producer's id, epoch and sequence in itself; a request only carries batches. So one courier takes
the batches of all producers (``KafkaProducer``) to a node in one request.

* A partition has one batch in flight. What comes meanwhile waits in the next one: order needs no more, and the
  sequence numbers of a refused batch can be used again.
* A node gets a batch at once if nothing is in flight to it; else with the next answer, all that came together. If
  that answer takes longer than ``PATIENCE_S``, over another connection: a partition that is slow to be acknowledged
  does not hold up the others.
* What a broker refuses for now, and what was lost with a connection, is sent again with the same numbers, so that it
  is appended once. What it refuses for good fails the batch's own producer and no other.

Connections, with their TLS, SASL and metadata, are aiokafka's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.transaction import InitProducerIdRequest

from enforcer.broker.client import retrieve, translated, within
from enforcer.broker.line import Line
from enforcer.broker.produce import PRODUCE, request
from enforcer.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiokafka.structs import TopicPartition

    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.producer import KafkaProducer

PATIENCE_S: Final = 0.005
"""So long the answer to a request may take before the next one goes over another connection."""
_WATCH_S: Final = 1.0
_CLOSE_S: Final = 1.0
_METADATA_TRIES: Final = 3
"""What is asked for may be an answer under way already, to a question that did not name the topic."""
SEQUENCE_MASK: Final = 0x7FFF_FFFF
_NOT_APPENDED: Final = (
    kafka_errors.NotLeaderForPartitionError,
    kafka_errors.LeaderNotAvailableError,
    kafka_errors.UnknownTopicOrPartitionError,
    kafka_errors.NotEnoughReplicasError,
    kafka_errors.NodeNotReadyError,
)
"""Refusals for now that leave nothing in the log."""
_DUPLICATE: Final = kafka_errors.DuplicateSequenceNumber.errno


class Ticket:
    """One ``send``: done when the last of the batches that hold its records is."""

    __slots__ = ("base", "batches", "future")

    def __init__(self, future: asyncio.Future[int]) -> None:
        self.future = future
        self.base = -1
        self.batches = 0


class Batch:
    """Records of one partition that travel together, and who waits for them: tickets, with their first one's place."""

    __slots__ = ("body", "builder", "bytes", "count", "is_uncertain", "stream", "tickets")

    def __init__(self, stream: Stream, builder: Any) -> None:
        self.stream = stream
        self.builder = builder
        self.body: bytes | None = None
        """As sent, from the first time on."""
        self.bytes = 0
        self.count = 0
        self.is_uncertain = False
        """Whether it may be in the log although a try of it has failed."""
        self.tickets: list[tuple[Ticket, int]] = []


class Stream:
    """The batches of one producer to one partition."""

    __slots__ = ("in_flight", "is_resting", "producer", "queue", "sequence", "tp")

    def __init__(self, producer: KafkaProducer, tp: TopicPartition) -> None:
        self.producer = producer
        self.tp = tp
        self.queue: deque[Batch] = deque()
        self.in_flight: Batch | None = None
        self.is_resting = False
        """Whether its first batch was refused a moment ago."""
        self.sequence = 0

    def sealed(self) -> Batch:
        """Take the first batch, numbered."""
        batch = self.in_flight = self.queue.popleft()
        if batch.body is None:
            producer = self.producer
            batch.builder.set_producer_state(producer.producer_id, producer.epoch, self.sequence)
            batch.body = bytes(batch.builder.build())
            self.sequence = (self.sequence + batch.count) & SEQUENCE_MASK
        return batch


class _Request(NamedTuple):
    """What is in flight over one connection; None while that is being made."""

    batches: list[Batch]
    sent_s: float
    line: Line | None


class Courier:
    """The connections of one process for its idempotent sends. Belongs to one event loop; ``start`` before use."""

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config
        self._loop = asyncio.get_running_loop()
        self.client = AIOKafkaClient(
            request_timeout_ms=config.request_timeout_ms,
            retry_backoff_ms=config.retry_backoff_ms,
            **config.connection(),
        )
        self._waiting: dict[Stream, None] = {}
        self._requests: dict[tuple[int, int], _Request] = {}
        """By node and number of the connection."""
        self._lines: dict[tuple[int, int], Line] = {}
        self._connecting: set[asyncio.Task[None]] = set()
        self._flush_at: asyncio.Handle | None = None
        self._is_flush_soon = False
        self._watch: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def start(self) -> None:
        """Connect. Raises as ``within``."""
        await within(self._config.start_timeout_s, self.client.bootstrap(), "connect to send")
        self._watch = self._loop.call_later(_WATCH_S, self._look_for_late)

    async def close(self) -> None:
        """Disconnect. What is in flight fails. Never raises."""
        self._is_closed = True
        for handle in (self._flush_at, self._watch):
            if handle is not None:
                handle.cancel()
        if self._connecting:
            # aiokafka leaves the socket of a connection open that is cancelled halfway.
            await asyncio.wait(self._connecting, timeout=_CLOSE_S)
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_S):
                await self.client.close()

    async def new_producer_id(self) -> tuple[int, int]:
        """An id and epoch of nobody else. Raises UnavailableError within the time of a start."""
        request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1)
        deadline_s = self._loop.time() + self._config.start_timeout_s
        while True:
            try:
                answer = await self.client.send(self.client.get_random_node(), request)
                error = kafka_errors.for_code(answer.error_code)
                if error is kafka_errors.NoError:
                    return int(answer.producer_id), int(answer.producer_epoch)
                failure: BaseException = error()
            except kafka_errors.KafkaError as raised:
                failure = raised
            retriable = getattr(failure, "retriable", False)
            if not retriable or self._loop.time() >= deadline_s:
                raise translated(failure, "start producer") from failure
            await asyncio.sleep(self._config.retry_backoff_ms / 1000)

    async def know_topics(self, topics: Sequence[str]) -> None:
        """Fetch the leaders of *topics*. Raises NotFoundError or AuthError, naming the first that is not there or not ours."""
        await know_topics(self.client, topics, self._config.start_timeout_s)

    # -- the way out ------------------------------------------------------------------------------------------

    def carry(self, stream: Stream) -> None:
        """*stream* has something to send."""
        self._waiting[stream] = None
        if not self._is_flush_soon:
            # Once all that this turn of the loop has to send is there.
            self._is_flush_soon = True
            self._loop.call_soon(self._flush)

    def forget(self, stream: Stream) -> None:
        """*stream* has nothing to send any more."""
        self._waiting.pop(stream, None)

    def _flush(self) -> None:
        self._is_flush_soon = False
        if self._is_closed:
            return
        # A request names a partition once: of two producers to one partition, the second waits for the next.
        by_node: dict[int, dict[TopicPartition, Stream]] = {}
        is_lost = False
        for stream in list(self._waiting):
            if stream.in_flight is not None or stream.is_resting:
                continue
            if not stream.queue:
                del self._waiting[stream]
                continue
            leader = self.client.cluster.leader_for_partition(stream.tp)
            if leader is None or leader < 0:
                is_lost = True
                self._rest(stream)
            else:
                by_node.setdefault(leader, {}).setdefault(stream.tp, stream)
        if is_lost:
            self.client.force_metadata_update().add_done_callback(retrieve)
        for node, streams in by_node.items():
            number = self._free_connection(node)
            if number is not None:
                self._send(node, number, list(streams.values()))

    def _free_connection(self, node: int) -> int | None:
        """The number of a connection; None if the answer to the newest request is to be waited for."""
        busy = {at: request for (n, at), request in self._requests.items() if n == node}
        if not busy:
            return 0
        newest_s = max(request.sent_s for request in busy.values())
        wait_s = newest_s + PATIENCE_S - time.monotonic()
        if wait_s <= 0:
            number = next(at for at in range(len(busy) + 1) if at not in busy)
            is_opening = any(request.line is None for request in busy.values())
            # A node that cannot be reached is knocked at once, not once a stream: connecting is one after the other.
            return None if is_opening and self._open(node, number) is None else number
        if self._flush_at is not None:
            self._flush_at.cancel()
        self._flush_at = self._loop.call_later(wait_s, self._flush)
        return None

    def _open(self, node: int, number: int) -> Line | None:
        """The connection of that number, if it is open."""
        line = self._lines.get((node, number))
        return line if line is not None and line.is_open else None

    def _send(self, node: int, number: int, streams: list[Stream]) -> None:
        batches = [stream.sealed() for stream in streams]
        for stream in streams:
            if not stream.queue:
                self._waiting.pop(stream, None)
        place = (node, number)
        line = self._open(node, number)
        if line is None:
            self._requests[place] = _Request(batches, time.monotonic(), None)
            task = self._loop.create_task(self._connect(place, batches))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
            return
        self._write(place, batches, line)

    async def _connect(self, place: tuple[int, int], batches: list[Batch]) -> None:
        node, number = place
        try:
            connection = await self.client._get_conn(node, group=_group(number))  # noqa: SLF001 — as above
        except Exception:  # noqa: BLE001 — whatever it is, these batches were not sent
            connection = None
        if connection is None or self._is_closed:
            self._failed(place, batches, kafka_errors.NodeNotReadyError())
            return
        line = self._lines[place] = Line(connection)
        self._write(place, batches, line)
        self._carry_next()

    def _write(self, place: tuple[int, int], batches: list[Batch], line: Line) -> None:
        self._requests[place] = _Request(batches, time.monotonic(), line)
        bodies = [(batch.stream.tp, batch.body or b"") for batch in batches]
        try:
            line.ask(
                PRODUCE,
                request(bodies, self._config.request_timeout_ms),
                answered=lambda found: self._answered(place, batches, found),
                lost=lambda error: self._failed(place, batches, error),
            )
        except kafka_errors.KafkaError as error:
            self._failed(place, batches, error)

    def _answered(
        self,
        place: tuple[int, int],
        batches: list[Batch],
        found: dict[tuple[str, int], tuple[int, int]],
    ) -> None:
        self._requests.pop(place, None)
        for batch in batches:
            stream = batch.stream
            code, offset = found.get(stream.tp, (kafka_errors.UnknownError.errno, -1))
            stream.in_flight = None
            if code in {0, _DUPLICATE}:
                # A duplicate that the broker knows no place of was appended, nobody knows where.
                stream.producer.acknowledged(batch, offset if code == 0 else -1)
            else:
                self._refused(batch, kafka_errors.for_code(code)())
            if stream.queue and not stream.is_resting:
                self.carry(stream)
        self._carry_next()

    def _failed(self, place: tuple[int, int], batches: list[Batch], error: BaseException) -> None:
        """The request was lost, with its connection or before."""
        self._requests.pop(place, None)
        if self._is_closed:
            return
        self.client.force_metadata_update().add_done_callback(retrieve)
        for batch in batches:
            batch.stream.in_flight = None
            self._refused(batch, error)
        self._carry_next()

    def _carry_next(self) -> None:
        """A connection is there, or free, or lost: what waits may have a way now."""
        if self._waiting:
            self.carry(next(iter(self._waiting)))

    def _refused(self, batch: Batch, error: BaseException) -> None:
        stream = batch.stream
        lost = isinstance(error, OSError | TimeoutError)
        if not (lost or getattr(error, "retriable", False)):
            stream.producer.refused(batch, error)
            return
        if stream.producer.failure is not None:
            stream.producer.refused(batch, error)
            return
        batch.is_uncertain = batch.is_uncertain or not isinstance(error, _NOT_APPENDED)
        stream.queue.appendleft(batch)
        if getattr(error, "invalid_metadata", False):
            self.client.force_metadata_update().add_done_callback(retrieve)
        self._rest(stream)

    def _rest(self, stream: Stream) -> None:
        """Try again a moment later."""
        stream.is_resting = True

        def wake() -> None:
            stream.is_resting = False
            if stream.queue and not self._is_closed:
                self.carry(stream)

        self._loop.call_later(self._config.retry_backoff_ms / 1000, wake)

    def _look_for_late(self) -> None:
        """Close the connections on which an answer is late: their requests fail, and are sent again."""
        late_s = time.monotonic() - self._config.request_timeout_ms / 1000
        for waiting in list(self._requests.values()):
            if waiting.line is not None and waiting.sent_s < late_s:
                waiting.line.close()
        self._watch = self._loop.call_later(_WATCH_S, self._look_for_late)


def _group(number: int) -> str:
    """What aiokafka tells the connections to one node apart by."""
    return f"courier-{number}"


async def know_topics(client: Any, topics: Sequence[str], timeout_s: float) -> None:
    """Fetch the leaders of *topics*. Raises NotFoundError or AuthError, naming the first that is not there or not ours."""
    for topic in topics:
        client.add_topic(topic).add_done_callback(retrieve)
    for topic in topics:
        for _ in range(_METADATA_TRIES):
            if client.cluster.partitions_for_topic(topic) is None:
                await within(timeout_s, client.force_metadata_update(), "fetch metadata")
        if topic in client.cluster.unauthorized_topics:
            raise translated(kafka_errors.TopicAuthorizationFailedError(topic), "fetch metadata")
        if client.cluster.partitions_for_topic(topic) is None:
            raise NotFoundError(f"no topic {topic}", help="Run `enforcer topics apply`.")
