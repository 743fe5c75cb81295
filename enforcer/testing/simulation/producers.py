"""The simulated producers: the idempotent one, and the ledger's with its fast lane."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from enforcer.errors import AgentFencedError, EnforcerError, UnavailableError
from enforcer.testing.simulation.cluster import ConcurrentTransactionsError
from enforcer.testing.simulation.log import DuplicateBatchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from enforcer.broker.ports import Outgoing, Partition
    from enforcer.testing.simulation.wire import Wire

T = TypeVar("T")

STEP_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 1.0
RETRY_S: Final = 0.02
QUEUED_BYTES_MAX: Final = 64 * 1024 * 1024
_RECORD_OVERHEAD_BYTES: Final = 32


@dataclass(slots=True)
class _Send:
    """One ``send``, until it is acknowledged."""

    records: Sequence[Outgoing]
    ack: asyncio.Future[int]
    bytes: int


class SimulatedProducer:
    """
    ``ports.Producer``: per partition one batch in flight, and behind it a queue.

    Args:
        wire: The process's.
        lane: How its sites are called: ``client``, ``fast`` or ``ledger``.
        producer: Its id and epoch.
        poison_on_refusal: Whether a definite refusal ends it, as it does in a transaction and on the fast lane.
        transactional_id: Of a ledger: its batches wait for their transaction.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        lane: str,
        producer: tuple[int, int],
        poison_on_refusal: bool,
        transactional_id: str = "",
    ) -> None:
        self._wire = wire
        self._lane = lane
        self._producer = producer
        self._poison_on_refusal = poison_on_refusal
        self._transactional_id = transactional_id
        self._queues: dict[Partition, deque[_Send]] = {}
        self._in_flight: dict[Partition, asyncio.Task[None]] = {}
        self._sequences: dict[Partition, int] = {}
        self._pending: dict[asyncio.Future[int], None] = {}
        self._added: set[Partition] = set()
        self.has_sent = False
        self.queued_bytes = 0
        self.failure: EnforcerError | None = None

    def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> asyncio.Future[int]:
        """See ``ports.Producer``."""
        assert records, "nothing to send"
        self._wire.process.check()
        if self.failure is not None:
            raise self.failure
        if self.queued_bytes > QUEUED_BYTES_MAX:
            raise UnavailableError(f"{self.queued_bytes} bytes wait to be sent", code="backlog")
        ack: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        ack.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._pending[ack] = None
        ack.add_done_callback(lambda done: self._pending.pop(done, None))
        size = sum(len(k or b"") + len(v or b"") + _RECORD_OVERHEAD_BYTES for k, v, _, _ in records)
        self.queued_bytes += size
        place = (topic, partition)
        self._queues.setdefault(place, deque()).append(_Send(list(records), ack, size))
        if place not in self._in_flight:
            self._in_flight[place] = asyncio.ensure_future(self._drain(place))
        return ack

    async def _drain(self, place: Partition) -> None:
        """Send what is queued, a batch at a time."""
        queue = self._queues[place]
        try:
            while queue:
                batch = list(queue)
                queue.clear()
                await self._deliver(place, batch)
        finally:
            self._in_flight.pop(place, None)

    async def _deliver(self, place: Partition, batch: list[_Send]) -> None:
        try:
            if self.failure is not None:
                raise self.failure
            if self._transactional_id and place not in self._added:
                await self._add_partition(place)
            first = await self._append(place, [r for each in batch for r in each.records])
        except EnforcerError as error:
            is_definite = error.code in ("refused", "not_found") and not self._poison_on_refusal
            failure = error if is_definite else self._poison(error)
            for each in batch:
                self.queued_bytes -= each.bytes
                if not each.ack.done():
                    each.ack.set_exception(failure)
            return
        for each in batch:
            self.queued_bytes -= each.bytes
            if not each.ack.done():
                each.ack.set_result(first)
            first += len(each.records)

    async def _append(self, place: Partition, records: Sequence[Outgoing]) -> int:
        cluster, sequence = self._wire.cluster, self._sequences.get(place, 0)

        def act() -> int:
            log = cluster.log(*place)
            if self._transactional_id:
                cluster.check_write(self._transactional_id, self._producer[1], log)
            return log.append(
                records,
                now_ms=cluster.time_ms(),
                producer=self._producer,
                sequence=sequence,
                is_transactional=bool(self._transactional_id),
            )

        name = place[0].rpartition(".")[2]
        kind = "" if self.has_sent else " first"
        self.has_sent = True
        try:
            first = await self._wire.send(f"{self._lane}.send {name}{kind}", act, repeatable=True)
        except DuplicateBatchError as error:
            raise UnavailableError("it was appended, nobody knows where") from error
        self._sequences[place] = sequence + len(records)
        return first

    async def _add_partition(self, place: Partition) -> None:
        cluster, epoch = self._wire.cluster, self._producer[1]

        def act() -> None:
            cluster.add_partition(self._transactional_id, epoch, cluster.log(*place))

        await patiently(lambda: self._wire.call("ledger.add_partition", act))
        self._added.add(place)

    def _poison(self, error: EnforcerError) -> EnforcerError:
        self.failure = self.failure or error
        return self.failure

    def poison(self, error: EnforcerError) -> None:
        """Let every later send raise *error*."""
        self._poison(error)

    def begin(self) -> None:
        """A transaction begins: its partitions are to be named anew."""
        self._added.clear()

    @property
    def has_added(self) -> bool:
        """Whether the transaction has written anything."""
        return bool(self._added)

    async def settled(self) -> None:
        """Wait for all that was enqueued; raises the first failure."""
        while self._pending:
            told = list(self._pending)
            await asyncio.gather(*told)
            for ack in told:  # as in broker.lane: gathering what is done does not yield
                self._pending.pop(ack, None)
        if self.failure is not None:
            raise self.failure

    async def prepare(self, topics: Sequence[str]) -> None:
        """See ``ports.Producer``."""
        for topic in topics:
            self._wire.cluster.log(topic, 0)

    async def flush(self) -> None:
        """See ``ports.Producer``."""
        await self.settled()

    async def close(self) -> None:
        """See ``ports.Producer``."""
        self._wire.process.check()
        if self.failure is None:
            # What is queued is given a moment; what the broker has by now may be in the log or not.
            with contextlib.suppress(EnforcerError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    await self.settled()
        closed = UnavailableError("the producer is closed", code="closed")
        self.poison(closed)
        for queue in self._queues.values():
            queue.clear()
        for ack in list(self._pending):
            if not ack.done():
                ack.set_exception(closed)


class SimulatedLedger:
    """``ports.LedgerProducer``."""

    def __init__(self, wire: Wire, transactional_id: str) -> None:
        self._wire = wire
        self.transactional_id = transactional_id
        self.producer_id = -1
        self.epoch = -1
        self.is_closed = False
        self._commits = 0
        self._is_open = False
        self._failure: EnforcerError | None = None
        self._lane: SimulatedProducer | None = None
        self._fast: SimulatedProducer | None = None
        self._has_offsets = False

    @property
    def fast(self) -> SimulatedProducer:
        """See ``ports.LedgerProducer``."""
        assert self._fast is not None, "start first"
        return self._fast

    async def start(self) -> int:
        """See ``ports.LedgerProducer``."""
        assert self._lane is None, "start once"
        cluster = self._wire.cluster

        def act() -> tuple[int, int]:
            return cluster.init_producer_id(self.transactional_id)

        async def begin() -> tuple[int, int]:
            producer: tuple[int, int] = await patiently(
                lambda: self._wire.call("ledger.start", act)
            )
            return producer

        self.producer_id, self.epoch = producer = await self._step(begin(), "start")
        self._fast = SimulatedProducer(
            self._wire, lane="fast", producer=producer, poison_on_refusal=True
        )
        self._lane = SimulatedProducer(
            self._wire,
            lane="ledger",
            producer=producer,
            poison_on_refusal=True,
            transactional_id=self.transactional_id,
        )
        return self.epoch

    async def prepare(self, topics: Sequence[str]) -> None:
        """See ``ports.LedgerProducer``."""
        await self.fast.prepare(topics)

    async def begin(self) -> None:
        """See ``ports.LedgerProducer``."""
        self._check()
        self._wire.stand(self._site("begin"))
        assert self._lane is not None, "start first"
        self._lane.begin()
        self._is_open, self._has_offsets = True, False

    def send(self, topic: str, partition: int, records: Sequence[Outgoing]) -> asyncio.Future[int]:
        """See ``ports.LedgerProducer``."""
        self._check()
        assert self._lane is not None, "start first"
        if not self._is_open:
            raise self._poison(UnavailableError(f"{self.transactional_id}: no transaction is open"))
        try:
            return self._lane.send(topic, partition, records)
        except EnforcerError as error:
            raise self._poison(error) from error

    async def offsets(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """See ``ports.LedgerProducer``."""
        cluster = self._wire.cluster
        wanted = dict(offsets)

        def act() -> None:
            cluster.add_offsets(self.transactional_id, self.epoch, group, wanted)

        await self._step(patiently(lambda: self._wire.call(self._site("offsets"), act)), "offsets")
        self._has_offsets = True

    async def commit(self) -> None:
        """See ``ports.LedgerProducer``."""
        await self._step(self._commit(), "commit")
        self._commits += 1

    async def _commit(self) -> None:
        assert self._lane is not None, "start first"
        await self._lane.settled()
        await self._end("commit", commits=True)

    async def abort(self) -> None:
        """See ``ports.LedgerProducer``."""
        await self._step(self._end("abort", commits=False), "abort")

    async def _end(self, name: str, *, commits: bool) -> None:
        assert self._lane is not None, "start first"
        self._is_open = False
        if not self._lane.has_added and not self._has_offsets:
            return
        cluster = self._wire.cluster

        def act() -> None:
            cluster.end_transaction(self.transactional_id, self.epoch, commits=commits)

        await self._wire.call(self._site(name), act)

    async def close(self) -> None:
        """See ``ports.LedgerProducer``."""
        self.is_closed = True
        self._poison(UnavailableError(f"{self.transactional_id} is closed", code="closed"))
        for lane in (self._fast, self._lane):
            if lane is not None:
                await lane.close()

    def _site(self, name: str) -> str:
        return f"ledger.{name}" + ("" if self._commits else " first")

    async def _step(self, step: Awaitable[T], name: str) -> T:
        try:
            self._check()
        except EnforcerError:
            with contextlib.suppress(AttributeError):
                step.close()  # type: ignore[attr-defined] # A coroutine that nobody will await.
            raise
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                return await step
        except EnforcerError as error:
            raise self._poison(error) from error
        except TimeoutError:
            raise self._poison(
                UnavailableError(f"{name}: no answer in time", code="indefinite")
            ) from None
        except BaseException:
            self._poison(UnavailableError(f"{name}: interrupted", code="indefinite"))
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
            for lane in (self._lane, self._fast):
                if lane is not None:
                    lane.poison(error)
        return self._failure


async def patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask again while the last transaction ends."""
    while True:
        try:
            return await ask()
        except ConcurrentTransactionsError:
            await asyncio.sleep(RETRY_S)
