"""
A lane: records into the batches of one aiokafka producer, by a plain function call.

aiokafka's own ``send_batch`` waits until the batch before is drained, and so adds a round trip to every slice.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.structs import TopicPartition

from enforcer.broker.client import DEFINITE_REFUSALS, retrieve, translated
from enforcer.errors import EnforcerError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from enforcer.broker.ports import Outgoing

RECORD_OVERHEAD_BYTES = 32
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

    def __init__(
        self,
        producer: Any,
        *,
        queued_bytes_max: int,
        poison_on_refusal: bool,
    ) -> None:
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
            size = len(key or b"") + len(value or b"") + RECORD_OVERHEAD_BYTES
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
            told = list(self._pending)
            await asyncio.gather(*told)
            # From Python 3.12 on, gathering what is done already does not yield, and the futures' own callbacks
            # would never get their turn to take them off.
            self._pending.difference_update(told)
        if self.failure is not None:
            raise self.failure
