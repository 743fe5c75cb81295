"""
Producers: the idempotent one, whose batches a ``Courier`` carries, and the ledger's transactional one of aiokafka.

A ledger's fast lane is an idempotent producer under the ledger's id and epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from enforcer.broker.client import (
    DEFINITE_REFUSALS,
    dispose_producer,
    retrieve,
    translated,
    within,
)
from enforcer.broker.courier import SEQUENCE_MASK, Batch, Stream, Ticket, know_topics
from enforcer.broker.lane import RECORD_OVERHEAD_BYTES, Lane
from enforcer.errors import AgentFencedError, EnforcerError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from enforcer.broker.config import BrokerConfig
    from enforcer.broker.courier import Courier
    from enforcer.broker.ports import Outgoing, Partition


class KafkaProducer:
    """``ports.Producer`` whose batches a courier carries."""

    def __init__(
        self, courier: Courier, config: BrokerConfig, identity: tuple[int, int], *, is_lane: bool
    ) -> None:
        """
        Begin, with no sequence number used.

        Args:
            courier: Started.
            config: Its limits.
            identity: Producer id and epoch.
            is_lane: Whether any refusal ends it, as it does for the fast lane of a ledger.
        """
        self.producer_id, self.epoch = identity
        self.failure: EnforcerError | None = None
        self._courier = courier
        self._config = config
        self._is_lane = is_lane
        self._loop = asyncio.get_running_loop()
        self._streams: dict[tuple[str, int], Stream] = {}
        self._pending: set[asyncio.Future[int]] = set()
        self._queued_bytes = 0

    @property
    def queued_bytes(self) -> int:
        """See ``ports.Producer``."""
        return self._queued_bytes

    def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> asyncio.Future[int]:
        """See ``ports.Producer``."""
        assert records, "nothing to send"
        if self.failure is not None:
            raise self.failure
        if self._queued_bytes > self._config.queued_bytes_max:
            raise UnavailableError(
                f"{self._queued_bytes} bytes wait to be sent to {topic}",
                code="backlog",
                help="The broker is slower than what is sent to it, or away.",
            )
        stream = self._streams.get((topic, partition))
        if stream is None:
            stream = Stream(self, TopicPartition(topic, partition))
            self._streams[topic, partition] = stream
            if self._courier.client.cluster.partitions_for_topic(topic) is None:
                self._courier.client.add_topic(topic).add_done_callback(retrieve)
        future: asyncio.Future[int] = self._loop.create_future()
        future.add_done_callback(self._settle)
        self._pending.add(future)
        self._enqueue(stream, records, Ticket(future))
        self._courier.carry(stream)
        return future

    def _settle(self, future: asyncio.Future[int]) -> None:
        self._pending.discard(future)
        retrieve(future)

    def _enqueue(self, stream: Stream, records: Sequence[Outgoing], ticket: Ticket) -> None:
        batch = stream.queue[-1] if stream.queue and stream.queue[-1].body is None else None
        joined: Batch | None = None
        for key, value, headers, timestamp_ms in records:
            listed = headers if type(headers) is list else list(headers)
            # append() answers None when the batch is full: the record then belongs to the next one.
            if (
                batch is None
                or batch.builder.append(batch.count, timestamp_ms, key, value, listed) is None
            ):
                batch = Batch(stream, self._new_builder())
                stream.queue.append(batch)
                # A batch takes its first record whatever its size; the broker decides whether it is too large.
                added = batch.builder.append(0, timestamp_ms, key, value, listed)
                assert added is not None, "an empty batch refused a record"
            size = len(key or b"") + len(value or b"") + RECORD_OVERHEAD_BYTES
            if batch is not joined:
                batch.tickets.append((ticket, batch.count))
                ticket.batches += 1
                joined = batch
            batch.count += 1
            batch.bytes += size
            self._queued_bytes += size

    def _new_builder(self) -> Any:
        return DefaultRecordBatchBuilder(
            magic=2,
            compression_type=0,
            is_transactional=0,
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            base_sequence=0,
            batch_size=self._config.batch_bytes,
        )

    # -- what the courier says of a batch ---------------------------------------------------------------------

    def acknowledged(self, batch: Batch, offset: int) -> None:
        """*batch* is in the log; -1: nobody knows where, and a claim needs the place."""
        if offset < 0:
            tp = batch.stream.tp
            self.poison(UnavailableError(f"send to {tp.topic}-{tp.partition}: offset unknown"))
        self._queued_bytes -= batch.bytes
        for ticket, place in batch.tickets:
            if ticket.base < 0:
                ticket.base = offset + place
            ticket.batches -= 1
            if ticket.future.done():
                continue
            if self.failure is not None and offset < 0:
                ticket.future.set_exception(self.failure)
            elif ticket.batches == 0:
                ticket.future.set_result(ticket.base)

    def refused(self, batch: Batch, error: BaseException) -> None:
        """*batch* will never be in the log, or nobody knows."""
        stream = batch.stream
        doing = f"send to {stream.tp.topic}-{stream.tp.partition}"
        failure = translated(error, doing)
        self._queued_bytes -= batch.bytes
        is_definite = isinstance(error, DEFINITE_REFUSALS) and not self._is_lane
        if is_definite and batch.is_uncertain:
            # An earlier try may be in the log: under its numbers the next batch would pass for a repeat of it.
            failure = UnavailableError(f"{failure}, and an earlier try may have been taken")
        if is_definite and not batch.is_uncertain:
            # One batch is in flight at a time, and later ones have no numbers yet: taking the numbers back
            # leaves no hole, and one refused record does not end the producer.
            stream.sequence = (stream.sequence - batch.count) & SEQUENCE_MASK
        else:
            self.poison(failure)
            self._drop()
        _fail([batch], self.failure or failure)

    def poison(self, error: EnforcerError) -> None:
        """Let every later send raise *error*: the ledger it belongs to has failed."""
        self.failure = self.failure or error

    def _drop(self) -> None:
        """Send nothing more; whoever waits is told why."""
        assert self.failure is not None, "dropped for a reason"
        for stream in self._streams.values():
            self._courier.forget(stream)
            batches = [*([stream.in_flight] if stream.in_flight else []), *stream.queue]
            stream.queue.clear()
            _fail(batches, self.failure)

    async def prepare(self, topics: Sequence[str]) -> None:
        """See ``ports.Producer``."""
        await self._courier.know_topics(topics)

    async def flush(self) -> None:
        """See ``ports.Producer``."""
        while self._pending:
            told = list(self._pending)
            await asyncio.gather(*told)
            # As in ``Lane.settled``: what is done already does not yield, and would never be taken off.
            self._pending.difference_update(told)
        if self.failure is not None:
            raise self.failure

    async def close(self) -> None:
        """See ``ports.Producer``."""
        if self.failure is None and self._pending:
            await asyncio.wait(set(self._pending), timeout=self._config.close_timeout_s)
        self.poison(UnavailableError("the producer is closed", code="closed"))
        self._drop()


def _fail(batches: Iterable[Batch], failure: EnforcerError) -> None:
    for batch in batches:
        for ticket, _ in batch.tickets:
            if not ticket.future.done():
                ticket.future.set_exception(failure)


class KafkaLedger:
    """``ports.LedgerProducer``: a transactional producer, and a fast lane under its id and epoch."""

    def __init__(
        self,
        transactional_id: str,
        config: BrokerConfig,
        courier: Callable[[], Awaitable[Courier]],
    ) -> None:
        """*courier* gives the one of the process, started."""
        self._transactional_id = transactional_id
        self._config = config
        self._courier = courier
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
        try:
            # A predecessor's open transaction is aborted first; until then the broker says "concurrent".
            _, courier = await within(
                config.start_timeout_s,
                asyncio.gather(self._producer.start(), self._courier()),
                f"take over {self._transactional_id}",
            )
            pid, epoch = self._producer._txn_manager._pid_and_epoch  # noqa: SLF001 — client.PRIVATE_NAMES
        except BaseException as error:
            self._failure = translated(error, f"take over {self._transactional_id}")
            raise
        self._producer_id, self._epoch = int(pid), int(epoch)
        self._fast = KafkaProducer(courier, config, (int(pid), int(epoch)), is_lane=True)
        self._lane = Lane(
            self._producer, queued_bytes_max=config.queued_bytes_max, poison_on_refusal=True
        )
        return self._epoch

    async def prepare(self, topics: Sequence[str]) -> None:
        """Know the leaders of *topics* in both lanes."""
        await know_topics(self._producer.client, topics, self._config.start_timeout_s)
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
            fenced = self.fast.failure
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
    _look_at_failures(producer._txn_manager)  # noqa: SLF001 — client.PRIVATE_NAMES
    return producer


def _look_at_failures(txn: Any) -> None:
    """
    Retrieve what a fatal error of *txn* leaves in the futures that nobody may be waiting for.

    A producer fenced between two transactions, or whose owner was cancelled in the middle of one, has no waiter:
    the failure reaches the caller by the next send, and the event loop would report it once more as forgotten.
    """
    fail = txn.fatal_error

    def fatal_error(error: BaseException) -> None:
        before = txn._transaction_waiter  # noqa: SLF001 — client.PRIVATE_NAMES
        if before is None:
            return  # Not transactional: aiokafka would fail on the waiter that it never had.
        before.add_done_callback(retrieve)
        fail(error)
        txn._transaction_waiter.add_done_callback(retrieve)  # noqa: SLF001 — client.PRIVATE_NAMES

    txn.fatal_error = fatal_error


class _TolerantSet(set[Any]):
    """
    For aiokafka's set of batches under way.

    It takes a batch out when it queues it again, and once more, by ``remove``, when that batch then fails:
    a KeyError in a callback, which nobody but the event loop sees.
    """

    def remove(self, element: Any) -> None:
        """As ``discard``."""
        self.discard(element)
