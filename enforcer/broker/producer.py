"""
Producers: the idempotent one for clients, and the ledger's transactional one with its fast lane.

Both are a ``Lane``: records are put into aiokafka's queue of batches by a plain function call. Its own
``send_batch`` waits until the batch before is drained, and so adds a round trip to every slice.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from enforcer.broker.client import (
    DEFINITE_REFUSALS,
    dispose_producer,
    retrieve,
    translated,
    within,
)
from enforcer.errors import AgentFencedError, EnforcerError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.ports import Outgoing, Partition

_RECORD_OVERHEAD_BYTES = 32
"""Added per record to the bytes counted as queued: lengths, offsets, the objects around them."""


class _Ticket:
    """One ``send``: done when the last of the batches that hold its records is."""

    __slots__ = ("base", "batches", "future")

    def __init__(self, future: asyncio.Future[int]) -> None:
        self.future = future
        self.base = -1
        self.batches = 0


class _Batch:
    """A batch in aiokafka's queue, and who waits for it: tickets, with the place of their first record in it."""

    __slots__ = ("bytes", "inner", "tickets")

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.bytes = 0
        self.tickets: list[tuple[_Ticket, int]] = []


class Lane:
    """Records, in order, into the batches of one started aiokafka producer."""

    def __init__(self, producer: Any, *, queued_bytes_max: int, poison_on_refusal: bool) -> None:
        self._producer = producer
        self._accumulator = producer._message_accumulator  # noqa: SLF001 — client.PRIVATE_NAMES
        self._txn = producer._txn_manager  # noqa: SLF001 — client.PRIVATE_NAMES
        self._queued_bytes_max = queued_bytes_max
        self._poison_on_refusal = poison_on_refusal
        self._loop = asyncio.get_running_loop()
        self._last: dict[TopicPartition, _Batch] = {}
        self._pending: set[asyncio.Future[int]] = set()
        self.queued_bytes = 0
        self.failure: EnforcerError | None = None

    def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> asyncio.Future[int]:
        """See ``ports.Producer.send``."""
        assert records, "nothing to send"
        if self.failure is not None:
            raise self.failure
        if self.queued_bytes > self._queued_bytes_max:
            raise UnavailableError(
                f"{self.queued_bytes} bytes wait to be sent to {topic}",
                code="backlog",
                help="The broker is slower than what is sent to it, or away.",
            )
        if self._accumulator._exception is not None:  # noqa: SLF001 — client.PRIVATE_NAMES
            raise self._poisoned(self._accumulator._exception, f"send to {topic}-{partition}")  # noqa: SLF001 — as above
        if self._producer.client.cluster.partitions_for_topic(topic) is None:
            self._producer.client.add_topic(topic).add_done_callback(retrieve)
        future: asyncio.Future[int] = self._loop.create_future()
        future.add_done_callback(retrieve)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        self._enqueue(TopicPartition(topic, partition), records, _Ticket(future))
        return future

    def _enqueue(self, tp: TopicPartition, records: Sequence[Outgoing], ticket: _Ticket) -> None:
        batch = self._open_batch(tp)
        joined: _Batch | None = None
        for key, value, headers, timestamp_ms in records:
            listed = headers if type(headers) is list else list(headers)
            place = 0 if batch is None else batch.inner.record_count
            # append() answers None when the batch is full: the record then belongs to the next one.
            if (
                batch is None
                or batch.inner._builder.append(  # noqa: SLF001 — client.PRIVATE_NAMES
                    timestamp=timestamp_ms, key=key, value=value, headers=listed
                )
                is None
            ):
                builder = self._accumulator.create_builder()
                # A batch takes its first record whatever its size; the broker decides whether it is too large.
                added = builder.append(timestamp=timestamp_ms, key=key, value=value, headers=listed)
                assert added is not None, "an empty batch refused a record"
                batch, place = self._new_batch(tp, builder), 0
            size = len(key or b"") + len(value or b"") + _RECORD_OVERHEAD_BYTES
            batch.bytes += size
            self.queued_bytes += size
            if batch is not joined:
                batch.tickets.append((ticket, place))
                ticket.batches += 1
                joined = batch

    def _open_batch(self, tp: TopicPartition) -> _Batch | None:
        queue = self._accumulator._batches.get(tp)  # noqa: SLF001 — client.PRIVATE_NAMES
        last = self._last.get(tp)
        if not queue or last is None or queue[-1] is not last.inner:
            return None
        return None if last.inner._builder.closed() else last  # noqa: SLF001 — client.PRIVATE_NAMES

    def _new_batch(self, tp: TopicPartition, builder: Any) -> _Batch:
        inner = self._accumulator._append_batch(builder, tp)  # noqa: SLF001 — client.PRIVATE_NAMES
        batch = self._last[tp] = _Batch(inner)
        inner.future.add_done_callback(lambda done: self._batch_done(tp, batch, done))
        # The waiter is replaced at a retry; this one fails only if the batch is never drained.
        inner._drain_waiter.add_done_callback(retrieve)  # noqa: SLF001 — client.PRIVATE_NAMES
        return batch

    def _batch_done(self, tp: TopicPartition, batch: _Batch, done: asyncio.Future[Any]) -> None:
        self.queued_bytes -= batch.bytes
        if self._last.get(tp) is batch:
            del self._last[tp]
        error = done.exception() if not done.cancelled() else asyncio.CancelledError()
        offset = -1 if error is not None else done.result().offset
        if error is None and offset < 0:
            # DUPLICATE_SEQUENCE_NUMBER: it was appended, nobody knows where. A claim needs the place.
            error = UnavailableError(f"send to {tp.topic}-{tp.partition}: offset unknown")
        if error is not None:
            self._batch_failed(tp, batch, error)
            return
        for ticket, place in batch.tickets:
            if ticket.base < 0:
                ticket.base = offset + place
            ticket.batches -= 1
            if ticket.batches == 0 and not ticket.future.done():
                ticket.future.set_result(ticket.base)

    def _batch_failed(self, tp: TopicPartition, batch: _Batch, error: BaseException) -> None:
        doing = f"send to {tp.topic}-{tp.partition}"
        if isinstance(error, DEFINITE_REFUSALS) and not self._poison_on_refusal:
            # One batch of a partition is in flight at a time, and later ones have no numbers yet: taking the
            # numbers back leaves no hole, and one refused record does not end the producer.
            self._txn.increment_sequence_number(tp, -batch.inner.record_count)
            failure = translated(error, doing)
        else:
            failure = self._poisoned(error, doing)
        for ticket, _ in batch.tickets:
            if not ticket.future.done():
                ticket.future.set_exception(failure)

    def _poisoned(self, error: BaseException, doing: str) -> EnforcerError:
        if self.failure is None:
            self.failure = translated(error, doing)
        return self.failure

    def poison(self, error: EnforcerError) -> None:
        """Let every later send raise *error*."""
        self.failure = self.failure or error

    async def settled(self) -> None:
        """Wait for all that was enqueued; raises the first failure."""
        while self._pending:
            await asyncio.gather(*self._pending)
        if self.failure is not None:
            raise self.failure


class KafkaProducer:
    """``ports.Producer`` over one idempotent aiokafka producer."""

    def __init__(self, producer: Any, config: BrokerConfig, *, poison_on_refusal: bool) -> None:
        self._producer = producer
        self._config = config
        self._lane = Lane(
            producer,
            queued_bytes_max=config.queued_bytes_max,
            poison_on_refusal=poison_on_refusal,
        )

    @classmethod
    async def start(cls, config: BrokerConfig) -> KafkaProducer:
        """Connect and get a producer id of our own."""
        producer = new_producer(config)
        try:
            await within(config.start_timeout_s, producer.start(), "start producer")
        except BaseException:
            await dispose_producer(producer, grace_s=0)
            raise
        return cls(producer, config, poison_on_refusal=False)

    def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> asyncio.Future[int]:
        """See ``ports.Producer``."""
        return self._lane.send(topic, partition, records)

    @property
    def queued_bytes(self) -> int:
        """See ``ports.Producer``."""
        return self._lane.queued_bytes

    def poison(self, error: EnforcerError) -> None:
        """Let every later send raise *error*: the ledger it belongs to has failed."""
        self._lane.poison(error)

    async def prepare(self, topics: Sequence[str]) -> None:
        """See ``ports.Producer``."""
        await know_topics(self._producer, topics, self._config.start_timeout_s)

    async def flush(self) -> None:
        """See ``ports.Producer``."""
        await self._lane.settled()

    async def close(self) -> None:
        """See ``ports.Producer``."""
        grace_s = 0.0 if self._lane.failure is not None else self._config.close_timeout_s
        self._lane.poison(UnavailableError("the producer is closed", code="closed"))
        await dispose_producer(self._producer, grace_s=grace_s)


class KafkaLedger:
    """``ports.LedgerProducer``: a transactional producer, and a fast lane under its id and epoch."""

    def __init__(self, transactional_id: str, config: BrokerConfig) -> None:
        self._transactional_id = transactional_id
        self._config = config
        self._producer: Any = None
        self._lane: Lane | None = None
        self._fast: KafkaProducer | None = None
        self._failure: EnforcerError | None = None
        self._producer_id = -1
        self._epoch = -1

    @property
    def transactional_id(self) -> str:
        """See ``ports.LedgerProducer``."""
        return self._transactional_id

    @property
    def producer_id(self) -> int:
        """See ``ports.LedgerProducer``; -1 before ``start``."""
        return self._producer_id

    @property
    def epoch(self) -> int:
        """See ``ports.LedgerProducer``; -1 before ``start``."""
        return self._epoch

    @property
    def fast(self) -> KafkaProducer:
        """See ``ports.LedgerProducer``."""
        assert self._fast is not None, "start first"
        return self._fast

    async def start(self) -> int:
        """See ``ports.LedgerProducer``."""
        assert self._producer is None, "start once"
        config = self._config
        self._producer = new_producer(
            config,
            transactional_id=self._transactional_id,
            transaction_timeout_ms=config.transaction_timeout_ms,
            # While the markers of one transaction are written the next is told to wait: this long.
            retry_backoff_ms=config.transaction_backoff_ms,
        )
        fast = new_producer(config)
        try:
            # A predecessor's open transaction is aborted first; until then the broker says "concurrent".
            await within(
                config.start_timeout_s,
                asyncio.gather(self._producer.start(), fast.client.bootstrap()),
                f"take over {self._transactional_id}",
            )
            pid, epoch = self._producer._txn_manager._pid_and_epoch  # noqa: SLF001 — client.PRIVATE_NAMES
            fast._txn_manager.set_pid_and_epoch(pid, epoch)  # noqa: SLF001 — client.PRIVATE_NAMES
            await fast._sender.start()  # noqa: SLF001 — client.PRIVATE_NAMES
        except BaseException as error:
            await dispose_producer(fast, grace_s=0)
            self._failure = translated(error, f"take over {self._transactional_id}")
            raise
        self._producer_id, self._epoch = int(pid), int(epoch)
        self._fast = KafkaProducer(fast, config, poison_on_refusal=True)
        self._lane = Lane(
            self._producer, queued_bytes_max=config.queued_bytes_max, poison_on_refusal=True
        )
        return self._epoch

    async def prepare(self, topics: Sequence[str]) -> None:
        """Know the leaders of *topics* in both lanes."""
        await know_topics(self._producer, topics, self._config.start_timeout_s)
        await self.fast.prepare(topics)

    async def begin(self) -> None:
        """See ``ports.LedgerProducer``."""
        await self._step(self._producer.begin_transaction(), "begin")

    def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> asyncio.Future[int]:
        """See ``ports.LedgerProducer``."""
        self._check()
        assert self._lane is not None, "start first"
        txn = self._producer._txn_manager  # noqa: SLF001 — client.PRIVATE_NAMES
        if not txn.is_in_transaction():
            raise self._poison(
                UnavailableError(f"{self._transactional_id}: no transaction is open")
            )
        try:
            return self._lane.send(topic, partition, records)
        except EnforcerError as error:
            raise self._poison(error) from error

    async def offsets(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """See ``ports.LedgerProducer``."""
        wanted = {
            TopicPartition(topic, partition): OffsetAndMetadata(offset, "")
            for (topic, partition), offset in offsets.items()
        }
        await self._step(self._producer.send_offsets_to_transaction(wanted, group), "offsets")

    async def commit(self) -> None:
        """See ``ports.LedgerProducer``."""
        assert self._lane is not None, "start first"
        # aiokafka commits a transaction whose sends have failed: their futures are the only witnesses.
        await self._step(self._lane.settled(), "sends")
        await self._step(self._producer.commit_transaction(), "commit")

    async def abort(self) -> None:
        """See ``ports.LedgerProducer``."""
        await self._step(self._producer.abort_transaction(), "abort")

    async def close(self) -> None:
        """See ``ports.LedgerProducer``."""
        poisoned = self._failure is not None
        self._poison(UnavailableError(f"{self._transactional_id} is closed", code="closed"))
        if self._fast is not None:
            await self._fast.close()
        if self._producer is not None:
            # aiokafka would flush an open transaction's batches; they must not be waited for.
            open_transaction = self._producer._txn_manager.is_in_transaction()  # noqa: SLF001 — client.PRIVATE_NAMES
            grace_s = 0.0 if poisoned or open_transaction else self._config.close_timeout_s
            await dispose_producer(self._producer, grace_s=grace_s)

    async def _step(self, step: Awaitable[Any], name: str) -> None:
        try:
            self._check()
        except EnforcerError:
            with contextlib.suppress(AttributeError):
                step.close()  # type: ignore[attr-defined] # A coroutine that nobody will await.
            raise
        doing = f"{name} of {self._transactional_id}"
        try:
            await within(self._config.step_timeout_s, step, doing)
        except EnforcerError as error:
            raise self._poison(error) from error
        except BaseException:
            # Cancelled in the middle: whether the step was done is unknown.
            self._poison(UnavailableError(f"{doing}: interrupted", code="indefinite"))
            raise

    def _check(self) -> None:
        if self._failure is None and self._lane is not None:
            fenced = self.fast._lane.failure  # noqa: SLF001 — the two lanes are one object to the caller
            self._failure = self._lane.failure or (
                fenced if isinstance(fenced, AgentFencedError) else None
            )
        if self._failure is not None:
            raise self._failure

    def _poison(self, error: EnforcerError) -> EnforcerError:
        if self._failure is None:
            self._failure = error
            if self._lane is not None:
                self._lane.poison(error)
            if self._fast is not None:
                self._fast.poison(error)
        return self._failure


def new_producer(config: BrokerConfig, **more: Any) -> Any:
    """An aiokafka producer as every one of ours is: idempotent, no linger, no compression; not started."""
    arguments: dict[str, Any] = {"retry_backoff_ms": config.retry_backoff_ms, **more}
    producer = AIOKafkaProducer(
        enable_idempotence=True,
        linger_ms=0,
        compression_type=None,
        max_batch_size=config.batch_bytes,
        request_timeout_ms=config.request_timeout_ms,
        **config.connection(),
        **arguments,
    )
    accumulator = producer._message_accumulator  # noqa: SLF001 — client.PRIVATE_NAMES
    accumulator._pending_batches = _TolerantSet()  # noqa: SLF001 — client.PRIVATE_NAMES
    return producer


class _TolerantSet(set[Any]):
    """
    For aiokafka's set of batches under way.

    It takes a batch out when it queues it again, and once more, by ``remove``, when that batch then fails:
    a KeyError in a callback, which nobody but the event loop sees.
    """

    def remove(self, element: Any) -> None:
        """As ``discard``."""
        self.discard(element)


async def know_topics(producer: Any, topics: Sequence[str], timeout_s: float) -> None:
    """Fetch the leaders of *topics*. Raises NotFoundError naming the first that does not exist."""
    client = producer.client
    for topic in topics:
        client.add_topic(topic).add_done_callback(retrieve)
    for topic in topics:
        if client.cluster.partitions_for_topic(topic) is None:
            await within(timeout_s, client.force_metadata_update(), "fetch metadata")
        if client.cluster.partitions_for_topic(topic) is None:
            raise NotFoundError(f"no topic {topic}", help="Run `enforcer topics apply`.")
